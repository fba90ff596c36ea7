"""The folder of a run: claimed by one process at a time, found by name, with the state of the run."""

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from flowrepro.config.identity import counting, flatten
from flowrepro.config.reading import from_tree, saved_tree, to_tree
from flowrepro.config.schema import GROUPS, Config
from flowrepro.errors import FlowreproError, UsageError
from flowrepro.writing import remove_leftovers, write_json, write_text


class Run:
    """One run's folder.

    `config.yaml`, `manifest.json`, `status.json`, `history.jsonl`, `run.log`, `checkpoints/{last,best}.pt`,
    `measures/<checkpoint>/`, `plots/`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.name

    def checkpoint(self, which: str) -> Path:
        """The path of the `last` or `best` checkpoint."""
        return self.path / "checkpoints" / f"{which}.pt"

    @property
    def status(self) -> dict[str, Any]:
        """state (running, completed, paused, interrupted, diverged, failed), step, pid, heartbeat, result."""
        return read_json(self.path / "status.json")

    @property
    def state(self) -> str:
        return str(self.status.get("state", "new"))

    @property
    def ended(self) -> bool:
        """Whether training is over; for a flow that diverged the last good checkpoint is kept."""
        return self.state in ("completed", "diverged")

    def set_status(self, state: str, **values: Any) -> None:
        """Replace the status; the heartbeat is now."""
        write_json(
            self.path / "status.json",
            {
                "state": state,
                "heartbeat": time.time(),
                "pid": os.getpid(),
                "host": socket.gethostname(),
                **values,
            },
        )

    @cached_property
    def config(self) -> Config:
        """The config that the run was started with, converted to the current keys (`saved_tree`).

        Raises:
            UsageError: it is missing or unreadable.
        """
        from omegaconf import OmegaConf

        file = self.path / "config.yaml"
        if not file.is_file():
            raise UsageError(f"{self.path} is not a run folder: it has no config.yaml")
        try:
            tree = OmegaConf.to_container(OmegaConf.load(file))
        except Exception as error:  # yaml raises many kinds of errors
            raise UsageError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
        if not isinstance(tree, dict):
            raise UsageError(f"{file} does not hold a config")
        return from_tree(saved_tree({str(k): v for k, v in tree.items()}))

    def history(self) -> list[dict[str, Any]]:
        """The validation records in order of steps; a line truncated by a crash is left out."""
        file = self.path / "history.jsonl"
        return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []

    def append_history(self, record: dict[str, Any]) -> None:
        """Add one record."""
        with open(self.path / "history.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def cut_history(self, step: int) -> None:
        """Drop records after `step`: the steps after the checkpoint will be trained again."""
        kept = [json.dumps(record) + "\n" for record in self.history() if record["step"] <= step]
        write_text(self.path / "history.jsonl", "".join(kept))

    def log(self, text: str) -> None:
        """Add to run.log."""
        with open(self.path / "run.log", "a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


@contextmanager
def claimed(config: Config) -> Iterator[Run]:
    """The run of a config, held by this process alone.

    Raises:
        UsageError: another process holds it, or it was started with different values under the same name.
    """
    run = run_of(config)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        lock = open(run.path / ".lock", "w")
    except OSError as error:
        raise FlowreproError(
            f"cannot write {run.path}: {error.strerror}; choose another output_dir=..."
        ) from error
    with lock:
        try:
            # the kernel frees this lock when the process ends, however it ends
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{run.path} is being trained by another process; wait for it, or change seed="
            ) from error
        _prepare(run, config)
        yield run


def _prepare(run: Run, config: Config) -> None:
    if config.overwrite:
        for entry in run.path.iterdir():
            if entry.name != ".lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    remove_leftovers(run.path)
    if (run.path / "config.yaml").exists():
        _check_same(run, config)
    else:
        from omegaconf import OmegaConf

        write_text(run.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(to_tree(config))))


def _check_same(run: Run, config: Config) -> None:
    """Refuse if a default has changed since the run began: the name stays the same, but not the results."""
    old, new = _values(run.config), _values(config)
    changed = [
        f"{k} {old.get(k)} -> {new.get(k)}"
        for k in sorted(old.keys() | new.keys())
        if old.get(k) != new.get(k)
    ]
    if changed:
        raise UsageError(
            f"{run.path} was started with other defaults ({'; '.join(changed)}); retrain with overwrite=true"
        )


def _values(config: Config) -> dict[str, Any]:
    """All values that a run's results depend on, including defaults."""
    values: dict[str, Any] = {"seed": config.seed, "dtype": config.dtype}
    values |= {group: counting(getattr(config, group)) for group in (*GROUPS, "training")}
    # what a data file holds is part of the name
    return flatten(values)


def run_of(config: Config, output_dir: str | None = None) -> Run:
    """The run of a config below its own `output_dir` or another one, whether or not it exists."""
    return Run(runs_folder(config.output_dir if output_dir is None else output_dir) / config.run_name)


def runs_folder(output_dir: str | Path) -> Path:
    """Where runs are kept."""
    return Path(output_dir) / "runs"


def mark_latest(run: Run) -> None:
    """Point `runs/latest` at this run, in one step."""
    temporary = run.path.parent / f".latest.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run.name)
    os.replace(temporary, run.path.parent / "latest")


def find(word: str, folder: Path) -> Run:
    """The run that a word names: `latest`, a folder, or a name below `folder`.

    Raises:
        UsageError: no such run; the message lists known ones.
    """
    for path in (folder / word, Path(word)):
        if (path / "config.yaml").is_file():
            return Run(path.resolve())
    known = sorted(p.parent.name for p in folder.glob("*/config.yaml") if not p.parent.is_symlink())
    there = (
        f"; it has {', '.join(known[:8])}{', ...' * (len(known) > 8)}"
        if known
        else "; train one first: flowrepro train"
    )
    raise UsageError(f"no run '{word}' in {folder}{there}")


def read_json(file: Path) -> dict[str, Any]:
    try:
        tree = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
