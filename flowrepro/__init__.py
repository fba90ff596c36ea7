"""flowrepro: figures of papers on normalizing flows, reproduced from the command line.

>>> import flowrepro
>>> flow, config = flowrepro.load("latest")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from flowrepro.version import __version__

if TYPE_CHECKING:
    from flowrepro.runs.trained import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and `flowrepro --help` must not wait for it
    if name == "load":
        from flowrepro.runs.trained import load

        return load
    raise AttributeError(f"module 'flowrepro' has no attribute '{name}'")
