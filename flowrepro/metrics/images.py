"""Numbers about images: how hazy they are, how different from each other, how digits slant, loop and use ink."""

import numpy as np


def haze(images: np.ndarray) -> np.ndarray:
    """Mean of 4 x (1 - x) over the pixels x in [0, 1] of images (n, H, W): 0 in black and white, 1 in medium grey, (n,).

    Noise raises it, and so do smudges around strokes, which a measure of high frequencies passes over.
    """
    return (4 * images * (1 - images)).mean((1, 2))


def slant(images: np.ndarray) -> np.ndarray:
    """mu_11 / mu_02 of images (n, H, W): the shear that would make a digit upright; positive leans left, (n,)."""
    height, width = images.shape[1:]
    y, x = np.mgrid[:height, :width]
    mass = images.sum((1, 2))
    dx = x - ((images * x).sum((1, 2)) / mass)[:, None, None]
    dy = y - ((images * y).sum((1, 2)) / mass)[:, None, None]
    return (images * dx * dy).sum((1, 2)) / (images * dy**2).sum((1, 2))


def ink(images: np.ndarray) -> np.ndarray:
    """The mean pixel of images (n, H, W): thick strokes have more, (n,)."""
    return images.mean((1, 2))


def loop(images: np.ndarray) -> np.ndarray:
    """Share of the pixels of images (n, H, W) that strokes darker than a half enclose: 0 for straight lines, (n,)."""
    from scipy.ndimage import binary_fill_holes

    strokes = images > 0.5
    return np.array([(binary_fill_holes(one) & ~one).mean() for one in strokes])


def nearest(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The distance in pixels of each of images (n, H, W) to the nearest of others (m, H, W), (n,)."""
    from sklearn.neighbors import NearestNeighbors

    if not len(images):
        return np.empty(0)
    flat = [one.reshape(len(one), -1) for one in (images, others)]
    return NearestNeighbors(n_neighbors=1).fit(flat[1]).kneighbors(flat[0])[0][:, 0]


def total_variation(images: np.ndarray) -> float:
    """Mean difference of neighbouring pixels of images (n, H, W, C) with pixels in [0, 1], along both axes."""
    along = [np.abs(np.diff(images, axis=axis)) for axis in (1, 2)]
    return float(sum(d.sum() for d in along) / sum(d.size for d in along))


def diversity(images: np.ndarray) -> float:
    """The root mean square difference of the pixels of two images (n, H, W, C), averaged over all pairs."""
    from scipy.spatial.distance import pdist

    flat = images.reshape(len(images), -1)
    return float(pdist(flat).mean() / np.sqrt(flat.shape[1]))
