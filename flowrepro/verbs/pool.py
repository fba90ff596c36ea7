"""Several runs at once, each in its own process with its share of the cores."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from flowrepro.errors import Diverged, Stopped, SweepFailed, UsageError
from flowrepro.runs.lock import in_use
from flowrepro.training.signals import POOL, StopRequest, stop_request

POLL_SECONDS = 0.2


def train_all(runs: list[list[str]], jobs: int, folders: list[Path]) -> None:
    """Train the runs that these command-line arguments select, `jobs` at a time; print a line as each ends.

    A run that another process is training is waited for.

    Raises:
        SweepFailed: some runs failed; the others were trained.
        Stopped: Ctrl-C or SIGTERM; the runs in progress were asked to save their state.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    failed = 0
    print(f"{len(runs)} runs, {jobs} at a time, {threads} thread{'s' * (threads > 1)} each", flush=True)
    with stop_request() as request, ThreadPoolExecutor(jobs) as executor:
        pending = {
            executor.submit(_train, words, folder, threads, request): words
            for words, folder in zip(runs, folders, strict=True)
        }
        for number, done in enumerate(as_completed(pending), 1):
            code, last_line = done.result()
            diverged = "diverged" if "diverged" in last_line else "not finite"
            ended = {0: "done", Diverged.code: diverged}.get(code, f"failed ({code})")
            failed += ended.startswith("failed")
            if not request.signal:
                print(f"{number}/{len(runs)} {ended}: {' '.join(pending[done])}\n    {last_line}", flush=True)
    if request.signal:
        raise Stopped(
            "stopped; rerun without overwrite=true to resume each run from its last checkpoint", request.code
        )
    if failed:
        raise SweepFailed(
            f"{failed} of {len(runs)} runs failed; rerun without overwrite=true to retry only those"
        )


def _train(words: list[str], folder: Path, threads: int, request: StopRequest) -> tuple[int, str]:
    """Exit code and last informative line of one run; a signal to this process is passed on to it."""
    while not request.signal:
        if in_use(folder):
            time.sleep(POLL_SECONDS)
            continue
        code, line = _train_once(words, threads, request)
        # else another process was quicker to begin the run
        if code != UsageError.code or not in_use(folder):
            return code, line
    return request.code, ""


def _train_once(words: list[str], threads: int, request: StopRequest) -> tuple[int, str]:
    command = [sys.executable, "-m", "flowrepro", "train", f"threads={threads}", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), POOL: str(os.getpid())}
    # a session of its own: the terminal's Ctrl-C reaches it once, through this process
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    passed_on = False
    while True:
        try:
            output, _ = process.communicate(timeout=POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if request.signal and not passed_on:
                process.send_signal(request.signal)
                passed_on = True
    lines = [
        line for line in output.splitlines() if line.startswith(("log-likelihood", "flowrepro:", "paused"))
    ]
    return process.returncode, lines[-1] if lines else ""
