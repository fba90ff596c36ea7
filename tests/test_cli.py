"""The command line: verbs end to end at smoke scale, help, completion, exit codes, nothing lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lookalikes
import numpy as np
import pandas as pd
import pytest

from flowrepro import help
from flowrepro.cli import main

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
        (["trian"], 2, "Did you mean 'train'"),
        (["train", "model=dense_asinhh"], 2, "Did you mean 'dense_asinh'"),
        (["train", "--mutlirun"], 2, "Did you mean '--multirun'"),
        (["train", "dataset=mnist2", "scale=smoke"], 3, "dataset.download=true"),
        (["train", "dataset=array"], 3, "dataset.path"),
        (["train", "--config-dir", "nowhere"], 2, "no such folder"),
        (["train", "run=latest"], 2, "train takes no run="),
        (["evaluate"], 2, "run=latest"),
        (["evaluate", "run=latest"], 2, "train one first"),
        (["evaluate", "figure=linear_systems/fig22"], 2, "linear_systems/fig2"),
        (
            ["plot", "figure=linear_systems/fig2", "scale=smoke"],
            2,
            "flowrepro evaluate figure=linear_systems/fig2",
        ),
        (["train", "-m", "figure=linear_systems/fig2"], 2, "a figure knows its runs"),
        (["evaluate", "-m", "run=latest"], 2, "-m is for train"),
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
    assert "last good checkpoint is kept" in answer.err


def test_plot_says_what_is_missing(flowrepro):
    flowrepro("train", "dataset=sine", *TINY)
    answer = flowrepro("plot", "run=latest")
    assert answer.code == 2 and "flowrepro evaluate run=" in answer.err


def test_dry_run_tells_all_and_leaves_nothing(flowrepro, workdir):
    answer = flowrepro("train", "dataset=sine", *TINY, "dry_run=true")
    assert answer.code == 0
    assert all(
        word in answer.out for word in ("parameters", "steps", "time", "memory", "data ", "n_train: 300")
    )
    assert not list(workdir.iterdir())


@pytest.mark.parametrize("words", [["model=glow"], ["model=realnvp", "dataset.bits=5", "regularizer=none"]])
def test_a_dry_run_on_images_prepares_nothing(flowrepro, workdir, monkeypatch, words):
    lookalikes.celeba_hq(workdir / "data", n=12, side=16)
    monkeypatch.setenv("FLOWREPRO_DATA", str(workdir / "data"))
    before = {p.name for p in (workdir / "data").rglob("*")}
    answer = flowrepro("train", "dataset=celeba_hq", *words, "scale=smoke", "dry_run=true")
    assert answer.code == 0 and "ms a step" in answer.out, answer.err
    assert {p.name for p in (workdir / "data").rglob("*")} == before
    assert [p.name for p in workdir.iterdir()] == ["data"]


def test_a_dry_run_fetches_nothing(flowrepro, workdir, monkeypatch):
    lookalikes.strips(workdir / "data", monkeypatch, "CIFAR10/strips", {"test_000": 2, "train_000": 4}, 32)
    monkeypatch.setenv("FLOWREPRO_DATA", str(workdir / "data"))
    monkeypatch.setattr("flowrepro.data.files.fetch", lambda name: pytest.fail(f"fetched {name}"))
    for dataset, told in (
        ("mnist", "to be fetched: MNIST"),
        ("cifar10", "to be fetched: CIFAR10/cifar-10-python.tar.gz"),
        ("celeba", "NOT THERE"),
    ):
        answer = flowrepro(
            "train", f"dataset={dataset}", "model=glow", "dataset.download=true", "dry_run=true"
        )
        assert answer.code == 0 and told in answer.out and "ms a step" not in answer.out
    assert [p.name for p in workdir.iterdir()] == ["data"]


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
    assert again.out.count("finished already") == 3
    pd.testing.assert_frame_equal(pd.read_csv(next(workdir.glob("outputs/sweeps/*/sweep.csv"))), table)


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
    assert "the same command goes on" in err and "Traceback" not in err
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


def test_help_needs_neither_torch_nor_hydra():
    code = (
        "import sys; from flowrepro.cli import main; main([]); main(['train', '--help']); "
        "main(['--complete', 'flowrepro train mo']); assert not {'torch', 'hydra', 'omegaconf'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    for word in (
        "evaluate",
        "mnist2",
        "dense_softplus",
        "tikhonov",
        "linear_systems/fig2",
        "training.steps=",
    ):
        assert word in answer.stdout


def test_help_of_every_level(capsys):
    for words in ([], ["--help"], ["train", "--help"], ["evaluate", "-h"], ["plot", "--help"], ["--version"]):
        assert main(words) == 0
        assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("flowrepro tr", {"train"}),
        ("flowrepro train mo", {"model=", "model.layers="}),
        ("flowrepro train model=dense", {"model=dense_asinh", "model=dense_softplus"}),
        ("flowrepro train dataset=mnist", {"dataset=mnist", "dataset=mnist2"}),
        ("flowrepro plot figure=", {"figure=all", "figure=linear_systems/fig1"}),
        ("flowrepro train overwrite=", {"overwrite=true"}),
    ],
)
def test_completion_behind_the_verb(line, some):
    assert some <= set(help.candidates(line))


def test_completion_works_in_bash(tmp_path):
    script = help.BASH + (
        "flowrepro() { " + f"PYTHONPATH={ROOT} {sys.executable} -m flowrepro" + ' "$@"; }\n'
        'COMP_LINE="flowrepro train model=line"; COMP_POINT=${#COMP_LINE}; _flowrepro; echo "${COMPREPLY[@]}"'
    )
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert answer.stdout.strip() == "linear", answer.stderr


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
