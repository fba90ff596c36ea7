"""The folder of a run: claimed by one process at a time, found by name, with the state of the run."""

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from flowrepro.config.identity import counting, flatten
from flowrepro.config.reading import from_tree, saved_tree, to_tree
from flowrepro.config.schema import GROUPS, ArrayConfig, Config
from flowrepro.errors import Held, UsageError
from flowrepro.runs import aside, lock
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
    def begun(self) -> bool:
        """Whether the folder holds a run."""
        return os.path.isfile(self.path / "config.yaml")  # of a name that is too long: False

    @property
    def in_use(self) -> bool:
        """Whether another process is training it."""
        return lock.in_use(self.path)

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
        """The validation records in order of steps, without one truncated by a crash; unreadable ones are reported."""
        file = self.path / "history.jsonl"
        lines = file.read_text("utf-8", errors="replace").split("\n")[:-1] if file.exists() else []
        records = [_record(line) for line in lines]
        if lost := [str(number) for number, record in enumerate(records, 1) if record is None]:
            print(f"{file}: line {', '.join(lost)} cannot be read and is left out", file=sys.stderr)
        return [record for record in records if record is not None]

    def append_history(self, record: dict[str, Any]) -> None:
        """Add one record."""
        with open(self.path / "history.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def cut_history(self, step: int) -> None:
        """Drop records after `step`: the steps after the checkpoint will be trained again."""
        self.replace_history([record for record in self.history() if record["step"] <= step])

    def replace_history(self, records: list[dict[str, Any]]) -> None:
        """Write these records instead of those there."""
        write_text(self.path / "history.jsonl", "".join(json.dumps(record) + "\n" for record in records))

    def log(self, text: str) -> None:
        """Add to run.log."""
        with open(self.path / "run.log", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


@contextmanager
def claimed(config: Config) -> Iterator[Run]:
    """The run of a config, held by this process alone; with `overwrite` still the old one (see `started_over`).

    A folder made here is removed again if the block ends in an error before there is anything to keep in it.

    Raises:
        Held: another process holds it.
        UsageError: it was started with different values under the same name.
    """
    run = run_of(config)
    made = [path for path in (run.path, *run.path.parents) if not path.exists()]
    with lock.locked(run.path):
        aside.settle(run.path)
        remove_leftovers(run.path)
        try:
            if not run.begun:
                _begin(run, config)
            elif not config.overwrite:
                _check_same(run, config)
            yield run
        except BaseException:
            if made and run.state in ("new", "running") and not run.checkpoint("last").exists():
                _remove(made)
            raise


def _begin(run: Run, config: Config) -> None:
    from omegaconf import OmegaConf

    write_text(run.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(to_tree(config))))


def _remove(made: list[Path]) -> None:
    shutil.rmtree(made[0], ignore_errors=True)
    with suppress(OSError):  # another process has put something there
        for parent in made[1:]:
            parent.rmdir()


@contextmanager
def started_over(run: Run, config: Config) -> Iterator[None]:
    """A new run in place of an old one, which comes back if the block raises, and is deleted at its end."""
    with aside.set_aside(run.path):
        _begin(run, config)
        yield


def _check_same(run: Run, config: Config) -> None:
    """Refuse if a default has changed since the run began: the name stays the same, but not the results."""
    old, new = values(run.config), values(config)
    changed = [
        f"{k} {old.get(k)} -> {new.get(k)}"
        for k in sorted(old.keys() | new.keys())
        if old.get(k) != new.get(k)
    ]
    if changed:
        raise UsageError(
            f"{run.path} was started with other defaults ({'; '.join(changed)}); "
            "train into another output_dir=..., or replace it with overwrite=true"
        )


def values(config: Config) -> dict[str, Any]:
    """All values that a run's results depend on, including defaults."""
    values: dict[str, Any] = {"seed": config.seed, "dtype": config.dtype}
    values |= {group: counting(getattr(config, group)) for group in (*GROUPS, "training")}
    # what a data file holds is part of the name
    return flatten(values)


def run_of(config: Config, output_dir: str | None = None) -> Run:
    """The run of a config below its own `output_dir` or another one, whether or not it exists.

    One on a user's file may exist under the name that the file had before, or without any.
    """
    folder = runs_folder(config.output_dir if output_dir is None else output_dir)
    run = Run(folder / config.run_name)
    if not isinstance(config.dataset, ArrayConfig) or run.begun:
        return run
    same = sorted(folder.glob(f"array*-{config.run_name.split('-', 1)[1]}"))
    return next((Run(path) for path in same if Run(path).begun or aside.unsettled(path)), run)


def runs_folder(output_dir: str | Path) -> Path:
    """Where runs are kept."""
    return Path(output_dir) / "runs"


def mark_latest(run: Run) -> None:
    """Point `runs/latest` at this run, in one step."""
    temporary = run.path.parent / f".latest.{os.getpid()}.tmp"
    for link in run.path.parent.glob(".latest.*.tmp"):
        with suppress(FileNotFoundError):  # of a process that was killed in between
            if link == temporary or time.time() - link.lstat().st_mtime > 1:
                link.unlink()
    temporary.symlink_to(run.name)
    os.replace(temporary, run.path.parent / "latest")


def find(word: str, folder: Path) -> Run:
    """The run that a word names: `latest`, a folder, a name below `folder`, or what only one name or hash begins with.

    `latest` is the newest run that is left, if the one that was trained last has been removed.

    Raises:
        UsageError: no such run, or several; the message lists known ones.
    """
    for path in (folder / word, Path(word)):
        if Run(settled(path)).begun:
            return Run(path.resolve())
    known = [path.parent for path in folder.glob("*/config.yaml") if not path.parent.is_symlink()]
    if word == "latest" and known:
        newest = Run(max(known, key=lambda path: path.joinpath("config.yaml").stat().st_mtime).resolve())
        with suppress(OSError):  # a folder to read only
            mark_latest(newest)
        return newest
    meant = [p for p in known if word and (p.name.startswith(word) or p.name.split("-")[-1].startswith(word))]
    if len(meant) == 1:
        return Run(meant[0].resolve())
    names = sorted(path.name for path in meant or known)
    listed = f"{', '.join(names[:8])}{', ...' * (len(names) > 8)}"
    if meant:
        raise UsageError(
            f"'{word}' begins the names of {len(meant)} runs in {folder}: {listed}; add a letter"
        )
    there = f"it has {listed}" if known else "train one first: flowrepro train"
    raise UsageError(f"no run '{word}' in {folder}; {there}")


def settled(path: Path) -> Path:
    """The folder of a run after what a killed process began there has been finished."""
    if aside.unsettled(path):
        # its training is under way if another process holds it
        with suppress(Held), lock.locked(path):
            aside.settle(path)
    return path


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def read_json(file: Path) -> dict[str, Any]:
    try:
        tree = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
