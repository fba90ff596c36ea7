"""training.log=tensorboard: the numbers of the history, read back by TensorBoard's own reader."""

import importlib.util
import json

import pytest

from flowrepro.training.tensorboard import numbers

WORDS = [
    "dataset=sine",
    "model=linear",
    "scale=smoke",
    "dataset.n_train=300",
    "dataset.n_val=50",
    "threads=1",
]
LOGGED = [*WORDS, "training.log=tensorboard", "training.validate_every=2"]


def test_the_curves_are_those_of_the_history(flowrepro, workdir):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert flowrepro("train", *LOGGED, "training.steps=4").code == 0
    run = workdir / "outputs/runs/latest"
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    events = reader.EventAccumulator(str(run / "tensorboard")).Reload()
    assert [record["step"] for record in history] == [0, 2, 4]
    assert set(events.Tags()["scalars"]) == {name for record in history for name in numbers(record)}
    for name in ("val_log_prob", "lr", "mean_dlogp/1.Dense"):
        found = {e.step: e.value for e in events.Scalars(name)}
        assert found == pytest.approx({r["step"]: numbers(r)[name] for r in history}, rel=1e-6)
    assert flowrepro("train", *WORDS, "training.validate_every=2", "training.steps=4").out.startswith(
        "already"
    ), "the same run"


def test_a_missing_package_is_told_before_a_run_begins(flowrepro, workdir, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    answer = flowrepro("train", *LOGGED, "training.steps=4")
    assert answer.code == 2 and "pip install 'flowrepro[tensorboard]'" in answer.err
    assert not list(workdir.iterdir())


def test_the_curves_of_a_run_that_continues_from_a_shorter_one_begin_where_that_began(flowrepro, workdir):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    steady = [*WORDS, "training.validate_every=2", "phases=end_to_end", "training.schedule=constant"]
    assert flowrepro("train", *steady, "training.steps=4").code == 0
    answer = flowrepro("train", *steady, "training.steps=6", "training.log=tensorboard")
    assert answer.code == 0 and "continues  from" in answer.out
    events = reader.EventAccumulator(str(workdir / "outputs/runs/latest/tensorboard")).Reload()
    assert [e.step for e in events.Scalars("val_log_prob")] == [0, 2, 4, 6]
