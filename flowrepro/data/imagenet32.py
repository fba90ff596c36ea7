"""ImageNet at 32x32 pixels, of which two incompatible versions go by the same name.

van den Oord's (2016, image-net.org/small, used by Glow) has 49,999 held-out images, Chrabaszcz's (2017) has 50,000 and
was downscaled with different smoothing: flows reach far better likelihoods on it, so the two must not be compared.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from flowrepro.data import files
from flowrepro.data.reading import reading
from flowrepro.data.source import Chunks, Source, decode, in_chunks, sized
from flowrepro.errors import DataError

SHAPE = (32, 32, 3)
# number of held-out images -> version, and number of training images
VERSIONS = {49_999: ("oord", 1_281_149), 50_000: ("chrabaszcz", 1_281_167)}
FOLDERS = ("train_32x32", "valid_32x32")
WAY = (
    "it should contain train_32x32/ and valid_32x32/ (images; van den Oord's version), or "
    "train_data_batch_1.npz ... and val_data.npz (either version)"
)


def imagenet32() -> Source:
    """The version found, identified by its number of held-out images.

    Raises:
        DataError: nothing is found, something is missing, or it is neither version.
    """
    folder = files.find_folder("imagenet32")
    if folder is None:
        raise DataError(files.missing("imagenet32/val_data.npz", WAY))
    made_from, n_val, train, val = _images(folder) or _batches(folder)
    if n_val not in VERSIONS:
        known = ", ".join(f"{n:,} ({name})" for n, (name, _) in VERSIONS.items())
        raise DataError(f"{folder} has {n_val:,} held-out images, but the known versions have {known}; {WAY}")
    version, n_train = VERSIONS[n_val]
    return Source(made_from, f"ImageNet32, version {version}", SHAPE, train, val, (n_train, n_val))


# its files, number of held-out images, readers of the two splits
Layout = tuple[list[Path], int, Callable[[], Chunks], Callable[[], Chunks]]


def _images(folder: Path) -> Layout | None:
    """The layout of image folders, if found."""
    folders = [folder / name for name in FOLDERS]
    train, val = (sorted(f.glob("*.png")) for f in folders)
    if not train or not val:
        return None
    return folders, len(val), partial(from_images, train), partial(from_images, val)


def _batches(folder: Path) -> Layout:
    """The layout of npz batches. Raises DataError if a file is missing."""
    # by number; a file with another name takes the place of a missing one
    train = sorted(folder.glob("train_data_batch_*.npz"), key=lambda p: (len(p.stem), p.stem))
    val = folder / "val_data.npz"
    for number, path in enumerate(train or [folder / "none"], 1):
        expected = folder / f"train_data_batch_{number}.npz"
        if path != expected:
            raise DataError(f"missing: {expected}; {WAY}")
    if not val.is_file():
        raise DataError(f"missing: {val}; {WAY}")
    return [*train, val], len(read_batch(val)), partial(from_batches, train), partial(from_batches, [val])


def from_images(paths: list[Path]) -> Chunks:
    """One .png per image, in the order of their names."""
    return in_chunks((sized(decode(p, str(p)), SHAPE, str(p)) for p in paths), size=4096)


def from_batches(paths: list[Path]) -> Chunks:
    """One batch after another."""
    return (read_batch(path) for path in paths)


def read_batch(path: Path) -> np.ndarray:
    """The images (n, 32, 32, 3) of a batch, whose array `data` (n, 3072) has one colour after the other."""
    with reading(path, "a batch of ImageNet32", WAY), np.load(path, allow_pickle=False) as arrays:
        data = arrays["data"]
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        told = f"its data are {data.dtype} of shape {data.shape}, not uint8 of shape (n, 3072)"
        raise DataError(f"{path} is not a batch of ImageNet32 ({told}); {WAY}")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
