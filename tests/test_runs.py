"""What there is to find among runs: the list of them, names cut short, several at once, and folders removed by hand."""

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import flowrepro as package
from flowrepro.config.compose import compose
from flowrepro.errors import UsageError
from flowrepro.pictures.runs import compared_curves
from flowrepro.runs.folder import claimed, find, mark_latest, run_of

FOLDER_PATH = Path("outputs/runs")


def run_of_words(*words, state="completed", age=0.0, **result):
    """A run's small files as training leaves them, without any training."""
    config = compose(list(words))
    with claimed(config) as run:
        run.append_history({"step": 5, "val_log_prob": -3.0, "val_se": 0.5, "layers": []})
        run.set_status(state, step=5, steps=config.training.steps, result=result or None)
    status = run.status | {"heartbeat": time.time() - age}
    (run.path / "status.json").write_text(json.dumps(status))
    return run


@pytest.fixture
def four(workdir):
    """Four runs, the oldest first."""
    score = {"val_log_prob": -1.0, "val_se": 0.1, "val_bits_per_dim": 2.0}
    return [
        run_of_words("dataset=sine", "seed=3", age=9e5, **score),
        run_of_words("dataset=sine", "model.layers=4", age=7_300, **score | {"val_log_prob": -0.5}),
        run_of_words("dataset=digits", "model=glow", age=400, **score | {"val_log_prob": -90.0}),
        run_of_words("dataset=banana", "training.steps=7", state="running", age=5),
    ]


def test_the_list_has_a_row_per_run_and_its_numbers(four):
    found = package.runs().set_index("run")
    assert found.index.tolist() == [run.name for run in reversed(four)], "newest first"
    sine, deep, glow, banana = (found.loc[run.name] for run in four)
    assert sine.tolist()[:4] == ["completed", "sine", "dense_asinh", "tikhonov"]
    assert sine.differs == "seed=3"
    assert "model.layers=4" in deep.differs and "seed" not in deep.differs
    assert (deep.val, deep.se, deep.step) == (-0.5, 0.1, 5)
    assert glow.bits_per_dim == 2.0 and pd.isna(deep.bits_per_dim)
    assert banana.state == "interrupted", "no process holds it"
    assert (banana.val, banana.steps) == (-3.0, 7), "of its last validation"
    late = found.age.dt.total_seconds() - [5, 400, 7_300, 900_000]
    assert late.between(-1, 300).all()


def test_the_command_filters_and_ranks(flowrepro, four):
    def listed(*words):
        answer = flowrepro("evaluate", *words)
        assert answer.code == 0, answer.err
        return [line.split()[0] for line in answer.out.splitlines()[2:]]

    sine, deep, glow, banana = (run.name for run in four)
    assert listed() == [banana, glow, deep, sine]
    assert listed("dataset=sine", "sort=val") == [deep, sine]
    assert listed("dataset=sine,banana", "sort=val") == [deep, sine, banana]
    assert listed("model.layers=4") == [deep] and listed("seed=3", "model=dense_asinh") == [sine]
    assert listed("model=nif") == []
    header, _, *rows = flowrepro("evaluate", "sort=val").out.splitlines()
    assert header == "4 runs in outputs/runs, sorted by val"
    assert "-0.5000 ± 0.1" in rows[0] and "2 h" in rows[0] and "2.0000" in rows[3]


def test_a_list_of_nothing_and_of_damaged_runs(flowrepro, four, workdir):
    answer = flowrepro("evaluate", "output_dir=nowhere")
    assert answer.code == 0 and "train one" in answer.out and not (workdir / "nowhere").exists()
    for run, text in zip(four, ("", "a: [", "[1]", "model: {name: nope}"), strict=True):
        (run.path / "config.yaml").write_text(text)
    assert len(package.runs()) == 0
    assert "no run in outputs/runs" in flowrepro("evaluate").out


def test_names_may_be_cut_short_where_only_one_is_meant(four):
    sine, deep, glow, banana = four
    assert find("banana", FOLDER_PATH).name == banana.name
    assert find(glow.name[:-3], FOLDER_PATH).name == glow.name
    assert find(deep.name.rpartition("-")[2][:6], FOLDER_PATH).name == deep.name
    with pytest.raises(UsageError, match=f"begins the names of 2 runs .*{deep.name}.*add a letter"):
        find("sine-", FOLDER_PATH)
    with pytest.raises(UsageError, match="no run 'spine'"):
        find("spine", FOLDER_PATH)


def test_a_run_removed_by_hand_leaves_the_newest_of_the_others_as_latest(four, flowrepro):
    mark_latest(four[-1])
    shutil.rmtree(four[-1].path)
    assert find("latest", FOLDER_PATH).name == four[-2].name
    assert (FOLDER_PATH / "latest").resolve() == four[-2].path.resolve(), "the link leads there now"
    assert four[-1].name not in flowrepro("evaluate").out
    for run in four[:-1]:
        shutil.rmtree(run.path)
    assert "train one first" in flowrepro("plot", "run=latest").err
    assert run_of(compose(["dataset=banana", "training.steps=7"])).state == "new"


def test_several_runs_are_compared(flowrepro, workdir):
    words = [
        "dataset=sine",
        "model=linear",
        "scale=smoke",
        "dataset.n_train=300",
        "dataset.n_val=50",
        "threads=1",
    ]
    for steps in (2, 3):
        assert flowrepro("train", *words, f"training.steps={steps}", "evaluation.n_samples=9").code == 0
    first, second = sorted(package.runs().run, key=lambda name: find(name, FOLDER_PATH).config.training.steps)
    both = f"run={first},{second.rpartition('-')[2]}"
    assert flowrepro("evaluate", f"run={first}").code == 0
    answer = flowrepro("evaluate", both)
    assert answer.code == 0 and answer.out.count("measures ") == 1, "only the other one is evaluated"
    table = pd.read_csv(next(workdir.glob("outputs/comparisons/*/comparison.csv"))).set_index("run")
    assert table.differs.to_dict() == {first: "training.steps=2", second: "training.steps=3"}
    for name in (first, second):
        measures = pd.read_csv(next(find(name, FOLDER_PATH).path.glob("measures/*/likelihood.csv")))
        own = measures[(measures.split == "val") & (measures.model == "linear")].log_prob
        assert table.log_prob[name] == pytest.approx(own.item())
    assert "would draw" in flowrepro("plot", both, "dry_run=true").out
    assert flowrepro("plot", both, "format=svg").code == 0
    svg = next(workdir.glob("outputs/comparisons/*/training.svg")).read_text()
    assert "training.steps=2" in svg and "training.steps=3" in svg
    assert flowrepro("evaluate", f"run={first},nope").code == 2
    assert flowrepro("evaluate", "run=,").code == 2


def test_curves_are_told_apart_beside_the_panel():
    steps = pd.DataFrame({"step": [0, 1, 2], "val_log_prob": [-3.0, -2.0, float("nan")]})
    figure = compared_curves({f"run {i} $": steps for i in range(24)}, None, "many")
    axis, legend = figure.axes[0], figure.legends[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == 24
    figure.draw_without_rendering()
    assert not legend.get_window_extent().overlaps(axis.get_window_extent())
    bits = compared_curves({"a": steps}, 2, "").axes[0]
    assert bits.lines[0].get_ydata()[0] == pytest.approx(3 / (2 * math.log(2)))


def test_a_run_on_a_file_has_its_name_and_is_found_under_any_other(flowrepro, workdir):
    np.save(workdir / "my points (1).npy", np.random.default_rng(0).normal(size=(40, 2)))
    words = ["dataset=array", "model=linear", "scale=smoke", "training.steps=2", "threads=1"]
    assert flowrepro("train", *words, "dataset.path=my points (1).npy").code == 0
    (name,) = package.runs().run
    assert name.startswith("array_my_points_1-linear-tikhonov-")
    # as runs were named before
    run = find(name, FOLDER_PATH)
    old = run.path.rename(run.path.with_name(name.replace("_my_points_1", "")))
    (workdir / "my points (1).npy").rename(workdir / "größe.npy")
    again = flowrepro("train", *words, "dataset.path=größe.npy")
    assert again.out.startswith("already finished") and old.name in again.out
    assert flowrepro("train", *words, "dataset.path=größe.npy", "training.steps=3").code == 0
    assert {n.partition("-")[0] for n in package.runs().run} == {"array", "array_größe"}
