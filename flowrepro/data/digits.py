"""scikit-learn's digits, bundled with it: 8x8 pixels of 17 grey levels."""

from collections.abc import Iterator

import numpy as np

from flowrepro.config.schema import ImageConfig
from flowrepro.data.source import Source

SHAPE = (8, 8, 1)
LEVELS = 17
TWO = 2


def digits(config: ImageConfig) -> Source:
    """All 1,797 images, or the 177 images of the digit 2 for `digits2`.

    The set has no official split: the last fifth, in the order of the file, is held out.
    """

    def read(held_out: bool) -> Iterator[np.ndarray]:
        from sklearn.datasets import load_digits

        found = load_digits()
        images = found.images if config.name == "digits" else found.images[found.target == TWO]
        cut = len(images) - len(images) // 5
        yield (images[cut:] if held_out else images[:cut]).astype(np.uint8)[..., None]

    note = "bundled with scikit-learn"
    return Source([], note, SHAPE, lambda: read(False), lambda: read(True), levels=LEVELS)
