"""Measures of a run's checkpoint, stored in the run's folder, and made again only when something has changed.

A result is stored under the measure's name and options, the checkpoint's digest and the hash of the measuring code;
if one of them changes, it is measured again. A record of how it was measured is stored with it.
"""

import copy
import functools
import hashlib
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from flowrepro.data import Data, ImageData
from flowrepro.errors import UsageError, nearest
from flowrepro.measures.code import code_hash
from flowrepro.runs import checkpoints
from flowrepro.runs.data import data_of
from flowrepro.runs.folder import Run, read_json
from flowrepro.runs.manifest import git_state, hardware, versions
from flowrepro.runs.trained import Trained, opened
from flowrepro.writing import save_arrays, write_json

Options = dict[str, Any]
# the code that provides a measure with its flow and its data
LOADING = ("flowrepro.runs.trained", "flowrepro.data")


class Kept(NamedTuple):
    """Numbers and arrays by name, on the CPU, and the record of how they were measured."""

    values: dict[str, Any]
    record: dict[str, Any]


def measured(
    run: Run, which: str, wanted: dict[str, Options], device: str = "cpu", trained: Trained | None = None
) -> dict[str, Kept]:
    """Measures by name with their options, of the `last` or `best` checkpoint of a run, or of what was read from it.

    What is not stored in the run's folder is measured on the device.

    Raises:
        UsageError: no measure has this name.
        CheckpointError, DataError: flow or data are missing, damaged, or not those of the training.
    """
    codes = {name: _code(name) for name in wanted}

    def keys(digest: str) -> dict[str, Options]:
        of = {"checkpoint": digest}
        return {n: {"name": n, "options": o, **of, "code": codes[n]} for n, o in wanted.items()}

    digest = trained.digest if trained else checkpoints.verify(run.checkpoint(which))
    places = {name: _place(run, key) for name, key in keys(digest).items()}
    if not all(_stored(path) for path in places.values()):
        # read once: a training may replace the checkpoint meanwhile
        trained, data = trained or opened(run, which), _data(run, device)
        places = {name: _place(run, key) for name, key in keys(trained.digest).items()}
        for name, key in keys(trained.digest).items():
            if not _stored(places[name]):
                _measure(trained, which, key, data, device, places[name])
    return {name: _read(path) for name, path in places.items()}


def _stored(path: Path) -> bool:
    return path.with_suffix(".json").exists()


def named(name: str) -> Callable[..., dict[str, Any]]:
    """`measure(flow, data, **options)` of flowrepro/measures/<name>.py. Raises UsageError for an unknown name."""
    if name not in names():
        raise UsageError(f"measure '{name}' is unknown{nearest(name, names())}")
    function: Callable[..., dict[str, Any]] = importlib.import_module(_module(name)).measure
    return function


@functools.cache
def names() -> list[str]:
    """The names of all measures: the files beside this one that define `measure`."""
    folder = Path(__file__).parent
    return sorted(f.stem for f in folder.glob("*.py") if "\ndef measure(" in f.read_text())


def _module(name: str) -> str:
    return f"flowrepro.measures.{name}"


def _code(name: str) -> str:
    named(name)
    return code_hash(_module(name), *LOADING)


def _place(run: Run, key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return run.path / "measures" / key["checkpoint"][:12] / f"{key['name']}-{digest[:12]}.npz"


def _data(run: Run, device: str) -> Data | ImageData:
    data = data_of(run)
    # images are made batch by batch, and moved then
    return data.to(device) if isinstance(data, Data) else data


def _measure(
    trained: Trained, which: str, key: dict[str, Any], data: Data | ImageData, device: str, path: Path
) -> None:
    # each measure gets its own copy of the flow, since it may change the dtype
    flow = copy.deepcopy(trained.flow).to(device)
    began = time.monotonic()
    values = named(key["name"])(flow, data, **key["options"])
    record = {
        **key,
        "which": which,
        "step": trained.step,
        "seconds": round(time.monotonic() - began, 2),
        "measured": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": git_state(),
        "versions": versions(),
        **hardware(device),
    }
    save_arrays(path, **{k: v.cpu().numpy() if isinstance(v, Tensor) else v for k, v in values.items()})
    # the record comes last: without it a result counts as incomplete
    write_json(path.with_suffix(".json"), record)


def _read(path: Path) -> Kept:
    with np.load(path, allow_pickle=False) as arrays:
        # numbers are read back as zero-dimensional arrays
        values = {k: v.item() if v.ndim == 0 else v for k, v in arrays.items()}
    return Kept(values, read_json(path.with_suffix(".json")))
