"""SIGKILL at a random moment of evaluate, plot and a sweep: the same command then ends as if it had not been killed.

FLOWREPRO_KILLS=20 tries that many of each instead of one.
"""

import os
import random
import shutil
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flowrepro import writing
from flowrepro.cli import main

KILLS = int(os.environ.get("FLOWREPRO_KILLS", "1"))
SMALL = ["model=linear", "scale=smoke", "training.steps=20", "dataset.n_train=100", "dataset.n_val=40"]
TRAIN = ["train", "dataset=sine", *SMALL, "training.checkpoint_seconds=0", "threads=1"]
EVALUATE, PLOT = ["evaluate", "run=latest", "threads=1"], ["plot", "run=latest"]
SWEEP = ["train", "-m", *TRAIN[1:], "seed=0,1"]


def killed_after(seconds: float, words: list[str]) -> None:
    with warnings.catch_warnings():
        # with one thread the child has none of torch's to wait for
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            main(list(words))
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def content(folder: Path) -> dict[str, object]:
    """What is there, and what tables, arrays and pictures hold."""
    return {p.relative_to(folder).as_posix(): held(p) for p in folder.rglob("*")}


def held(file: Path) -> object:
    if file.suffix == ".csv":
        return pd.read_csv(file).drop(columns="minutes", errors="ignore").to_csv()
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {name: array.tobytes() for name, array in arrays.items()}
    return file.read_bytes() if file.suffix == ".png" else None


@pytest.mark.parametrize(
    ("before", "words"),
    [([TRAIN], EVALUATE), ([TRAIN, EVALUATE], PLOT), ([], SWEEP)],
    ids=["evaluate", "plot", "sweep"],
)
def test_the_same_command_ends_as_if_it_had_not_been_killed(before, words, flowrepro, workdir, monkeypatch):
    # leftovers of a process that is dead need not be a second old
    monkeypatch.setattr(writing, "IDLE_SECONDS", 0)
    (workdir / "outputs").mkdir()
    for earlier in before:
        assert flowrepro(*earlier).code == 0
    shutil.copytree(workdir / "outputs", workdir / "before", symlinks=True)
    began = time.monotonic()
    assert flowrepro(*words).code == 0
    seconds, whole = time.monotonic() - began, content(workdir / "outputs")
    for _ in range(KILLS):
        shutil.rmtree(workdir / "outputs")
        shutil.copytree(workdir / "before", workdir / "outputs", symlinks=True)
        moment = random.uniform(0, seconds)
        killed_after(moment, words)
        answer = flowrepro(*words)
        assert answer.code == 0, f"killed after {moment:.2f} s\n{answer.out}{answer.err}"
        assert content(workdir / "outputs") == whole, f"killed after {moment:.2f} s"
