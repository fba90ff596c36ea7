"""Progress of a run: a bar on a terminal, an occasional line elsewhere."""

import sys
import time
from typing import Any

from tqdm import tqdm

from flowrepro.training.tensorboard import Board


class Progress:
    """Call `update` after every step and `record` for new numbers; `bar` says whether to show one (None: on a terminal)."""

    def __init__(
        self, start: int, total: int, log_seconds: float, bar: bool | None = None, board: Board | None = None
    ) -> None:
        self.total, self.start, self.log_seconds = total, start, log_seconds
        self.began = self.logged = time.monotonic()
        self.note = self.told = ""
        self.board = board
        hidden = None if bar is None else not bar
        self.bar = tqdm(
            total=total, initial=start, unit="step", disable=hidden, leave=False, dynamic_ncols=True
        )

    def update(self, step: int) -> None:
        """One step is done; `step` counts them from the run's start."""
        self.bar.update(1)
        if self.bar.disable and time.monotonic() - self.logged > self.log_seconds:
            self.logged = time.monotonic()
            left = (self.logged - self.began) / max(1, step - self.start) * (self.total - step)
            rest = "under a minute" if left < 60 else f"about {left / 60:.0f} min"
            print(f"step {step}/{self.total}  {self.note}  {rest} left", flush=True)

    def record(self, note: str, numbers: dict[str, Any]) -> None:
        """The newest numbers: in words, shown next to the bar or in the next line, and as a record for the board."""
        self.note = note
        if self.board:
            self.board.add(numbers)
        self.bar.set_postfix_str(note)

    def tell(self, line: str) -> None:
        """A line of its own, above the bar, unless it repeats the one before."""
        if line != self.told:
            self.bar.write(line)
        self.told = line

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
        if self.board:
            self.board.close()
        sys.stdout.flush()
