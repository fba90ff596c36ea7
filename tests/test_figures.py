"""Figures: key, config, module, folder and make target agree; each runs at smoke scale, end to end, and is drawn again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flowrepro.analysis.bounds import ALPHA, manifold_log_likelihood
from flowrepro.analysis.coupling import square_conditionals
from flowrepro.config.compose import compose
from flowrepro.config.reading import conf_dir
from flowrepro.data import check
from flowrepro.errors import DataError, UsageError
from flowrepro.figures import build, catalogue, curves, store
from flowrepro.figures.catalogue import FigureSpec, RunWords, keys, load_spec, paper_runs
from flowrepro.figures.claims import VERDICTS, Claim, at_least, column
from flowrepro.figures.drawn import compact, taken
from flowrepro.figures.linear_systems import ablation_alpha
from flowrepro.figures.single_coupling import fig1, fig5
from flowrepro.figures.verify import MAX_ARRAYS
from flowrepro.measures import gmm_coupling, kept
from flowrepro.pictures import style
from flowrepro.runs import traces
from flowrepro.runs.folder import Run
from flowrepro.runs.manifest import hardware

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("key", keys())
def test_the_place_follows_from_the_key(key):
    spec = load_spec(key)
    assert (conf_dir() / "figure" / f"{key}.yaml").is_file()
    assert (ROOT / "flowrepro" / "figures" / f"{key}.py").is_file()
    assert all(hasattr(spec.module, name) for name in ("table", "arrays", "draw", "CLAIMS"))
    assert hasattr(spec.module, "measure") == (not spec.runs)
    assert set(spec.runs) <= set(paper_runs(spec.paper))
    assert spec.measures.keys() == (spec.seeds.keys() if spec.runs else set())
    assert {name for wanted in spec.measures.values() for name in wanted} <= set(kept.names())
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
    for verb in ("train", "evaluate"):
        answer = flowrepro(verb, f"figure={key}", "scale=smoke")
        assert answer.code == 0, answer.err
    folder, runs = workdir / "outputs/figures" / key / "smoke", workdir / "outputs/runs"
    claims, table = pd.read_csv(folder / "claims.csv"), pd.read_csv(folder / "table.csv")
    if load_spec(key).runs:
        shutil.move(runs, workdir / "elsewhere")
        assert {"last_fifth_gain", "state"} <= set(table)
    answer = flowrepro("plot", f"figure={key}", "scale=smoke")
    assert answer.code == 0, f"without the runs: {answer.err}"
    if load_spec(key).runs:
        shutil.move(workdir / "elsewhere", runs)
    assert (folder / "arrays.npz").stat().st_size <= MAX_ARRAYS
    with np.load(folder / "arrays.npz") as arrays:
        assert {a.dtype.itemsize for a in arrays.values()} <= {1, 2, 4}
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
    """A figure with two runs, to test what figures with trained runs share; the options of every measurement."""
    calls = []

    def measure(flow, data, n):
        calls.append(n)
        return {"score": float(flow.log_prob(data.val[:n]).mean()), "points": data.val[:n]}

    module = SimpleNamespace(
        table=lambda measures: pd.DataFrame([{k: m[k] for k in ("seed", "score", "run")} for m in measures]),
        arrays=lambda measures: taken(measures, "points"),
        CLAIMS=[Claim("finite", "here", "The score is finite.", "score", column("score"), at_least(-1e9))],
    )
    words = ["dataset=sine", "model=linear", "training.steps=5", "dataset.n_train=300", "threads=1"]
    runs = {"linear": RunWords(words, {})}
    spec = FigureSpec(
        "a test",
        "linear_systems/test",
        ["linear"],
        seeds={"smoke": [0, 1]},
        measures={"smoke": {"score": {"n": 7}}},
    )
    monkeypatch.setattr(FigureSpec, "module", module)
    monkeypatch.setattr(build, "load_spec", lambda key: spec)
    monkeypatch.setattr("flowrepro.figures.catalogue.load_spec", lambda key: spec)
    monkeypatch.setattr(catalogue, "paper_runs", lambda paper: runs)
    monkeypatch.setattr(kept, "named", lambda name: measure)
    monkeypatch.setattr(kept, "code_hash", lambda *modules: "0")
    return SimpleNamespace(calls=calls, runs=runs, spec=spec, words=words)


def test_a_figure_knows_its_runs_and_keeps_its_measures(flowrepro, workdir, toy_figure):
    answer = flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke")
    assert answer.code == 2 and "flowrepro train figure=linear_systems/test scale=smoke" in answer.err
    assert flowrepro("train", "figure=linear_systems/test", "scale=smoke").code == 0
    assert flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke").code == 0
    assert toy_figure.calls == [7, 7]
    assert flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke").code == 0
    assert toy_figure.calls == [7, 7], "measured again though nothing has changed"
    folder = workdir / "outputs/figures/linear_systems/test/smoke"
    table = pd.read_csv(folder / "table.csv")
    assert list(table.seed) == [0, 1] and table.run.nunique() == 2
    recorded = json.loads((folder / "provenance.json").read_text())["measures"]
    assert [(r["name"], r["options"], r["device"]) for r in recorded] == [("score", {"n": 7}, "cpu")]
    assert build.missing_runs(toy_figure.spec, compose(["scale=smoke"])) == []
    kept_curves = pd.read_csv(folder / "curves.csv")
    assert set(kept_curves.run) == set(table.run) and set(kept_curves.case) == {"linear"}
    for name, curve in kept_curves.groupby("run"):
        records = Run(workdir / "outputs/runs" / name).history()
        assert list(curve.step) == [r["step"] for r in records], "so few validations are all kept"
        assert curve.val_log_prob.to_numpy() == pytest.approx([r["val_log_prob"] for r in records], rel=1e-5)
    assert "already finished" in flowrepro("train", "figure=linear_systems/test", "scale=smoke").out


def test_curves_are_filled_in_where_the_runs_are_still_there(flowrepro, workdir, toy_figure):
    flowrepro("train", "figure=linear_systems/test", "scale=smoke")
    flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke")
    folder, names = workdir / "outputs/figures/linear_systems/test/smoke", Path("curves.csv")
    before = (folder / names).read_bytes()
    runs = json.loads((folder / "provenance.json").read_text())["runs"]

    def complete():
        curves.complete(workdir / "outputs", toy_figure.spec, "smoke", folder, runs)
        return (folder / names).read_bytes() if (folder / names).exists() else b""

    (folder / names).unlink()
    assert complete() == before and complete() == before
    (folder / names).unlink()
    shutil.move(workdir / "outputs/runs" / runs[0], workdir / "elsewhere")
    assert complete() == b"", "a part of the runs would mislead"


def test_long_histories_are_thinned(tmp_path):
    run = Run(tmp_path)
    for step in range(0, 3000, 3):
        run.append_history({"step": step, "train_log_prob": None, "val_log_prob": -1 / (step + 1)})
    thin = curves._thinned(run, 40)
    assert len(thin) == 40 and list(thin.step.iloc[[0, -1]]) == [0, 2997] and thin.step.diff().max() < 100


def test_another_figure_with_the_same_measure_of_the_same_runs_measures_nothing(
    flowrepro, workdir, toy_figure
):
    flowrepro("train", "figure=linear_systems/test", "scale=smoke")
    for key in ("linear_systems/test", "linear_systems/other"):
        toy_figure.spec.key = key
        assert flowrepro("evaluate", f"figure={key}", "scale=smoke").code == 0
        assert (workdir / "outputs/figures" / key / "smoke/table.csv").exists()
    assert toy_figure.calls == [7, 7]


def test_provenance_says_on_what_was_measured_and_trained(flowrepro, workdir, toy_figure):
    flowrepro("train", "figure=linear_systems/test", "scale=smoke")
    manifest = sorted(workdir.glob("outputs/runs/sine-*/manifest.json"))[0]
    told = json.loads(manifest.read_text())
    told["sessions"].append({"hardware": told["sessions"][0]["hardware"] | {"threads": 7}})
    manifest.write_text(json.dumps(told))
    flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke")
    folder = workdir / "outputs/figures/linear_systems/test/smoke"
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["hardware"] == hardware("cpu")
    assert sorted(h["threads"] for h in provenance["trained_on"]) == [1, 7]
    assert {h["processor"] for h in provenance["trained_on"]} == {hardware("cpu")["processor"]}


def test_runs_of_a_figure_train_side_by_side(flowrepro, workdir, toy_figure):
    answer = flowrepro("train", "figure=linear_systems/test", "scale=smoke", "jobs=2")
    assert answer.code == 0, answer.err
    assert "2 runs, 2 at a time" in answer.out and answer.out.count("log-likelihood  train") == 2
    assert build.missing_runs(toy_figure.spec, compose(["scale=smoke"])) == []
    answer = flowrepro("train", "figure=linear_systems/test", "scale=smoke", "jobs=2")
    assert "2 of 2 runs were already trained" in answer.out and "at a time" not in answer.out


def test_a_figures_run_that_fails_is_told_and_the_others_go_on(flowrepro, workdir, toy_figure):
    toy_figure.runs["broken"] = RunWords(["dataset=array", "dataset.path=nowhere.npy"], {})
    toy_figure.spec.runs.append("broken")
    answer = flowrepro("train", "figure=linear_systems/test", "scale=smoke", "jobs=2")
    assert answer.code == 6 and "2 of 4 runs failed" in answer.err
    assert "nowhere.npy: no such file" in answer.out and answer.out.count("done:") == 2


def test_a_run_that_diverged_is_measured_with_the_others(flowrepro, workdir, toy_figure):
    wild = [*toy_figure.words, "training.lr=1e200", "training.checkpoint_seconds=0"]
    toy_figure.runs["wild"] = RunWords(wild, {})
    toy_figure.spec.runs.append("wild")
    assert flowrepro("train", "figure=linear_systems/test", "scale=smoke").code == 0
    assert flowrepro("evaluate", "figure=linear_systems/test", "scale=smoke").code == 0
    measures = build.measure_runs(toy_figure.spec, compose(["scale=smoke"]))
    assert {m["case"]: m["state"] for m in measures} == {"linear": "completed", "wild": "diverged"}
    for m in measures:
        # what was recorded at validations is finite, what was when training broke off is not
        assert m["trace_log_det"].shape == (len(m["history"]["step"]), len(m["trace_layers"]))
        assert np.isfinite(m["trace_log_det"]).all() and (m["trace_variance"] > 0).all()
        broken = m["broken_layers"]
        assert [layer["layer"] for layer in broken] == list(m["trace_layers"]) * (m["state"] == "diverged")
        assert (traces.first_not_finite(broken) is not None) if broken else m["state"] == "completed"
    wild = next(m["run"] for m in measures if m["case"] == "wild")
    for verb in ("evaluate", "plot"):
        answer = flowrepro(verb, f"run={wild}")
        assert answer.code == 0, answer.err


def test_a_case_that_sweeps_is_a_case_for_each_value(toy_figure):
    toy_figure.runs["linear"] = RunWords(["dataset=sine", "regularizer.alpha=0,1e-4"], {})
    assert [(p.case, p.seed) for p in toy_figure.spec.planned("smoke")] == [
        ("linear regularizer.alpha=0", 0),
        ("linear regularizer.alpha=0.0001", 0),
        ("linear regularizer.alpha=0", 1),
        ("linear regularizer.alpha=0.0001", 1),
    ]


def test_runs_of_one_seed_have_the_first(toy_figure):
    toy_figure.runs["linear wide"] = RunWords(["dataset=sine"], {})
    toy_figure.spec.runs.append("linear wide")
    toy_figure.spec.one_seed = ["wide"]
    planned = [(p.case, p.seed) for p in toy_figure.spec.planned("smoke")]
    assert planned == [("linear", 0), ("linear wide", 0), ("linear", 1)]
    # all words of an entry
    toy_figure.runs["linear wide"] = RunWords(["dataset=sine", "training.lr=1e-2,1e-3"], {})
    toy_figure.spec.one_seed = ["wide training.lr=0.001", "linear training.lr=1"]
    planned = [p.case for p in toy_figure.spec.planned("smoke") if p.seed == 1]
    assert planned == ["linear", "linear wide training.lr=0.01"]


def test_runs_of_more_seeds_have_those_of_all_and_more(toy_figure):
    toy_figure.runs["linear wide"] = RunWords(["dataset=sine"], {})
    toy_figure.spec.runs.append("linear wide")
    toy_figure.spec.more_seeds = {"smoke": {"wide": 4}}
    planned = [(p.case, p.seed) for p in toy_figure.spec.planned("smoke")]
    assert planned == [
        ("linear", 0),
        ("linear wide", 0),
        ("linear", 1),
        ("linear wide", 1),
        ("linear wide", 2),
        ("linear wide", 3),
    ]


@pytest.mark.parametrize("key", [key for key in keys() if load_spec(key).one_seed])
def test_every_entry_of_one_seed_names_runs(key):
    spec = load_spec(key)
    names = [set(run.case.split()) for run in spec.planned("cpu")]
    assert all(any(set(words.split()) <= name for name in names) for words in spec.one_seed)


@pytest.mark.parametrize("key", [key for key in keys() if load_spec(key).more_seeds])
def test_every_entry_of_more_seeds_names_runs_and_a_scale(key):
    spec = load_spec(key)
    for scale, more in spec.more_seeds.items():
        names = [set(run.case.split()) for run in spec.planned(scale)]
        assert all(any(set(words.split()) <= name for name in names) for words in more)
        assert all(count > len(spec.seeds[scale]) for count in more.values())


def test_a_run_has_its_own_words_those_of_its_group_and_those_of_the_scale():
    run = RunWords(
        ["dataset=sine"], {"all": ["model=linear"], "smoke": ["training.steps=3"], "cpu": ["seed=1"]}
    )
    assert run.words("smoke") == ["dataset=sine", "model=linear", "training.steps=3"]
    assert run.words("paper") == ["dataset=sine", "model=linear"]
    assert paper_runs("a_paper_without_runs") == {}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a: {runs: {x: [seed=1]}}\nb: {runs: {x: [seed=2]}}", "two runs are called 'x'"),
        ("a: {runs: {x: []}, wrods: {all: []}}", "unknown key 'wrods'"),
        ("a: {runs: {x: []}, words: {smokey: []}}", "unknown key 'smokey'"),
    ],
)
def test_mistakes_in_a_list_of_runs_are_told(tmp_path, monkeypatch, text, hint):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mistaken.yaml").write_text(text)
    monkeypatch.setattr(catalogue, "conf_dir", lambda: tmp_path)
    with pytest.raises(UsageError, match=hint):
        paper_runs.__wrapped__("mistaken")


def test_a_figure_that_names_an_unknown_run_is_told(toy_figure):
    toy_figure.spec.runs.append("linaer")
    with pytest.raises(UsageError, match="Did you mean 'linear'"):
        toy_figure.spec.planned("smoke")


def test_no_run_is_listed_without_a_figure_that_shows_it():
    for paper in {key.split("/")[0] for key in keys()}:
        shown = {run for key in keys() if key.startswith(paper) for run in load_spec(key).runs}
        assert shown == set(paper_runs(paper))


def test_what_a_runs_folder_tells_is_measured_too(flowrepro, workdir, toy_figure):
    flowrepro("train", "figure=linear_systems/test", "scale=smoke")
    found = build.measure_runs(toy_figure.spec, compose(["scale=smoke"]))[1]
    assert (found["case"], found["seed"], found["state"], found["step"]) == ("linear", 1, "completed", 5)
    assert found["config"]["training.steps"] == 5
    assert found["result"]["val_log_prob"] == found["history"]["val_log_prob"][-1]


def test_gains_of_the_last_fifth_are_of_steps_not_of_records():
    history = {
        "step": np.array([0.0, 10, 50, 100]),
        "val_log_prob": np.array([-9.0, 0, 2, 7]),
        "train_log_prob": np.array([np.nan, 0, 5, 4]),
    }
    # at step 80 a straight line from 2 to 7 has 5, and one from 5 to 4 has 4.4
    gains = build._last_gains(history)
    assert gains == {"last_fifth_gain": pytest.approx(2), "train_last_fifth_gain": pytest.approx(-0.4)}


def test_figures_with_runs_are_tabulated_drawn_and_judged_without_torch():
    code = (
        "import sys; from flowrepro.figures import catalogue, verify\n"
        "for spec in map(catalogue.load_spec, catalogue.keys()):\n"
        "    if spec.runs: spec.module\n"
        "assert 'torch' not in sys.modules"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_closed_forms_that_figures_hold_as_numbers():
    assert fig1.kl_before() == pytest.approx(gmm_coupling.kl_before(), abs=1e-14)
    assert fig5.BEST_FIRST == pytest.approx(square_conditionals(45).improvement(), abs=1e-14)
    assert ablation_alpha.OPTIMUM_ALPHA == ALPHA
    ours, optimum = (manifold_log_likelihood(1.5, 1, a) for a in (1e-2, ALPHA))
    assert optimum - np.log(1e-2 / ALPHA) / 2 == pytest.approx(ours)


def test_stored_arrays_are_small():
    assert compact(np.linspace(0, 1, 3)).dtype == np.float32
    assert compact(np.array([0, 200])).dtype == np.uint8
    assert compact(np.array([-1, 200])).dtype == np.int16
    assert compact(np.zeros(0, int)).shape == (0,)
    measures = [{"case": "a b", "x": np.arange(5), "history": {"step": np.arange(3.0)}}]
    found = taken(measures, "x", "history_step", rows=2)
    assert {k: v.tolist() for k, v in found.items()} == {"a b/x": [0, 1], "a b/history_step": [0, 1]}


def test_a_figure_is_drawn_in_other_formats_the_same_each_time(flowrepro, workdir):
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    folder = workdir / "outputs/figures/linear_systems/fig2/smoke"
    for form, begins in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
        drawn = []
        for _ in range(2):
            answer = flowrepro("plot", "figure=linear_systems/fig2", "scale=smoke", f"format={form}")
            assert answer.code == 0 and f"figure.{form}" in answer.out, answer.err
            drawn.append((folder / f"figure.{form}").read_bytes())
        assert drawn[0] == drawn[1] and drawn[0].startswith(begins)
    assert flowrepro("plot", "figure=linear_systems/fig2", "format=gif").code == 2


def test_the_report_has_a_pdf_of_a_figure_unless_it_is_large(flowrepro, workdir, monkeypatch):
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    folder = workdir / "outputs/figures/linear_systems/fig2/smoke"
    build.draw_for_report(workdir / "outputs", "linear_systems/fig2", "smoke")
    assert (folder / "figure.pdf").stat().st_size < build.MAX_VECTORS
    (folder / "figure.pdf").write_bytes(b"of before")
    flowrepro("plot", "figure=linear_systems/fig2", "scale=smoke")
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF"), "kept in step with the picture"
    monkeypatch.setattr(build, "MAX_VECTORS", 1)
    build.draw_for_report(workdir / "outputs", "linear_systems/fig2", "smoke")
    assert (folder / "figure.png").exists() and not (folder / "figure.pdf").exists()


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
