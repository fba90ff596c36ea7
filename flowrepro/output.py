"""What a command prints never changes its result: a terminal may be without the characters, closed, or gone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Forgiving:
    """A text stream that shows what it can, and is silent once its reader is gone."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        """Write what can be written; the number of characters given."""
        try:
            self.stream.write(text)
        except (OSError, ValueError):
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush, if anyone reads."""
        try:
            self.stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Send the rest to nowhere, and with it what Python writes out at exit."""
        nowhere = open(os.devnull, "w")
        try:
            os.dup2(nowhere.fileno(), self.stream.fileno())
        except (OSError, ValueError):
            self.stream = nowhere

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def forgiving() -> Iterator[None]:
    """Make both output streams forgiving while the block runs; they are None where they were closed from the start."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Forgiving(stream) if stream else stream for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()
        sys.stdout, sys.stderr = before
