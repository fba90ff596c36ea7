"""Lossless strips: square colour images stacked vertically in a .webp file; a part of CIFAR-10, and faces64."""

from pathlib import Path

from flowrepro.data import files
from flowrepro.data.source import Chunks, Source, decode
from flowrepro.errors import DataError

FACES = (64, 64, 3)
# training and held-out images
COUNTS = {"faces64": (700, 119), "cifar10": (8000, 2000)}


def faces64() -> Source:
    """819 portraits of 64x64 pixels; the last 119 are held out."""
    folder = files.find_folder("faces64")
    strips = numbered(folder, "faces64") if folder else []
    if not strips:
        raise DataError(files.missing("faces64/faces64_000.webp", "put the strips of 64x64 portraits there"))
    n_train = COUNTS["faces64"][0]
    return Source(
        strips,
        "portraits 64x64, a stand-in for CelebA and not CelebA",
        FACES,
        lambda: in_order(strips, 64, stop=n_train),
        lambda: in_order(strips, 64, start=n_train),
        COUNTS["faces64"],
    )


def cifar10_part(folder: Path) -> Source | None:
    """The first training and test images of CIFAR-10 in a folder of strips; None if there are none."""
    train, val = numbered(folder, "train"), numbered(folder, "test")
    if not train or not val:
        return None
    note = "a part of CIFAR-10: its first training and test images"
    readers = (lambda: in_order(train, 32)), (lambda: in_order(val, 32))
    return Source([*train, *val], note, (32, 32, 3), *readers, COUNTS["cifar10"])


def numbered(folder: Path, prefix: str) -> list[Path]:
    """The strips `prefix`_000.webp, _001.webp, ... of a folder. Raises DataError if a number is missing."""
    found = sorted(folder.glob(f"{prefix}_*.webp"))
    for number, path in enumerate(found):
        expected = f"{prefix}_{number:03d}.webp"
        if path.name != expected:
            raise DataError(f"missing: {expected} in {folder}; put all strips there")
    return found


def in_order(strips: list[Path], side: int, start: int = 0, stop: int | None = None) -> Chunks:
    """The images `start` to `stop` (exclusive) of all strips together."""
    seen = 0
    for path in strips:
        pixels = decode(path, str(path))
        if pixels.shape[1] != side or len(pixels) % side:
            raise DataError(f"{path} is not a strip of images {side} pixels wide; restore the file")
        images = pixels.reshape(-1, side, side, 3)
        yield images[max(0, start - seen) : None if stop is None else max(0, stop - seen)]
        seen += len(images)
