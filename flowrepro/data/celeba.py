"""CelebA in its official files (aligned faces, 178x218 JPEG), and CelebA-HQ as a folder of square images."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from flowrepro.config.schema import CelebAConfig
from flowrepro.data import files
from flowrepro.data.reading import reading
from flowrepro.data.source import Chunks, Source, decode, in_chunks, sized
from flowrepro.errors import DataError

ALIGNED = (218, 178, 3)
PARTITION = "celeba/list_eval_partition.txt"
TRAIN, TEST = "0", "2"
WAY = (
    "download the official files (mmlab.ie.cuhk.edu.hk/projects/CelebA.html: Img/img_align_celeba.zip, Eval/)"
)
COUNTS = (162_770, 19_962)
CENTER_SIDE, SIDE = 148, 64
SHAPE = (SIDE, SIDE, 3)
HQ_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
HQ_IMAGES = 30_000
HQ_WAY = "put its 30,000 images of 1024x1024 or 256x256 pixels there, one file each"


def celeba(config: CelebAConfig) -> Source:
    """162,770 training and 19,962 test faces of the official partition, 64x64; the other 19,867 are left out."""
    partition, images = files.find(PARTITION), files.find_folder("celeba/img_align_celeba")
    archive = files.find("celeba/img_align_celeba.zip")
    if partition is None:
        raise DataError(files.missing(PARTITION, WAY))
    if images is None and archive is None:
        raise DataError(files.missing("celeba/img_align_celeba.zip", WAY))
    place = images or archive
    assert place is not None
    reader = partial(faces, place, config.crop)
    return Source(
        [partition, place],
        f"CelebA, aligned faces, crop {config.crop}",
        SHAPE,
        lambda: reader(listed(partition, TRAIN)),
        lambda: reader(listed(partition, TEST)),
        COUNTS,
    )


def listed(partition: Path, part: str) -> list[str]:
    """The image names of one part of the official partition. Raises DataError if the file is something else."""
    lines = [line.split() for line in partition.read_text(errors="replace").splitlines() if line.strip()]
    if not lines or any(len(line) != 2 or line[1] not in ("0", "1", "2") for line in lines):
        raise DataError(f"{partition} is not the official list of images and partitions; {WAY}")
    return [name for name, number in lines if number == part]


def faces(place: Path, crop: str, names: list[str]) -> Chunks:
    """The named faces, cut to (n, 64, 64, 3)."""
    contents = from_zip(place, names) if place.is_file() else from_folder(place, names)
    cut = CROPS[crop]
    return in_chunks(cut(sized(decode(c, name), ALIGNED, name)) for name, c in contents)


def from_folder(folder: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every image. Raises DataError if one is missing."""
    for name in names:
        path = folder / name
        if not path.is_file():
            raise DataError(f"missing: {name} in {folder}, though {PARTITION} lists it; {WAY}")
        yield str(path), path.read_bytes()


def from_zip(path: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every image. Raises DataError if the archive is damaged or lacks one."""
    with open(path, "rb") as file:
        files.verified(path, file.read(64), "md5", None)
    with reading(path, "the official archive", WAY), zipfile.ZipFile(path) as archive:
        for name in names:
            yield f"{path.name}/{name}", archive.read(f"img_align_celeba/{name}")


def stride2(image: np.ndarray) -> np.ndarray:
    """Every second pixel without smoothing, then the middle 64x64, as the authors of across_dimensions do."""
    return image[::2, ::2][26:-19, 12:-13]


def center(image: np.ndarray) -> np.ndarray:
    """The middle 148x148 pixels, rescaled to 64x64 with smoothing, as is common elsewhere."""
    from PIL import Image

    height, width = image.shape[:2]
    top, left = (height - CENTER_SIDE) // 2, (width - CENTER_SIDE) // 2
    square = Image.fromarray(image[top : top + CENTER_SIDE, left : left + CENTER_SIDE])
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


CROPS = {"stride2": stride2, "center": center}


def celeba_hq() -> Source:
    """A folder of square images of one size, the last tenth in the order of their numbers held out (27,000 + 3,000).

    Fewer than 30,000 are accepted and labelled a part. Raises DataError for fewer than ten.
    """
    folder = files.find_folder("celeba_hq")
    found = [p for p in folder.iterdir() if p.suffix.lower() in HQ_SUFFIXES] if folder else []
    # by number, with or without leading zeros
    paths = sorted(found, key=lambda p: (len(p.stem), p.stem))
    if len(paths) < 10:
        raise DataError(files.missing("celeba_hq/*.png", HQ_WAY))
    side = len(decode(paths[0], str(paths[0])))
    shape, cut = (side, side, 3), len(paths) - len(paths) // 10

    def read(some: list[Path]) -> Chunks:
        return in_chunks((sized(decode(p, str(p)), shape, str(p)) for p in some), size=8)

    part = "" if len(paths) >= HQ_IMAGES else f", a part: {len(paths):,} of its {HQ_IMAGES:,} images"
    note = f"CelebA-HQ, {side}x{side}{part}"
    return Source(paths, note, shape, lambda: read(paths[:cut]), lambda: read(paths[cut:]))
