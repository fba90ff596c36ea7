"""The command line: verbs end to end at smoke scale, help, completion, exit codes, nothing lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import lookalikes
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from flowrepro.cli import main
from flowrepro.config.compose import compose
from flowrepro.figures.catalogue import load_spec
from flowrepro.runs import checkpoints
from flowrepro.runs.folder import claimed, find
from flowrepro.training import signals
from flowrepro.verbs import dry_run, evaluate, pool, sweep
from flowrepro.verbs.train import kept

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    "scale=smoke",
    "training.steps=20",
    "dataset.n_train=300",
    "dataset.n_val=100",
    "model.layers=2",
    "threads=1",
]


def shell(*words: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "flowrepro", *words],
        env=environment,
        capture_output=True,
        text=True,
        **options,
    )


def test_train_evaluate_plot_a_manifold(flowrepro, workdir):
    trained = flowrepro("train", "dataset=sine", *TINY)
    assert trained.code == 0
    first, last = trained.out.splitlines()[0], trained.out.splitlines()[-1]
    assert first.startswith("run") and "sine-dense_asinh-tikhonov-" in first
    assert last.startswith("next") and "flowrepro evaluate run=" in last
    evaluated = flowrepro("evaluate", "run=latest")
    assert evaluated.code == 0, evaluated.err
    assert "linear, closed form" in evaluated.out and "rank correlation" in evaluated.out
    table = pd.read_csv(next(workdir.glob("outputs/runs/latest/measures/*/likelihood.csv")))
    assert {"log_prob", "se", "bits_per_dim", "median", "worst"} <= set(table)
    assert flowrepro("plot", "run=latest").code == 0
    pictures = {p.stem for p in workdir.glob("outputs/runs/latest/plots/*.png")}
    assert pictures == {"training", "layers", "samples", "components"}


def test_train_evaluate_plot_digits(flowrepro, workdir):
    words = ["dataset=digits2", "scale=smoke", "training.steps=5", "model.layers=1", "threads=1"]
    assert flowrepro("train", *words).code == 0
    assert flowrepro("evaluate", "run=latest").code == 0
    assert flowrepro("plot", "run=latest").code == 0
    table = pd.read_csv(next(workdir.glob("outputs/runs/latest/measures/*/likelihood.csv")))
    levels = table.bits_per_dim_17_levels - table.bits_per_dim
    assert np.allclose(levels, np.log2(16))
    linear = table[table.model.str.startswith("linear") & (table.split == "val")]
    assert linear.bits_per_dim_17_levels.round(4).tolist() == [2.5087]


def test_train_on_the_users_own_points(flowrepro, workdir):
    rng = np.random.default_rng(0)
    np.save(workdir / "points.npy", rng.normal(size=(200, 3)) @ np.diag([2, 1, 0.1]))
    words = ["dataset=array", "dataset.path=points.npy", "scale=smoke", "training.steps=10", "threads=1"]
    assert flowrepro("train", *words).code == 0
    assert flowrepro("evaluate", "run=latest").code == 0
    assert np.load(next(workdir.glob("outputs/runs/latest/measures/*/components.npz")))[
        "neighbours"
    ].shape == (180, 3)


def test_from_python(flowrepro, workdir):
    import flowrepro as package

    flowrepro("train", "dataset=sine", *TINY)
    flow, config = package.load("latest")
    assert config.dataset.name == "sine"
    x = flow.sample(5)
    assert flow.log_prob(x).shape == (5,)
    assert flow.components(x).values.shape == (5, 3)


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["trian"], 2, "unknown command 'trian'. Did you mean 'train'"),
        (["train", "model=dense_asinhh"], 2, "Did you mean 'dense_asinh'"),
        (["train", "--mutlirun"], 2, "Did you mean '--multirun'"),
        (["train", "dataset=mnist2", "scale=smoke"], 3, "dataset.download=true"),
        (["train", "dataset=array"], 3, "dataset.path"),
        (["train", "--config-dir", "nowhere"], 2, "no such folder"),
        (["train", "run=latest"], 2, "train takes no run="),
        (["evaluate", "training.lr=1"], 2, "lists the runs that have these values; with run=R"),
        (["evaluate", "dataset=sien"], 2, "Did you mean 'sine'"),
        (["evaluate", "sort=vla"], 2, "one of age, val, step"),
        (["plot"], 2, "plot needs run=latest"),
        (["evaluate", "run=latest", "dataset=sine"], 2, "dataset= has no effect in `evaluate run=R`"),
        (["evaluate", "run=latest", "training.steps=4", "seed=1"], 2, "training.steps= has no effect"),
        (["evaluate", "run=latest", "figure=linear_systems/fig2"], 2, "two different things"),
        (["evaluate", "figure=linear_systems/fig2", "model=glow"], 2, "model= has no effect"),
        (
            ["train", "figure=linear_systems/fig3", "model.layers=2", "seed=1"],
            2,
            "model.layers=, seed= have no",
        ),
        (["train", "dataset=sine", "jobs=2"], 2, "jobs= has no effect in `train`"),
        (["train", "hydra/launcher=joblib"], 2, "for sweeps with -m"),
        (["train", "-m", "dataset=sine", "jobs=2"], 2, "hydra/launcher=joblib"),
        (["plot", "run=latest", "training.lr=1"], 2, "it draws what evaluate run=R stored"),
        (["plot", "figure=all", "scale=cpu"], 2, "every figure at every scale"),
        (["plot", "figure=fig2"], 2, "'linear_systems/fig2' or 'single_coupling/fig2'"),
        (["evaluate", "run=latest"], 2, "train one first"),
        (["evaluate", "figure=linear_systems/fig22"], 2, "linear_systems/fig2"),
        (
            ["plot", "figure=linear_systems/fig2", "scale=smoke"],
            2,
            "flowrepro evaluate figure=linear_systems/fig2",
        ),
        (["train", "-m", "figure=linear_systems/fig2"], 2, "defines its own runs"),
        (["evaluate", "-m", "run=latest"], 2, "-m is only for train"),
        (["train", "device=tpu"], 2, "auto, cpu, cuda"),
    ],
)
def test_a_mistake_gets_one_line_and_its_exit_code(flowrepro, monkeypatch, workdir, words, code, hint):
    monkeypatch.setenv("FLOWREPRO_DATA", str(workdir / "nothing"))
    answer = flowrepro(*words)
    assert answer.code == code
    assert hint in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert "Traceback" not in answer.err + answer.out


def test_damaged_checkpoints_are_told_with_exit_code_4(flowrepro, workdir):
    flowrepro("train", "dataset=sine", *TINY)
    best = workdir / "outputs/runs/latest/checkpoints/best.pt"
    best.write_bytes(best.read_bytes()[:-1])
    answer = flowrepro("evaluate", "run=latest")
    assert answer.code == 4 and "damaged" in answer.err and len(answer.err.splitlines()) == 1
    assert flowrepro("evaluate", "run=latest", "evaluation.checkpoint=last").code == 0


def test_divergence_has_exit_code_5(flowrepro):
    words = [w for w in TINY if not w.startswith("model.layers")]
    answer = flowrepro("train", "dataset=sine", "model=linear", *words, "training.lr=1e300")
    assert answer.code == 5
    assert "last good checkpoint is kept" in answer.err and "first in layer 1.Dense" in answer.err


def test_plot_says_what_is_missing(flowrepro):
    flowrepro("train", "dataset=sine", *TINY)
    answer = flowrepro("plot", "run=latest")
    assert answer.code == 2 and "flowrepro evaluate run=" in answer.err


def test_a_dry_run_is_six_lines_and_leaves_nothing(flowrepro, workdir):
    answer = flowrepro("train", "dataset=sine", *TINY, "dry_run=true")
    assert answer.code == 0
    labels = [line.split()[0] for line in answer.out.splitlines()]
    assert labels == ["run", "data", "parameters", "steps", "time", "memory"]
    whole = flowrepro("train", "dataset=sine", *TINY, "dry_run=true", "debug=true").out
    assert "n_train: 300" in whole and "dtype: float64" in whole and "n_train" not in answer.out
    assert not list(workdir.iterdir())


def test_a_dry_run_says_where_a_trial_would_take_minutes(flowrepro, monkeypatch):
    monkeypatch.setattr(dry_run, "LARGE", 2)
    answer = flowrepro("train", "dataset=sine", *TINY, "dry_run=true")
    assert answer.code == 0 and answer.out.splitlines()[-1].startswith("time       no estimate: vectors of 3")


def test_a_dry_run_of_a_figure_is_one_line_a_run_and_the_total(flowrepro, workdir):
    answer = flowrepro("train", "figure=linear_systems/fig6", "scale=smoke", "dry_run=true", "threads=1")
    assert answer.code == 0, answer.err
    runs = load_spec("linear_systems/fig6").planned("smoke")
    title, *lines = answer.out.splitlines()
    assert str(len(runs)) in title and lines[-1].startswith("total")
    for planned, line in zip(runs, lines, strict=False):
        assert line.split(",")[0].strip() == planned.case and planned.config.run_name in line
        assert "new, under a minute" in line
    assert not list(workdir.iterdir())


def test_a_dry_run_tries_runs_that_cost_the_same_only_once(monkeypatch, workdir):
    tried = []
    monkeypatch.setattr(
        dry_run, "estimate", lambda config: tried.append(config) or dry_run.Cost(1, 0.001, 1e6)
    )
    planned = load_spec("single_coupling/fig6").planned("cpu")
    dry_run.train_figure("figure", {f"{p.case}, seed {p.seed}": p.config for p in planned})
    # data set, way of training, rotation and number of layers; not seed or learning rate
    alike = {(c.dataset.name, c.phases.name, c.model.rotation, c.model.layers) for c in tried}
    assert len(planned) > len(tried) == len(alike) == 24


def test_dry_runs_of_evaluate_and_plot_write_nothing(flowrepro, workdir):
    flowrepro("train", "dataset=sine", *TINY)
    before = sorted(workdir.rglob("*"))
    answer = flowrepro("evaluate", "run=latest", "dry_run=true", "evaluation.n_samples=23")
    assert answer.code == 0 and "23 samples" in answer.out and "likelihood.csv" in answer.out
    assert flowrepro("plot", "run=latest", "dry_run=true").code == 2, "there is nothing to draw yet"
    assert sorted(workdir.rglob("*")) == before
    flowrepro("evaluate", "run=latest")
    before = sorted(workdir.rglob("*"))
    answer = flowrepro("plot", "run=latest", "dry_run=true")
    assert answer.code == 0 and answer.out.count("would draw") == 4 and "components.png" in answer.out
    assert sorted(workdir.rglob("*")) == before


def test_dry_runs_of_figures_write_nothing(flowrepro, workdir):
    words = ("figure=linear_systems/fig2", "scale=smoke", "dry_run=true")
    answer = flowrepro("evaluate", *words)
    assert answer.code == 0 and "outputs/figures/linear_systems/fig2/smoke" in answer.out
    answer = flowrepro("evaluate", "figure=linear_systems/fig6", *words[1:])
    assert "0 of" in answer.out and "flowrepro train figure=linear_systems/fig6 scale=smoke" in answer.out
    assert flowrepro("plot", *words).code == 2
    assert flowrepro("plot", "figure=all", "dry_run=true").code == 0
    assert not list(workdir.iterdir())
    flowrepro("evaluate", *words[:2])
    before = sorted(workdir.rglob("*"))
    for figure in ("figure=linear_systems/fig2 scale=smoke", "figure=all"):
        answer = flowrepro("plot", *figure.split(), "dry_run=true")
        assert "would draw outputs/figures/linear_systems/fig2/smoke/figure.png" in answer.out
    assert sorted(workdir.rglob("*")) == before


@pytest.mark.parametrize("words", [["model=glow"], ["model=realnvp", "dataset.bits=5", "regularizer=none"]])
def test_a_dry_run_on_images_prepares_nothing(flowrepro, workdir, monkeypatch, words):
    lookalikes.celeba_hq(workdir / "data", n=12, side=16)
    monkeypatch.setenv("FLOWREPRO_DATA", str(workdir / "data"))
    before = {p.name for p in (workdir / "data").rglob("*")}
    answer = flowrepro("train", "dataset=celeba_hq", *words, "scale=smoke", "dry_run=true")
    assert answer.code == 0 and "ms per step" in answer.out, answer.err
    assert {p.name for p in (workdir / "data").rglob("*")} == before
    assert [p.name for p in workdir.iterdir()] == ["data"]


def test_a_dry_run_fetches_nothing_and_tells_what_it_can(flowrepro, workdir, monkeypatch):
    lookalikes.strips(workdir / "data", monkeypatch, "CIFAR10/strips", {"test_000": 2, "train_000": 4}, 32)
    monkeypatch.setenv("FLOWREPRO_DATA", str(workdir / "data"))
    monkeypatch.setattr("flowrepro.data.files.fetch", lambda name: pytest.fail(f"fetched {name}"))
    for dataset, told, known in (
        ("mnist", "to be downloaded: MNIST", True),
        ("cifar10", "to be downloaded: CIFAR10/cifar-10-python.tar.gz", True),
        ("celeba", "not found: celeba/", True),
        ("celeba_hq", "not found: celeba_hq/", False),
    ):
        words = [f"dataset={dataset}", "model=glow", "scale=smoke", "dataset.download=true", "dry_run=true"]
        answer = flowrepro("train", *words)
        assert answer.code == 0 and told in answer.out and "steps      20" in answer.out
        for line in ("\nparameters ", "ms per step", "\nmemory "):
            assert (line in answer.out) == known == ("no estimate until" not in answer.out)
    assert [p.name for p in workdir.iterdir()] == ["data"]


def test_a_figure_fetches_the_data_of_those_of_its_runs_that_have_any_to_fetch():
    fetching = [
        kept(["dataset.download=true", "device=cpu"], compose([d])) for d in ("dataset=mnist2", "seed=0")
    ]
    assert fetching == [["dataset.download=true", "device=cpu"], ["device=cpu"]]


@pytest.mark.parametrize("word", ["dataset.download=true", "+dataset.download=true"])
def test_a_figure_may_be_told_to_fetch(flowrepro, workdir, word):
    answer = flowrepro("train", "figure=linear_systems/fig3", "scale=smoke", word, "dry_run=true")
    assert answer.code == 0, answer.err


def test_evaluate_takes_the_runs_own_keys_and_those_of_the_command(flowrepro, workdir):
    flowrepro("train", "dataset=sine", *TINY, "evaluation.n_samples=31", "evaluation.n_components=17")
    assert flowrepro("evaluate", "run=latest", "evaluation.n_samples=23").code == 0
    folder = next(workdir.glob("outputs/runs/latest/measures/*"))
    assert len(np.load(folder / "samples.npz")["samples"]) == 23
    assert len(np.load(folder / "components.npz")["x"]) == 17


def test_a_sweep_gives_a_table_and_a_plot_and_skips_finished_runs(flowrepro, workdir):
    words = ["train", "-m", "dataset=sine", "regularizer.alpha=0,1e-5,5e-5", *TINY]
    first = flowrepro(*words)
    assert first.code == 0, first.err
    table = pd.read_csv(next(workdir.glob("outputs/sweeps/*/sweep.csv")))
    assert [float(o.split("=")[1]) for o in table.overrides] == [0, 1e-5, 5e-5]
    assert (table.state == "completed").all() and table.val_log_prob.notna().all()
    assert len(list(workdir.glob("outputs/sweeps/*/sweep.png"))) == 1
    assert len([p for p in workdir.glob("outputs/runs/*/config.yaml") if not p.parent.is_symlink()]) == 3
    again = flowrepro(*words)
    assert again.out.count("already finished") == 3
    pd.testing.assert_frame_equal(pd.read_csv(next(workdir.glob("outputs/sweeps/*/sweep.csv"))), table)


SMALL = [
    "dataset=sine",
    "model=linear",
    "scale=smoke",
    "training.steps=2",
    "dataset.n_train=60",
    "dataset.n_val=20",
]


def test_every_row_of_a_sweep_is_labelled_with_its_own_job(flowrepro, workdir):
    """A shuffled sweep is in another order each time it is expanded."""
    assert flowrepro("train", "-m", "seed=shuffle(range(6))", "threads=1", *SMALL).code == 0
    table = pd.read_csv(next(workdir.glob("outputs/sweeps/*/sweep.csv")))
    seeds = [
        yaml.safe_load((workdir / "outputs/runs" / run / "config.yaml").read_text())["seed"]
        for run in table.run
    ]
    assert table.overrides.tolist() == [f"seed={seed}" for seed in seeds] and sorted(seeds) == list(range(6))


def test_a_sweep_waits_for_jobs_that_another_process_is_training(flowrepro, workdir, monkeypatch):
    held = claimed(compose([*SMALL, "threads=1", "seed=0"]))
    held.__enter__()
    waits = SimpleNamespace(sleep=lambda seconds: held.__exit__(None, None, None))
    monkeypatch.setattr(sweep, "time", waits)
    answer = flowrepro("train", "-m", "seed=0,1", "threads=1", *SMALL)
    assert answer.code == 0, answer.err
    assert answer.out.index("seed 1, scale") < answer.out.index("waiting") < answer.out.index("seed 0, scale")
    table = pd.read_csv(next(workdir.glob("outputs/sweeps/*/sweep.csv")))
    assert table.overrides.tolist() == ["seed=0", "seed=1"] and (table.state == "completed").all()


def test_a_figure_waits_for_runs_that_another_process_is_training(monkeypatch):
    """It is held at first, and then another process is quicker to begin it."""
    held, codes = iter([True, False, True, False]), iter([2, 0])
    monkeypatch.setattr(pool, "in_use", lambda folder: next(held))
    monkeypatch.setattr(pool, "POLL_SECONDS", 0)
    monkeypatch.setattr(pool, "_train_once", lambda *args: (next(codes), ""))
    assert pool._train([], Path("run"), 1, signals.StopRequest()) == (0, "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["seed=interval(0,1)"], "no grid has every value"),
        (["seed=range(0,1,0)"], "range() arg 3 must not be zero"),
        (["seed=shuffle(range(0,1e99,1))"], "more than 10,000 values"),
        (["seed=range(200)", "dataset.seed=range(200)"], "40,000 jobs"),
        (["dataset=range(0,1,0)"], "must not be zero"),
        (["seed=glob(*)"], "glob() selects options"),
        (["hydra/sweeper=basic", "seed=0,1"], "the grid of its values"),
        (["hydra/launcher=nowhere", "seed=0,1"], "hydra/launcher/nowhere"),
        (["dataset=glob(nothing*)"], "has no values"),
        (["regularizer=glob(*)"], "regularizer=transport is for"),
    ],
)
def test_sweeps_that_cannot_be_are_told(flowrepro, workdir, words, hint, monkeypatch):
    # a folder is not even made and removed again
    monkeypatch.setattr(sweep, "remove_leftovers", lambda folder: pytest.fail(f"{folder} was made"))
    answer = flowrepro("train", "-m", *SMALL[1:], *words)
    assert answer.code == 2 and hint in answer.err, answer.err
    assert not list(workdir.iterdir())


def test_a_sweep_takes_glob_and_folders_of_any_name(flowrepro, workdir):
    words = ["regularizer=glob(*,exclude=tr*)", "output_dir='My Runs (2)'", "threads=1", *SMALL]
    answer = flowrepro("train", "-m", *words)
    assert "regularizer=none" in answer.out and " 'output_dir=My Runs (2)'\n" in answer.out
    assert answer.code == 0 and len(list(workdir.glob("My Runs (2)/sweeps/*/sweep.csv"))) == 1, answer.err


def test_measures_are_filed_under_the_checkpoint_that_was_read(flowrepro, workdir, monkeypatch):
    """While it is evaluated, a training puts another best checkpoint into its place."""
    flowrepro("train", "threads=1", *SMALL)
    run = find("latest", workdir / "outputs/runs")
    digest, state = checkpoints.verify(run.checkpoint("best")), checkpoints.load(run.checkpoint("best"))
    data_of = evaluate.data_of

    def meanwhile(*args):
        checkpoints.save(run.checkpoint("best"), {**state, "step": 77})
        return data_of(*args)

    monkeypatch.setattr(evaluate, "data_of", meanwhile)
    assert flowrepro("evaluate", "run=latest").code == 0
    assert [p.name for p in (run.path / "measures").iterdir()] == [digest[:12]]
    assert (
        json.loads((run.path / "measures" / digest[:12] / "measures.json").read_text())["step"]
        == state["step"]
    )


def test_an_evaluation_cut_short_leaves_the_one_before_whole(flowrepro, workdir, monkeypatch):
    flowrepro("train", "threads=1", *SMALL)
    flowrepro("evaluate", "run=latest", "evaluation.n_samples=10")
    run = find("latest", workdir / "outputs/runs")
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}

    def stopping(*args):
        raise signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr(evaluate, "components", stopping)
    answer = flowrepro("evaluate", "run=latest", "evaluation.n_samples=20")
    assert answer.code == 143 and "stopped by SIGTERM" in answer.err
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    half = run.path / "measures" / ".99999999.new"
    half.mkdir()
    flowrepro("evaluate", "run=latest", "dry_run=true")
    assert half.exists()
    monkeypatch.undo()
    monkeypatch.chdir(workdir)
    assert flowrepro("evaluate", "run=latest").code == 0 and not half.exists()


def test_a_failing_job_is_told_at_once_and_the_others_go_on(flowrepro, workdir):
    words = [w for w in TINY if not w.startswith("model.layers")]
    answer = flowrepro("train", "-m", "dataset=sine", "model=linear", "training.lr=1e300,1e-3", *words)
    assert answer.code == 6
    assert answer.out.index("FAILED") < answer.out.index("log-likelihood")
    table = pd.read_csv(next(workdir.glob("outputs/sweeps/*/sweep.csv")))
    assert list(table.state) == ["diverged", "completed"]
    assert "1 of 2" in answer.err


def test_a_wrong_word_in_a_sweep_costs_nothing(flowrepro, workdir):
    answer = flowrepro("train", "-m", "model=dense_asinh,dense_asin", *TINY)
    assert answer.code == 2 and "dense_asinh" in answer.err
    assert not list(workdir.iterdir())


def test_launches_in_the_same_second_have_folders_of_their_own(workdir):
    words = [sys.executable, "-m", "flowrepro", "train", "dataset=sine", *TINY]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*words, f"seed={seed}"], env=environment, stdout=subprocess.DEVNULL)
        for seed in range(3)
    ]
    assert [p.wait() for p in processes] == [0, 0, 0]
    assert len({p.parent.resolve() for p in workdir.glob("outputs/runs/*/config.yaml")}) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_have_their_exit_codes(workdir, number, code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = ["train", "dataset=sine", "scale=smoke", "training.steps=1000000", "threads=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flowrepro", *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while (
        len(
            next(iter(workdir.glob("outputs/runs/*/history.jsonl")), Path("/dev/null"))
            .read_text()
            .splitlines()
        )
        < 2
    ):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "rerun the same command to resume" in err and "Traceback" not in err
    assert '"interrupted"' in next(workdir.glob("outputs/runs/*/status.json")).read_text()


def test_ctrl_c_in_a_sweep_starts_no_further_job(workdir):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = ["train", "-m", "dataset=sine", "scale=smoke", "training.steps=1000000", "seed=0,1", "threads=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flowrepro", *words], env=environment, stdout=subprocess.DEVNULL
    )
    while not list(workdir.glob("outputs/runs/*/history.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert len({p.parent.resolve() for p in workdir.glob("outputs/runs/*/config.yaml")}) == 1


def test_help_of_every_level(capsys):
    for words in ([], ["--help"], ["train", "--help"], ["evaluate", "-h"], ["plot", "--help"], ["--version"]):
        assert main(words) == 0
        assert capsys.readouterr().out


def test_a_closed_pipe_is_no_traceback():
    command = f"PYTHONPATH={ROOT} {sys.executable} -m flowrepro train --help | head -1"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in answer.stderr and "BrokenPipe" not in answer.stderr


def test_a_read_only_output_folder_is_told(workdir):
    (workdir / "outputs").write_text("a file where a folder should be")
    answer = shell("train", "dataset=sine", *TINY, cwd=workdir)
    assert answer.returncode == 1
    assert "outputs" in answer.stderr and "Traceback" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


OWN = ["scale=smoke", "training.steps=5", "model.layers=1", "threads=1", "dataset=array"]


def sales(path: Path, size: float = 1.0) -> None:
    """A table of two columns and their sum."""
    parts = (size * np.random.default_rng(0).uniform(1, 2, (40, 2))).round(3)
    table = pd.DataFrame(parts, columns=["north", "south $"])
    table.assign(total=table.sum(axis=1)).to_csv(path, index=False)


def test_a_run_knows_its_data_wherever_they_are(flowrepro, workdir, monkeypatch):
    """By content: from another folder, renamed, moved, told; other data under the same name are not taken for them."""
    sales(workdir / "sales.csv")
    assert flowrepro("train", *OWN, "dataset.path=sales.csv").code == 0
    (workdir / "sub").mkdir()
    sales(workdir / "sub/sales.csv", size=3)
    monkeypatch.chdir(workdir / "sub")
    there = ["run=latest", "output_dir=../outputs", "evaluation.n_samples=20"]
    assert flowrepro("evaluate", *there).code == 0
    (workdir / "sales.csv").rename(workdir / "renamed.csv")
    assert flowrepro("evaluate", *there).code == 0
    again = flowrepro("train", *OWN, "dataset.path=../renamed.csv", "output_dir=../outputs")
    assert again.code == 0 and "already finished" in again.out
    (workdir / "moved").mkdir()
    (workdir / "renamed.csv").rename(workdir / "moved/away.csv")
    lost = flowrepro("evaluate", *there)
    assert lost.code == 3 and "dataset.path=" in lost.err
    other = flowrepro("evaluate", *there, "dataset.path=sales.csv")
    assert other.code == 3 and "different data" in other.err
    assert flowrepro("evaluate", *there, "dataset=array", "dataset.path=../moved/away.csv").code == 0
    assert flowrepro("evaluate", *there, "dry_run=true").code == 0, "the new place is remembered"


def test_names_and_remarks_on_a_table_reach_the_user(flowrepro, workdir):
    import flowrepro as package

    sales(workdir / "sales.csv", size=1e7)
    told = flowrepro("train", *OWN, "dataset.path=sales.csv").out
    assert "40 rows of 3 columns (north, south $, total)" in told and "model.standardize=true" in told
    assert flowrepro("evaluate", "run=latest", "evaluation.n_samples=20").code == 0
    folder = next(workdir.glob("outputs/runs/latest/measures/*/"))
    assert pd.read_csv(folder / "samples.csv").columns.tolist() == ["north", "south $", "total"]
    assert pd.read_csv(folder / "likelihood.csv").model.str.startswith("linear, closed").sum() == 2
    assert package.load("latest").flow.columns == ("north", "south $", "total")
    assert flowrepro("plot", "run=latest").code == 0
    told = flowrepro("train", *OWN, "dataset.path=sales.csv", "model.standardize=true").out
    assert "far from 1" not in told


def test_a_baseline_that_fails_does_not_stop_evaluate(flowrepro, workdir, monkeypatch):
    from flowrepro.verbs import evaluate

    def failing(*arguments):
        raise torch.linalg.LinAlgError("the algorithm failed to converge")

    monkeypatch.setattr(evaluate, "linear_baseline", failing)
    flowrepro("train", "dataset=sine", *TINY)
    answer = flowrepro("evaluate", "run=latest")
    assert answer.code == 0 and "baseline    none: the algorithm failed" in answer.out


def test_a_dry_run_on_a_file_that_cannot_be_read_has_exit_code_3(flowrepro, workdir):
    (workdir / "a.csv").write_text("0,1\n" + "0.5,0.25\n" * 12)
    answer = flowrepro("train", *OWN, "dataset.path=a.csv", "dry_run=true")
    assert answer.code == 3 and "dataset.header=true" in answer.err
    assert flowrepro("train", *OWN, "dataset.path=a.csv", "dry_run=true", "dataset.header=true").code == 0
