"""Ctrl-C, SIGTERM and SIGHUP: the first is answered in good order, a second one ends the process at once.

Outside of training the first raises Interrupted; in training it asks the loop to stop at the end of its step.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# the process to follow: of a pool's child, and of the workers that a sweep's launcher may start
POOL, SWEEP = "FLOWREPRO_POOL", "FLOWREPRO_SWEEP"
POLL_SECONDS = 0.5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# the command lines that this process is at: a notebook that trains must outlive an impatient Ctrl-C
_commands: list[bool] = []


class Interrupted(KeyboardInterrupt):
    """A signal that arrived outside of a step of training; the exit code is 128 and its number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name}")
        self.code = 128 + number


class StopRequest:
    """`signal` is 0 until one arrives. A patient one lets the step finish however many arrive."""

    def __init__(self, patient: bool = False) -> None:
        self.signal, self.patient = 0, patient
        self._at_once = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.signal = self.signal or number
        if not self.patient:
            _end_at_the_next()
            if self._at_once:
                raise Interrupted(self.signal)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise Interrupted within the block, which changes nothing that a resumed run could miss."""
        self._at_once = not self.patient
        try:
            if self.signal and self._at_once:
                raise Interrupted(self.signal)
            yield
        finally:
            self._at_once = False

    @property
    def code(self) -> int:
        """The exit code for the signal: 130, 143 or 129."""
        return 128 + self.signal


@contextmanager
def stop_request(patient: bool = False) -> Iterator[StopRequest]:
    """Listen for the signals while the block runs (only in the main thread; other threads get none).

    Under torchrun Ctrl-C arrives twice, from the terminal and from torchrun: then be patient.
    """
    request = StopRequest(patient)
    with _handled(request.receive):
        yield request


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted at the first signal, wherever the process is, so that files half written are removed."""

    def receive(number: int, frame: FrameType | None) -> None:
        _end_at_the_next()
        raise Interrupted(number)

    _commands.append(True)
    try:
        with _handled(receive):
            yield
    finally:
        _commands.pop()


@contextmanager
def _handled(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # nohup and a shell's background jobs ignore some of them, and so do we
    heard = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    before: dict[int, Any] = {s: signal.signal(s, receive) for s in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_the_next() -> None:
    """A second signal ends a command as it would any process; where Python is at work, Ctrl-C raises KeyboardInterrupt."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            in_python = number == signal.SIGINT and not _commands
            signal.signal(number, signal.default_int_handler if in_python else signal.SIG_DFL)


def follow_pool() -> None:
    """Send SIGTERM to this process, a child of a pool, when the pool's process is gone, however that ended."""
    if parent := os.environ.pop(POOL, ""):
        _start_following(int(parent))


def follow_sweep() -> None:
    """The same where a launcher runs jobs in processes of their own on this machine."""
    if os.environ.get(SWEEP) == str(os.getppid()):
        _start_following(os.getppid())


def _start_following(parent: int) -> None:
    if not any(thread.name == SWEEP for thread in threading.enumerate()):
        threading.Thread(target=_follow, args=(parent,), name=SWEEP, daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
