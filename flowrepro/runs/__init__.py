"""A run is one folder: identity, status, manifest, history, checkpoints. `flowrepro.runs()` lists them."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Runs(ModuleType):
    """This package, which can be called as well."""

    def __call__(self, output_dir: str = "outputs") -> Any:
        """The runs below a folder, one row each; see `runs.listing.table`."""
        # not an import statement: no measure depends on how runs are listed
        return import_module(f"{__name__}.listing").table(output_dir)


sys.modules[__name__].__class__ = _Runs
