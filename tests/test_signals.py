"""Signals outside of training, processes without their parent, and terminals that cannot show what is printed."""

import csv
import io
import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pandas as pd
import PIL
import pytest
import yaml
from hydra.errors import HydraException
from omegaconf.errors import InterpolationKeyError

from flowrepro import cli
from flowrepro.errors import DataError, UsageError, ours, translated
from flowrepro.output import Forgiving
from flowrepro.training import signals

ROOT = Path(__file__).resolve().parents[1]


def python(program: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


WAITING = """
import time
from flowrepro import cli
def waiting(words):
    try:
        print("begun")
        time.sleep(60)
    finally:
        print("tidied")
        if words:
            time.sleep(60)
cli._dispatch = waiting
raise SystemExit(cli.main({words}))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_tidies_up_and_has_its_exit_code(number):
    with python(WAITING.format(words=[])) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.stdout.readline() == "tidied\n" and process.wait(timeout=30) == 128 + number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_one_ends_the_process_at_once_and_is_still_itself(number):
    with python(WAITING.format(words=["slow"])) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.stdout.readline() == "tidied\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == -number


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(s) for s in signals.SIGNALS]
    with signals.interruptible(), signals.stop_request() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        while not request.signal:
            time.sleep(0.01)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL, "a second one ends the process"
    assert [signal.getsignal(s) for s in signals.SIGNALS] == before and request.code == 143
    with signals.stop_request(), pytest.raises(KeyboardInterrupt):
        for _ in range(2):  # in a notebook, whose process goes on
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)


@pytest.mark.parametrize("follow", ["pool", "sweep"])
def test_a_worker_does_not_outlive_a_parent_that_was_killed(follow):
    worker = (
        f"from flowrepro.training.signals import *; import time; follow_{follow}(); "
        "print(os.getpid(), flush=True); time.sleep(60)"
    )
    program = (
        f"import os, subprocess, sys; os.environ['FLOWREPRO_{follow.upper()}'] = str(os.getpid()); "
        f"subprocess.run([sys.executable, '-c', {worker!r}])"
    )
    with python(program) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    for _ in range(300):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")


def test_a_child_whose_pool_is_gone_already_ends_at_once():
    with python("import os\nprint(os.getpid())") as gone:
        pid = gone.stdout.readline().strip()
    with python(
        "from flowrepro.training.signals import *; follow_pool(); time.sleep(60)", FLOWREPRO_POOL=pid
    ) as child:
        assert child.wait(timeout=30) == -signal.SIGTERM


FOREIGN = [
    (HydraException("no such group"), 2),
    (InterpolationKeyError("Interpolation key 'nope' not found"), 2),
    (yaml.YAMLError("expected ',' or ']'"), 2),
    (zipfile.BadZipFile("File is not a zip file"), 3),
    (zlib.error("incorrect header check"), 3),
    (csv.Error("unexpected end of data"), 3),
    (pd.errors.ParserError("Expected 3 fields in line 4, saw 5"), 3),
    (pd.errors.EmptyDataError("No columns to parse from file"), 3),
    (PIL.UnidentifiedImageError("cannot identify image file 'x.png'"), 3),
    (pickle.UnpicklingError("invalid load key"), 3),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 3),
    (MemoryError("Unable to allocate 5 TiB"), 2),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), 2),
    (OverflowError("Python int too large to convert to C long"), 2),
    (RecursionError("maximum recursion depth exceeded"), 2),
    (RuntimeError("Could not determine home directory."), 3),
]


@pytest.mark.parametrize(("error", "code"), FOREIGN, ids=lambda value: type(value).__name__)
def test_exceptions_of_other_libraries_are_no_bugs(error, code, monkeypatch, capsys):
    def throwing(words):
        with ours("points.csv"):
            raise error

    monkeypatch.setattr(cli, "_dispatch", throwing)
    assert cli.main([]) == code
    told = capsys.readouterr().err
    assert told.startswith("flowrepro: points.csv: ") and len(told.splitlines()) == 1 and "bug" not in told


def test_what_is_a_bug_stays_one(monkeypatch, capsys):
    assert translated(KeyError("columns")) is None
    assert isinstance(translated(DataError("ours")), DataError)
    monkeypatch.setattr(cli, "_dispatch", lambda words: {}["columns"])
    assert cli.main([]) == 1 and "a bug in flowrepro: KeyError" in capsys.readouterr().err
    with pytest.raises(UsageError), ours("key"):
        raise UsageError("as it is")


def test_a_terminal_without_the_characters_changes_nothing():
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print("-1.2 ± 0.1 nats", file=Forgiving(shown), flush=True)
    assert shown.buffer.getvalue() == b"-1.2 ? 0.1 nats\n"


PRINTING = """
from flowrepro.output import forgiving
import time
with forgiving():
    for i in range(5):
        print("x" * 9999)
        time.sleep(0.05)
raise SystemExit(7)
"""


@pytest.mark.parametrize("reader", ["| head -c 1; exit ${PIPESTATUS[0]}", ">&-", "> /dev/full"])
def test_a_terminal_that_is_gone_changes_nothing(reader):
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(PRINTING)} {reader}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert answer.returncode == 7 and not answer.stderr
