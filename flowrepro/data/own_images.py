"""The user's own images: a folder of image files, or an array of 4 dimensions."""

import hashlib
from pathlib import Path

import numpy as np

from flowrepro.config.identity import content, image_files
from flowrepro.config.schema import ImagesConfig
from flowrepro.data.reading import reading
from flowrepro.data.source import Chunks, Source, in_chunks, opened, sized
from flowrepro.errors import DataError

MIN_IMAGES = 10
GREY_MODES = ("1", "L", "LA")
CHANNELS = (1, 3)
KINDS = ".png, .jpg or .webp"


def folder(config: ImagesConfig) -> Source:
    """The images of a folder and its subfolders, a random part held out; grey if the first of them is.

    Raises:
        DataError: no such folder, or fewer than ten images in it.
    """
    place = Path(config.path).expanduser()
    if not config.path:
        raise DataError(f"dataset=images needs dataset.path=FOLDER with {KINDS} files")
    if not place.is_dir():
        why = "is a file, not a folder" if place.exists() else "no such folder"
        raise DataError(f"dataset.path={config.path}: {why}; looked at {place.absolute()}")
    paths = image_files(place)
    if len(paths) < MIN_IMAGES:
        raise DataError(f"{place} holds {len(paths)} {KINDS} files; at least {MIN_IMAGES} are needed")
    shape = _shape(paths[0], config.size)
    order = np.random.default_rng(config.seed).permutation(len(paths))
    cut = max(1, round(config.val_fraction * len(paths)))

    def read(indices: np.ndarray) -> Chunks:
        return in_chunks(image(paths[i], shape, config.size) for i in indices)

    split = f"{config.val_fraction:g} held out by seed {config.seed}"
    note = f"own, {shape[1]}x{shape[0]} pixels, {'colour' if shape[2] == 3 else 'grey'}, {split}"
    cache = hashlib.sha256(f"{content(config.path)} {config.size} {split}".encode()).hexdigest()[:12]
    return Source(
        paths, note, shape, lambda: read(order[cut:]), lambda: read(order[:cut]), cache=f"images-{cache}"
    )


def _shape(first: Path, size: int | None) -> tuple[int, int, int]:
    """(H, W, C) of all images, from the first of them."""
    from PIL import ImageOps

    with reading(first, "an image"), opened(first, str(first)) as found:
        width, height = (size, size) if size else ImageOps.exif_transpose(found).size
        return height, width, 1 if found.mode in GREY_MODES else 3


def image(path: Path, shape: tuple[int, int, int], size: int | None) -> np.ndarray:
    """The pixels (H, W, C) of one image, upright; with `size` its middle square, rescaled to that.

    Raises:
        DataError: damaged, of another size, in colour where the first was grey, or in part transparent.
    """
    from PIL import ImageOps

    with reading(path, "an image"), opened(path, str(path)) as found:
        if found.has_transparency_data and np.asarray(found.convert("RGBA"))[..., 3].min() < 255:
            raise DataError(f"{path} is transparent in part; save it on a background")
        if shape[2] == 1 and found.mode not in GREY_MODES:
            raise DataError(f"{path} is in colour, but the first image is grey; convert one or the other")
        upright = ImageOps.exif_transpose(found).convert("L" if shape[2] == 1 else "RGB")
        pixels = np.asarray(ImageOps.fit(upright, (size, size)) if size else upright)
    way = f"dataset.size={min(shape[:2])} cuts all to a square and rescales them"
    return sized(pixels.reshape(*pixels.shape[:2], -1), shape, str(path), way)


def grey_levels(found: np.ndarray, path: str) -> np.ndarray:
    """An array of images as grey levels (n, H, W, C) in uint8.

    Args:
        found: (n, H, W, C), (n, C, H, W) with one or three channels, or (n, H, W).

    Raises:
        DataError: another shape, or values other than whole numbers from 0 to 255.
    """
    wanted = "(n, height, width, channels) or (n, channels, height, width) with 1 or 3 channels"
    images = found[..., None] if found.ndim == 3 else found
    if images.ndim != 4 or (images.shape[1] in CHANNELS) == (images.shape[-1] in CHANNELS):
        raise DataError(f"{path} has shape {found.shape}; this model needs images of shape {wanted}")
    if len(images) < MIN_IMAGES:
        raise DataError(f"{path} has shape {found.shape}; at least {MIN_IMAGES} images are needed")
    if images.dtype.kind not in "iu" or images.min() < 0 or images.max() > 255:
        held = f" from {images.min():g} to {images.max():g}" if images.dtype.kind in "iuf" else ""
        raise DataError(
            f"{path} holds {images.dtype}{held}; images are whole grey levels from 0 to 255: "
            "save them rescaled, as uint8"
        )
    last = images if images.shape[-1] in CHANNELS else np.moveaxis(images, 1, -1)
    return np.ascontiguousarray(last, np.uint8)
