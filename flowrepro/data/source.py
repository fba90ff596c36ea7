"""Image files of a data set, found but not read yet, and how single images are decoded."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowrepro.data.reading import reading
from flowrepro.errors import DataError

Chunks = Iterator[np.ndarray]


@dataclass(frozen=True)
class Source:
    """Where the images of a data set come from.

    Args:
        files: what they are read from; their names, sizes and times show whether a cache is up to date. Empty for
            bundled images.
        note: what they are, in words.
        shape: (H, W, C) of an image.
        train, val: read the two splits, in chunks (n, H, W, C) of uint8.
        counts: how many images they have, if known.
        levels: the number of grey levels.
        cache: the name of its cache, if that is not the name of the set.
    """

    files: list[Path]
    note: str
    shape: tuple[int, int, int]
    train: Callable[[], Chunks]
    val: Callable[[], Chunks]
    counts: tuple[int, int] | None = None
    levels: int = 256
    cache: str = ""


def decode(content: bytes | Path, name: str) -> np.ndarray:
    """The RGB pixels (H, W, 3) of an image file or of its bytes.

    Raises:
        DataError: it is damaged, or has more than 8 bits per value, which Pillow would cut or clip; the file is named.
    """
    with reading(name, "an image"), opened(content, name) as image:
        return np.asarray(image.convert("RGB"))


@contextmanager
def opened(content: bytes | Path, name: str) -> Iterator[Any]:
    """The Pillow image in a file or in its bytes, not yet decoded. Raises DataError for more than 8 bits per value."""
    from PIL import Image

    with Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as image:
        # Pillow opens colours of 16 bits as RGB of 8, and tells so only by the raw mode of what it will decode
        if image.mode[0] in "IF" or any(";16" in str(tile) for tile in image.tile):
            raise DataError(
                f"{name} has more than 8 bits per value, which would be lost; save it with 8 bits"
            )
        yield image


def sized(
    image: np.ndarray, shape: tuple[int, int, int], name: str, way: str = "download the official file"
) -> np.ndarray:
    """The image itself. Raises DataError, with a way out, if it has another shape."""
    if image.shape != shape:
        raise DataError(
            f"{name} has {image.shape[1]}x{image.shape[0]} pixels, not {shape[1]}x{shape[0]}; {way}"
        )
    return image


def in_chunks(images: Iterator[np.ndarray], size: int = 256) -> Chunks:
    """Single images (H, W, C) stacked into chunks, so that never more than `size` of them are in memory."""
    held: list[np.ndarray] = []
    for image in images:
        held.append(image)
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)
