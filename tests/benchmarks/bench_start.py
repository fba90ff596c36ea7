"""Processor time from Enter to the first line of a run, against importing torch and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from timing import Row, row

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5
COMMANDS = {
    "ours": [sys.executable, "-m", "flowrepro", "train", "dataset=sine", "scale=smoke", "training.steps=1"],
    "import torch": [sys.executable, "-c", "import torch; print(torch.__version__)"],
}


def rows() -> list[Row]:
    """One row; both are started in turn."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():  # the first one reads from the disk
        until_first_line(command)
    for _ in range(REPEATS):
        for name, command in COMMANDS.items():
            times[name].append(until_first_line(command))
    return [
        row("from Enter to the first line of a run", times["ours"], "import torch", times["import torch"])
    ]


def until_first_line(command: list[str]) -> float:
    """Milliseconds of processor time that a command has used when it prints its first line; it is killed then."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, env=environment) as process,
    ):
        assert process.stdout and process.stdout.readline()
        process.kill()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return 1000 * (used.ru_utime + used.ru_stime)
