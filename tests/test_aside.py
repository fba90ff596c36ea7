"""overwrite=true: killed at any point, the old or the new run is whole, and nothing of the other is left."""

import os
import shutil
import warnings
from pathlib import Path

import pytest

from flowrepro.config.compose import compose
from flowrepro.errors import DataError, Held
from flowrepro.runs import aside, lock
from flowrepro.runs.folder import claimed, find
from flowrepro.training import loop
from flowrepro.training.loop import train

QUICK = ["dataset=sine", "model=linear", "scale=smoke", "dataset.n_train=50", "dataset.n_val=20", "threads=1"]
OLD = {"config.yaml": "old", "status.json": "old", "checkpoints/last.pt": "old", "plots/samples.png": "old"}
NEW = {"config.yaml": "new", "checkpoints/last.pt": "new"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != lock.NAME]
    return {p.relative_to(folder).as_posix(): p.read_text() for p in files}


def replace(folder: Path, files: dict[str, str]) -> None:
    with aside.set_aside(folder):
        write(folder, files)


def killed_at(call: int, folder: Path, files: dict[str, str], fails: bool = False) -> bool:
    """Replace the run in a process that is gone at its n-th change of the file system; whether it came that far."""
    with warnings.catch_warnings():
        # the child does nothing with torch's threads
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        changes = iter(range(call))

        def counted(change):
            def counting(*args, **kwargs):
                if next(changes, None) is None:
                    os._exit(9)
                return change(*args, **kwargs)

            return counting

        for owner, name in ((Path, "rename"), (Path, "unlink"), (Path, "rmdir"), (shutil, "rmtree")):
            setattr(owner, name, counted(getattr(owner, name)))
        try:
            replace(folder, {n: t for n, t in files.items() if "last.pt" not in n or not fails})
            if fails:
                with aside.set_aside(folder):
                    raise DataError("cannot begin")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_killed_at_any_point_one_of_the_two_is_whole(tmp_path):
    for call in range(100):
        folder = tmp_path / str(call)
        write(folder, OLD)
        killed = killed_at(call, folder, NEW)
        with lock.locked(folder):
            aside.settle(folder)
        assert content(folder) in (OLD, NEW), call
        if not killed:
            break
    assert content(folder) == NEW and call > len(OLD)


def test_killed_while_it_is_put_back_the_old_one_is_whole(tmp_path):
    """The second replacement, of the first one's run, fails before it has a checkpoint."""
    for call in range(100):
        folder = tmp_path / str(call)
        write(folder, OLD)
        killed = killed_at(call, folder, NEW, fails=True)
        aside.settle(folder)
        assert content(folder) in (OLD, {"config.yaml": "new"}), call
        if not killed:
            break
    assert call > 2 * len(OLD)


def test_what_comes_to_nothing_leaves_the_old_run_as_it_was(workdir, monkeypatch):
    words = [*QUICK, "training.steps=3"]
    train(compose(words))
    run = find("latest", workdir / "outputs/runs")
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}

    def missing(*args):
        raise DataError("missing")

    monkeypatch.setattr(loop, "load_data", missing)
    with pytest.raises(DataError):
        train(compose([*words, "overwrite=true"]))
    monkeypatch.undo()
    monkeypatch.setattr(loop, "validate", missing)
    with pytest.raises(DataError):
        train(compose([*words, "overwrite=true"]))
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before


def test_whoever_looks_for_the_run_finds_the_old_one_again(workdir):
    config = compose([*QUICK, "training.steps=3"])
    train(config)
    with claimed(config) as run:
        # as a killed process leaves it
        (run.path / aside.ASIDE).mkdir()
        aside._move(run.path, run.path / aside.ASIDE)
        write(run.path, {"config.yaml": (run.path / aside.ASIDE / "config.yaml").read_text()})
        assert run.state == "new" and find(run.name, run.path.parent).state == "new", "still under way"
    assert find(run.name, run.path.parent).state == "completed"


def test_refused_commands_leave_no_folder(flowrepro, workdir, monkeypatch):
    monkeypatch.setenv("FLOWREPRO_DATA", str(workdir))
    assert flowrepro("train", "dataset=mnist2", "scale=smoke").code == 3
    assert flowrepro("train", *QUICK, "phases.sequence=[{train_layers:[99]}]").code == 2
    assert not list(workdir.iterdir())


def test_a_folder_that_another_process_holds_is_seen_and_refused(tmp_path):
    assert not lock.in_use(tmp_path)
    with lock.locked(tmp_path):
        assert lock.in_use(tmp_path)
        with pytest.raises(Held), lock.locked(tmp_path):
            pass
    assert not lock.in_use(tmp_path)


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def unsupported(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with pytest.raises(lock.UsageError, match=r"cannot be locked \(Operation not supported\)"):
        with lock.locked(tmp_path):
            pass
