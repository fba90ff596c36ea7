"""Ctrl-C and SIGTERM: the first asks the loop to stop at the end of its step, a second one stops it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """`signal` is 0 until one arrives. A patient one lets the step finish however many arrive."""

    def __init__(self, patient: bool = False) -> None:
        self.signal, self.patient = 0, patient

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.signal and not self.patient:
            raise KeyboardInterrupt
        self.signal = number

    @property
    def code(self) -> int:
        """The exit code for the signal: 130 or 143."""
        return 128 + self.signal


@contextmanager
def stop_request(patient: bool = False) -> Iterator[StopRequest]:
    """Listen for both signals while the block runs (only in the main thread; other threads get none).

    Under torchrun Ctrl-C arrives twice, from the terminal and from torchrun: then be patient.
    """
    request = StopRequest(patient)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {s: signal.signal(s, request.receive) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
