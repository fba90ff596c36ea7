"""Ways to two components, each with what it offers beside them: reconstructions, a density, its time."""

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowrepro.flow_pca import FlowPCA

Array = NDArray[np.float64]


class Found(NamedTuple):
    """Components of the test rows (m, k), the points of k components nearest to these, their mean log-density in nats."""

    components: Array
    nearest: Array | None = None
    log_prob: float = np.nan
    seconds: float = np.nan
    estimator: Any = None


Method = Callable[[Array, Array, int, int, int], Found]


def flow_pca(train: Array, test: Array, k: int, seed: int, max_iter: int) -> Found:
    """FlowPCA with its defaults, however busy the machine."""
    with warnings.catch_warnings():
        # of few rows for a dimension, and of test rows beyond the training rows: the table tells what comes of it
        warnings.filterwarnings(
            "ignore", "intrinsic_dimension_ is often too small|.* rows lie beyond the range"
        )
        pca = FlowPCA(k, max_iter=max_iter, max_seconds=None, random_state=seed).fit(train)
        components = pca.transform(test)
        return Found(components, pca.inverse_transform(components), pca.score(test), estimator=pca)


def flow_pca_local(train: Array, test: Array, k: int, seed: int, max_iter: int) -> Found:
    """FlowPCA with the local components of linear_systems Sec. 4."""
    # it would be the same dimension once more
    pca = FlowPCA(
        k,
        components="local",
        max_iter=max_iter,
        max_seconds=None,
        estimate_dimension=False,
        random_state=seed,
    ).fit(train)
    return Found(pca.transform(test), None, pca.score(test), estimator=pca)


def pca(train: Array, test: Array, k: int, seed: int, max_iter: int) -> Found:
    """PCA, and the Gaussian of the same covariance and alpha as FlowPCA's for the density."""
    from sklearn.decomposition import PCA

    found = PCA(k).fit(train)
    components = found.transform(test)
    return Found(components, found.inverse_transform(components), FlowPCA(layers=0).fit(train).score(test))


def kernel_pca(train: Array, test: Array, k: int, seed: int, max_iter: int) -> Found:
    """Kernel PCA with a Gaussian kernel, and its learned inverse."""
    from sklearn.decomposition import KernelPCA

    found = KernelPCA(k, kernel="rbf", fit_inverse_transform=True, random_state=seed).fit(train)
    components = found.transform(test)
    return Found(components, found.inverse_transform(components))


def umap(train: Array, test: Array, k: int, seed: int, max_iter: int) -> Found:
    """UMAP with its defaults (extra `umap`); its inverse is approximate, takes minutes, and is left out."""
    with warnings.catch_warnings():
        # of tensorflow, which is absent, and of the seed, which allows one thread only
        warnings.simplefilter("ignore")
        from umap import UMAP

        found = UMAP(n_components=k, random_state=seed, n_jobs=1).fit(train)
        return Found(np.asarray(found.transform(test), dtype=np.float64))


METHODS: dict[str, Method] = {
    "FlowPCA": flow_pca,
    "FlowPCA local": flow_pca_local,
    "PCA": pca,
    "KernelPCA": kernel_pca,
    "UMAP": umap,
}


def timed(name: str, train: Array, test: Array, k: int, seed: int, max_iter: int) -> Found:
    """What a method finds, with its seconds of processor time, transforming and reconstructing the test rows included."""
    began = time.process_time()
    found = METHODS[name](train, test, k, seed, max_iter)
    return found._replace(seconds=time.process_time() - began)
