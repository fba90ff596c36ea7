"""Image files of a data set, found but not read yet, and how single images are decoded."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    """

    files: list[Path]
    note: str
    shape: tuple[int, int, int]
    train: Callable[[], Chunks]
    val: Callable[[], Chunks]
    counts: tuple[int, int] | None = None
    levels: int = 256


def decode(content: bytes | Path, name: str) -> np.ndarray:
    """The RGB pixels (H, W, 3) of an image file or of its bytes. Raises DataError naming the file."""
    from PIL import Image

    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    # Pillow reports some damage as a SyntaxError
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        told = str(error).splitlines()[0].replace(str(content), "it") if isinstance(content, Path) else error
        raise DataError(f"{name} cannot be read as an image ({told}); restore the file") from error


def sized(image: np.ndarray, shape: tuple[int, int, int], name: str) -> np.ndarray:
    """The image itself. Raises DataError if it has another shape."""
    if image.shape != shape:
        raise DataError(
            f"{name} has {image.shape[1]}x{image.shape[0]} pixels, not {shape[1]}x{shape[0]}; download the official file"
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
