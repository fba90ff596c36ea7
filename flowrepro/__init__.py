"""flowrepro: figures of papers on normalizing flows, reproduced from the command line.

>>> import flowrepro
>>> flow, config = flowrepro.load("latest")  # doctest: +SKIP
>>> flow = flowrepro.fit(x, model="realnvp", steps=2_000, seed=0)  # doctest: +SKIP
>>> flowrepro.runs().head()  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowrepro.version import __version__

if TYPE_CHECKING:
    from flowrepro import runs
    from flowrepro.flow_pca import FlowPCA
    from flowrepro.runs.trained import load
    from flowrepro.training.fit import fit

__all__ = ["FlowPCA", "__version__", "fit", "load", "runs"]

PLACES = {
    "FlowPCA": "flowrepro.flow_pca",
    "fit": "flowrepro.training.fit",
    "load": "flowrepro.runs.trained",
}


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and `flowrepro --help` must not wait for it
    if name == "runs":  # a package that can be called
        return import_module("flowrepro.runs")
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'flowrepro' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
