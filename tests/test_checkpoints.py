"""Checkpoints: damage of every kind is one CheckpointError, hostile ones are not run, a failed save loses nothing."""

import os
import pickle

import pytest
import torch

from flowrepro import writing
from flowrepro.errors import CheckpointError, FlowreproError
from flowrepro.runs import checkpoints


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoints" / "last.pt"
    checkpoints.save(path, {"flow": {"w": torch.arange(1000.0)}, "step": 7})
    return path


def resign(path):
    """Make the digest fit whatever stands at path, so that the next guard is the one tested."""
    checkpoints.digest_file(path).write_text(f"{checkpoints.sha256(path)}  {path.name}\n")


def test_round_trip(path):
    state = checkpoints.load(path)
    assert state["step"] == 7
    assert torch.equal(state["flow"]["w"], torch.arange(1000.0))
    assert not list(path.parent.glob(".*.tmp"))


def test_one_flipped_byte_is_found(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoints.load(path)


@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>", b"hello", pickle.dumps([1])])
def test_what_is_no_checkpoint_is_refused(path, content):
    path.write_bytes(content)
    resign(path)
    with pytest.raises(CheckpointError, match=r"damaged|not a checkpoint"):
        checkpoints.load(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    resign(path)
    with pytest.raises(CheckpointError):
        checkpoints.load(path)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_hostile_checkpoint_is_not_run(path, tmp_path):
    torch.save({"schema": checkpoints.SCHEMA, "flow": Bomb(tmp_path / "boom")}, path)
    resign(path)
    with pytest.raises(CheckpointError):
        checkpoints.load(path)
    assert not (tmp_path / "boom").exists()


def test_a_missing_digest_is_refused(path):
    checkpoints.digest_file(path).unlink()
    with pytest.raises(CheckpointError, match="sha256"):
        checkpoints.load(path)


def test_a_newer_schema_is_refused(path):
    torch.save({"schema": 99}, path)
    resign(path)
    with pytest.raises(CheckpointError, match="version"):
        checkpoints.load(path)


@pytest.mark.parametrize("crash_after", range(3))
def test_a_crash_at_any_moment_leaves_a_loadable_checkpoint(path, monkeypatch, crash_after):
    """Replace os.replace by a crash at its n-th call: digest, checkpoint, final digest."""
    calls, replace = [], os.replace

    def crash(*args):
        if len(calls) == crash_after:
            raise KeyboardInterrupt
        calls.append(args)
        replace(*args)

    monkeypatch.setattr(writing.os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(path, {"flow": {"w": torch.zeros(3)}, "step": 8})
    monkeypatch.undo()
    assert checkpoints.load(path)["step"] == (7 if crash_after < 2 else 8)


def test_a_full_disk_keeps_the_old_checkpoint(path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(FlowreproError, match="No space left"):
        checkpoints.save(path, {"step": 8})
    monkeypatch.undo()
    assert checkpoints.load(path)["step"] == 7
    assert not list(path.parent.glob(".*.tmp"))


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    leftover = tmp_path / "checkpoints" / ".last.pt.123.tmp"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    writing.remove_leftovers(tmp_path)
    assert not leftover.exists()


def test_what_another_process_is_writing_is_no_leftover(tmp_path):
    with writing.replacing(tmp_path / "table.csv") as file:
        os.utime(file.name, (0, 0))
        writing.remove_leftovers(tmp_path)
        file.write(b"whole")
    assert (tmp_path / "table.csv").read_bytes() == b"whole"


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_not_called_damaged(path, monkeypatch):
    """Between the bytes and the digest beside them two more saves take place, so that neither knows the other."""
    saves, digest = [8, 9], checkpoints.hashlib.file_digest

    def slow(*args):
        found = digest(*args)
        steps, saves[:] = list(saves), []
        for step in steps:
            checkpoints.save(path, {"flow": {"w": torch.zeros(3)}, "step": step})
        return found

    monkeypatch.setattr(checkpoints.hashlib, "file_digest", slow)
    found = checkpoints.opened(path)
    assert found.state["step"] == 9 and found.digest == checkpoints.sha256(path)
