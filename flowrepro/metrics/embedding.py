"""Maps of latents that are given their classes: UMAP, as in Cunningham et al. 2020 (extra `umap`), and discriminants."""

import warnings
from importlib.metadata import version

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


def discriminants(latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The two leading linear discriminants (n, 2) of latents (n, d) and their labels (n,): UMAP's stand-in.

    With more dimensions than points they separate any labels of these very points.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return np.asarray(LinearDiscriminantAnalysis(n_components=2).fit_transform(latents, labels))


def versions_of_umap() -> str:
    """The versions of `PACKAGES`, in one line."""
    return ", ".join(f"{package} {version(package)}" for package in PACKAGES)
