"""The Makefile: a figure is made in a fresh clone, skipped once made, and made again when something changed."""

import importlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KEY = "linear_systems/fig2"


@pytest.fixture
def clone(tmp_path) -> Path:
    """What a fresh clone has, with an environment that is ready."""
    for name in ("conf", "flowrepro", "outputs/figures"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for name in ("Makefile", "pyproject.toml", "tests/constraints.txt"):
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("bin/python", "ready", "ready-figures", "ready-dev"):
        (tmp_path / ".venv" / name).touch()
    return tmp_path


def planned(folder: Path, *targets: str) -> list[str]:
    """What make would run."""
    answer = subprocess.run(["make", "-n", *targets], cwd=folder, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return [line for line in answer.stdout.splitlines() if line.startswith((".venv", "mkdir"))]


def made(folder: Path, scale: str = "cpu") -> None:
    """Pretend that the figure was made now."""
    stamp = folder / "outputs/made" / KEY / scale
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    soon = time.time() + 1
    os.utime(stamp, (soon, soon))


def change(file: Path) -> None:
    later = time.time() + 10
    os.utime(file, (later, later))


def test_a_figure_is_made_in_a_fresh_clone_though_its_picture_is_there(clone):
    assert (clone / "outputs/figures" / KEY / "cpu/figure.png").exists()
    verbs = [line.split()[1] for line in planned(clone, KEY)]
    assert verbs[:3] == ["train", "evaluate", "plot"]


def test_what_is_made_is_skipped(clone):
    made(clone)
    assert planned(clone, KEY) == []
    assert len(planned(clone, KEY, "SCALE=smoke")) == 4, "another scale is another figure"


@pytest.mark.parametrize(
    "file",
    [
        f"conf/figure/{KEY}.yaml",
        "conf/runs/linear_systems.yaml",
        f"flowrepro/figures/{KEY}.py",
        "flowrepro/figures/linear_systems/banana.py",
        "flowrepro/figures/claims.py",
        "conf/tuned/sine-dense_asinh-cpu.yaml",
        "conf/config.yaml",
        "flowrepro/pictures/style.py",
        "flowrepro/measures/manifold.py",
        "flowrepro/flows/coupling.py",
    ],
)
def test_a_change_of_what_it_is_made_by_makes_it_again(clone, file):
    made(clone)
    change(clone / file)
    assert len(planned(clone, KEY)) == 4


@pytest.mark.parametrize(
    "file",
    ["conf/runs/single_coupling.yaml", "flowrepro/figures/linear_systems/fig1.py", "flowrepro/help.py"],
)
def test_other_changes_do_not(clone, file):
    made(clone)
    change(clone / file)
    assert planned(clone, KEY) == []


def test_a_missing_picture_is_made_again(clone):
    made(clone)
    (clone / "outputs/figures" / KEY / "cpu/figure.png").unlink()
    assert len(planned(clone, KEY)) == 4


def test_stamps_and_the_demo_leave_git_clean():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    figures = [line for line in planned(ROOT, "demo") if "figure=" in line]
    assert figures and all("output_dir=outputs/demo" in line for line in figures)
    for path in (
        "outputs/demo/figures/x/figure.png",
        f"outputs/made/{KEY}/cpu",
        "outputs/runs/x/config.yaml",
    ):
        ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT)
        assert ignored.returncode == 0, path
    kept = subprocess.run(["git", "check-ignore", "-q", f"outputs/figures/{KEY}/cpu/arrays.npz"], cwd=ROOT)
    assert kept.returncode == 1


def test_verify_is_one_command(clone):
    assert planned(clone, "verify") == [".venv/bin/flowrepro evaluate figure=all claims=verify"]


def test_a_benchmark_tells_a_row_for_each_peer(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))
    timing = importlib.import_module("timing")
    peers = {"twice": lambda: sum(range(20_000)), "four times": lambda: sum(range(40_000))}
    rows = timing.compare("sums", lambda: sum(range(10_000)), peers, repeats=4)
    assert [row["peer"] for row in rows] == list(peers)
    assert all(row["ratio"] > 0 and row["ours_ms"] > 0 for row in rows)
    assert "four times" in capsys.readouterr().out
