"""`training.log=tensorboard`: what a run writes to its history, for TensorBoard too."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowrepro.errors import UsageError

NAME = "tensorboard"


def check(log: str) -> None:
    """Raise UsageError if TensorBoard is wanted and its package is missing."""
    if log == NAME and importlib.util.find_spec(NAME) is None:
        raise UsageError(
            "training.log=tensorboard needs the package tensorboard: pip install 'flowrepro[tensorboard]'"
        )


class Board:
    """The events of a run, in its folder `tensorboard/`: each number of the history's records is a curve."""

    def __init__(self, folder: Path, past: Sequence[dict[str, Any]] = ()) -> None:
        self.folder = folder / NAME
        # records that a run had before it was first told to write them here
        self.past = [] if self.folder.exists() else list(past)
        self.writer: Any = None

    def add(self, record: dict[str, Any]) -> None:
        """Add a record; the first of a session hides what an interrupted one wrote after its checkpoint."""
        if self.writer is None:
            # not before there is something to write: it takes a second to import
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=[*self.past, record][0]["step"])
        while self.past:
            self._write(self.past.pop(0))
        self._write(record)
        self.writer.flush()

    def _write(self, record: dict[str, Any]) -> None:
        for name, value in numbers(record).items():
            self.writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record by name, those of a layer as `mean_dlogp/0.Center`."""
    found = {name: value for name, value in record.items() if name not in ("step", "layers")}
    for layer in record["layers"]:
        found |= {f"{name}/{layer['layer']}": value for name, value in layer.items() if name != "layer"}
    return {name: value for name, value in found.items() if value is not None}
