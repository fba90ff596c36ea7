"""Supervised UMAP, as Cunningham et al. 2020 draw their latents (extra `umap`)."""

import warnings

import numpy as np

from flowrepro.errors import UsageError

PACKAGES = ("umap-learn", "numba", "pynndescent", "scikit-learn")


def supervised_umap(latents: np.ndarray, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Coordinates (n, 2) of latents (n, d) by UMAP's defaults, which is given the labels (n,) of these very points.

    So what it separates is partly handed to it: evidence is what `separability` measures on the latents themselves.
    The same seed gives the same coordinates with the same versions of `PACKAGES` alone.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        with warnings.catch_warnings():
            # it tells at import that it has no tensorflow
            warnings.simplefilter("ignore", ImportWarning)
            import umap
    except ImportError as error:
        raise UsageError("UMAP needs the extra `umap`: pip install 'flowrepro[umap]'") from error
    # a seed allows one thread only
    return np.asarray(umap.UMAP(random_state=seed, n_jobs=1).fit_transform(latents, y=labels))
