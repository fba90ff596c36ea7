"""Figures: key, config, module, folder and make target agree; each runs at smoke scale, end to end; measures are kept."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flowrepro.config.compose import compose
from flowrepro.config.reading import conf_dir
from flowrepro.data import check
from flowrepro.errors import DataError, UsageError
from flowrepro.figures import build, store
from flowrepro.figures.catalogue import FigureSpec, keys, load_spec
from flowrepro.figures.claims import VERDICTS, Claim, at_least, column
from flowrepro.measures import kept
from flowrepro.pictures import style

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("key", keys())
def test_the_place_follows_from_the_key(key):
    spec = load_spec(key)
    assert (conf_dir() / "figure" / f"{key}.yaml").is_file()
    assert (ROOT / "flowrepro" / "figures" / f"{key}.py").is_file()
    assert all(hasattr(spec.module, name) for name in ("measure", "table", "draw", "CLAIMS"))
    assert spec.module.__doc__.startswith(spec.paper)
    assert {"smoke", "cpu", "paper"} <= set(spec.seeds) and "cpu" in spec.minutes
    assert store.folder_of(Path("outputs"), key, "cpu") == Path("outputs/figures") / key / "cpu"
    assert f"make {key} " in subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    claims = [claim.key for claim in spec.module.CLAIMS]
    assert claims and len(claims) == len(set(claims))


@pytest.mark.parametrize("key", keys())
def test_every_figure_runs_at_smoke_scale_end_to_end(flowrepro, workdir, key):
    for planned in load_spec(key).planned("smoke"):
        try:
            check(planned.config.dataset)
        except DataError as error:
            pytest.skip(str(error))
    for verb in ("train", "evaluate", "plot"):
        answer = flowrepro(verb, f"figure={key}", "scale=smoke")
        assert answer.code == 0, answer.err
    folder = workdir / "outputs/figures" / key / "smoke"
    claims, table = pd.read_csv(folder / "claims.csv"), pd.read_csv(folder / "table.csv")
    assert len(claims) == len(load_spec(key).module.CLAIMS) and len(table) >= 1
    assert set(claims.verdict) <= set(VERDICTS)
    pixels = np.asarray(Image.open(folder / "figure.png").convert("L"))
    assert pixels.std() > 5, "the picture is blank"
    assert (folder / "figure.png").stat().st_size < 300_000
    before = (folder / "provenance.json").stat().st_mtime_ns
    flowrepro("evaluate", f"figure={key}", "scale=smoke")
    assert (folder / "provenance.json").stat().st_mtime_ns == before, "the same numbers are not written again"


def test_the_banana_has_the_papers_numbers_at_cpu_scale(flowrepro, workdir):
    assert flowrepro("evaluate", "figure=linear_systems/fig2").code == 0
    table = pd.read_csv(workdir / "outputs/figures/linear_systems/fig2/cpu/table.csv")
    assert list(table.seed) == [0, 1, 2]
    assert table.correlation_1.min() > 0.997 and table.correlation_2.min() > 0.99
    assert table.std_1.to_numpy() == pytest.approx(3.45, rel=0.1)
    assert table.std_2.to_numpy() == pytest.approx(0.422, rel=0.05)
    assert table.singular_sum_error.max() < 1e-9


def test_claims_of_the_banana_can_fail(monkeypatch):
    """With a map that is not the paper's the claims must notice."""
    fig2 = load_spec("linear_systems/fig2").module
    right = fig2.banana_map
    monkeypatch.setattr(fig2, "banana_map", lambda x: 1.2 * right(x))
    spoiled = build.judge(fig2.CLAIMS, fig2.table([{"seed": 0, **fig2.measure(seed=0, n=4000)}]), "cpu")
    assert {"maps_to_normal", "normal_1", "jacobian", "likelihood"} <= set(
        spoiled.key[spoiled.verdict == "does not hold"]
    )


def test_one_figure_as_a_real_process(workdir):
    for verb in ("evaluate", "plot"):
        words = [sys.executable, "-m", "flowrepro", verb, "figure=linear_systems/fig2", "scale=smoke"]
        answer = subprocess.run(
            words, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        )
        assert answer.returncode == 0, answer.stderr
        assert answer.stderr == ""
    assert (workdir / "outputs/figures/linear_systems/fig2/smoke/figure.png").exists()


def test_an_unknown_figure_or_scale_is_answered():
    with pytest.raises(UsageError, match="linear_systems/fig2"):
        load_spec("linear_systems/figg2")
    with pytest.raises(UsageError, match="no scale 'demo'"):
        load_spec("linear_systems/fig2").planned("demo")


def test_reduced_is_computed_from_the_values():
    assert load_spec("linear_systems/fig2").reduced("smoke")
    assert not load_spec("linear_systems/fig2").reduced("cpu")


@pytest.fixture
def toy_figure(monkeypatch):
    """A figure with two runs, to test what figures with trained runs share."""
    calls = []

    def measure(flow, data, n):
        calls.append(n)
        return {"score": float(flow.log_prob(data.val[:n]).mean()), "points": data.val[:n].numpy()}

    module = SimpleNamespace(
        measure=measure,
        table=lambda measures: pd.DataFrame([{k: m[k] for k in ("seed", "score", "run")} for m in measures]),
        CLAIMS=[Claim("finite", "here", "The score is finite.", "score", column("score"), at_least(-1e9))],
    )
    run = ["dataset=sine", "model=linear", "training.steps=5", "dataset.n_train=300", "threads=1"]
    spec = FigureSpec(
        "a test", "linear_systems/test", {"linear": run}, seeds={"smoke": [0, 1]}, options={"smoke": {"n": 7}}
    )
    monkeypatch.setattr(FigureSpec, "module", module)
    monkeypatch.setattr(build, "load_spec", lambda key: spec)
    monkeypatch.setattr("flowrepro.figures.catalogue.load_spec", lambda key: spec)
    return calls


def test_a_figure_knows_its_runs_and_keeps_its_measures(flowrepro, workdir, toy_figure):
    answer = flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke")
    assert answer.code == 2 and "flowrepro train figure=linear_systems/test scale=smoke" in answer.err
    assert flowrepro("train", "figure=linear_systems/test", "scale=smoke").code == 0
    assert flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke").code == 0
    assert toy_figure == [7, 7]
    assert flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke").code == 0
    assert toy_figure == [7, 7], "measured again though the checkpoint is the same"
    table = pd.read_csv(workdir / "outputs/figures/linear_systems/test/smoke/table.csv")
    assert list(table.seed) == [0, 1] and table.run.nunique() == 2
    spec = build.load_spec("")
    assert kept.missing_runs(spec, compose(["scale=smoke"])) == []
    assert "finished already" in flowrepro("train", "figure=linear_systems/test", "scale=smoke").out


def test_runs_of_a_figure_train_side_by_side(flowrepro, workdir, toy_figure):
    answer = flowrepro("train", "figure=linear_systems/test", "scale=smoke", "jobs=2")
    assert answer.code == 0, answer.err
    assert "2 runs, 2 at a time" in answer.out and answer.out.count("log-likelihood  train") == 2
    assert kept.missing_runs(build.load_spec(""), compose(["scale=smoke"])) == []


def test_a_figures_run_that_fails_is_told_and_the_others_go_on(flowrepro, workdir, toy_figure):
    spec = build.load_spec("")
    spec.runs["broken"] = ["dataset=array", "dataset.path=nowhere.npy"]
    answer = flowrepro("train", "figure=linear_systems/test", "scale=smoke", "jobs=2")
    assert answer.code == 6 and "2 of 4 runs failed" in answer.err
    assert "nowhere.npy: no such file" in answer.out and answer.out.count("done:") == 2


def test_a_run_that_diverged_is_measured_with_the_others(flowrepro, workdir, toy_figure):
    spec = build.load_spec("")
    spec.runs["wild"] = [*spec.runs["linear"], "training.lr=1e200", "training.checkpoint_seconds=0"]
    assert flowrepro("train", "figure=linear_systems/test", "scale=smoke").code == 0
    assert flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke").code == 0
    states = {m["case"]: m["state"] for m in map(_measured(spec), spec.planned("smoke"))}
    assert states == {"linear": "completed", "wild": "diverged"}


def _measured(spec):
    return lambda planned: kept.measure_run(spec, planned, compose(["scale=smoke"]))


def test_a_case_that_sweeps_is_a_case_for_each_value(toy_figure):
    spec = build.load_spec("")
    spec.runs = {"sine": ["dataset=sine", "regularizer.alpha=0,1e-4"]}
    assert [(p.case, p.seed) for p in spec.planned("smoke")] == [
        ("sine regularizer.alpha=0", 0),
        ("sine regularizer.alpha=0.0001", 0),
        ("sine regularizer.alpha=0", 1),
        ("sine regularizer.alpha=0.0001", 1),
    ]


def test_what_a_runs_folder_tells_is_measured_too(flowrepro, workdir, toy_figure):
    flowrepro("train", "figure=linear_systems/test", "scale=smoke")
    spec = build.load_spec("")
    found = _measured(spec)(spec.planned("smoke")[1])
    assert (found["case"], found["seed"], found["state"], found["step"]) == ("linear", 1, "completed", 5)
    assert found["config"]["training.steps"] == 5
    assert found["result"]["val_log_prob"] == found["history"]["val_log_prob"][-1]


def test_numbers_of_uncommitted_code_give_way_to_the_same_ones_of_committed_code(tmp_path):
    table, claims = pd.DataFrame({"seed": [0]}), pd.DataFrame({"key": ["a"]})

    def stored(**provenance):
        store.save_evaluation(tmp_path, table, claims, {"x": np.zeros(1)}, provenance)
        return json.loads((tmp_path / "provenance.json").read_text())["measured"]

    assert stored(measured="first", git={"commit": "a", "dirty": True}) == "first"
    assert stored(measured="again", git={"commit": "a", "dirty": True}) == "first"
    assert stored(measured="clean", git={"commit": "b", "dirty": False}) == "clean"
    assert stored(measured="later", git={"commit": "c", "dirty": False}) == "clean"


def test_lines_keep_their_colours_beside_large_areas():
    """A thin red line in a picture of thousands of blues."""
    shades = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    shades[..., 0] //= 4
    red = tuple(int(style.RED[i : i + 2], 16) for i in (1, 3, 5))
    shades[7], shades[:20, -20:] = red, 255
    kept = np.asarray(style.few_colours(Image.fromarray(shades)).convert("RGB"))
    assert (kept[7, :-20] == red).all() and (kept[:7, -20:] == 255).all()
    assert len(np.unique(kept.reshape(-1, 3), axis=0)) <= 256
