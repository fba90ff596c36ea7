"""The wheel: it holds conf/, and runs from any folder."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel built from this tree and installed without its dependencies into a target folder."""
    built = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    wheel = next(built.glob("*.whl"))
    target = built / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    return wheel, target


def test_the_wheel_holds_every_config_and_template(installed):
    names = set(zipfile.ZipFile(installed[0]).namelist())
    for file in (ROOT / "conf").rglob("*.yaml"):
        assert f"flowrepro/conf/{file.relative_to(ROOT / 'conf').as_posix()}" in names
    assert "flowrepro/report/template.html" in names
    assert not [n for n in names if n.startswith(("tests/", "outputs/"))]


def test_an_installed_flowrepro_works_from_any_folder(installed, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "PYTHONPATH": str(installed[1])
    }
    words = ["train", "dataset=sine", "scale=smoke", "training.steps=5", "dataset.n_train=300", "threads=1"]
    for command in (words, ["evaluate", "run=latest"], ["plot", "run=latest"]):
        answer = subprocess.run(
            [sys.executable, "-m", "flowrepro", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
    where = subprocess.run(
        [sys.executable, "-c", "import flowrepro; print(flowrepro.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert str(installed[1]) in where.stdout
    assert list(tmp_path.glob("outputs/runs/latest/plots/training.png"))


def test_nothing_in_the_tree_names_this_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    for name in tracked:
        file = ROOT / name
        if file.suffix in {".py", ".md", ".yaml", ".toml", ".html", ".json", ".csv"} and file.exists():
            text = file.read_text()
            assert str(ROOT) not in text and str(Path.home()) + "/" not in text, name


# from the ground up; what stands on one line does not know each other
FLOORS = [
    {"errors", "output", "randomness", "version"},
    {"writing", "device", "config"},
    {"data", "pictures", "help"},
    {"analysis", "completion"},
    {"flows"},
    {"metrics", "runs"},
    {"features"},
    {"measures", "training"},
    {"flow_pca"},
    {"figures"},
    {"report"},
    {"verbs"},
    {"cli"},
    {"__main__", "__init__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = ROOT / "flowrepro"


def imports() -> list[tuple[str, str, str]]:
    """(file, its room, the room that it imports) for every import of the package, those inside functions included."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flowrepro":
                inside = (node.module or "").split(".")[1:]
                names = inside[:1] or [alias.name for alias in node.names]
                found += [(str(file), room, name) for name in names if name != room]
    return found


def test_every_room_has_its_floor():
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert rooms == FLOOR.keys()


def test_no_file_imports_upwards():
    # the package's face hands on a function of runs
    upwards = [i for i in imports() if i[1] != "__init__" and FLOOR[i[2]] >= FLOOR[i[1]]]
    assert not upwards
