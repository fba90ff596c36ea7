"""Fixtures: an empty working folder, and the command line in-process."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# they are run by `make bench`, and want peers and a quiet machine
collect_ignore = ["benchmarks"]


# a shell's background job ignores these, and what it starts inherits that
for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def flowrepro(workdir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`flowrepro("train", "dataset=sine")` runs the command line in-process, in an empty folder."""
    from flowrepro.cli import main

    def run(*words: str) -> Answer:
        code = main(list(words))
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real data sets, in a folder where a test may prepare images; it is skipped where there are none."""
    folder = os.environ.get("FLOWREPRO_DATA")
    if not folder or not (Path(folder) / "MNIST").is_dir():
        pytest.skip("FLOWREPRO_DATA does not hold MNIST")
    (tmp_path / "data").mkdir()
    for name in ("MNIST", "FashionMNIST", "CIFAR10", "faces64"):
        (tmp_path / "data" / name).symlink_to(Path(folder).resolve() / name)
    monkeypatch.setenv("FLOWREPRO_DATA", str(tmp_path / "data"))
