"""The errors a user may see, each with the exit code that `main()` returns for it."""

import difflib
import re
from collections.abc import Iterable
from typing import Any


class FlowreproError(Exception):
    """A problem stated in one line: what is wrong and what to do. Only `cli.main` maps it to an exit code."""

    code = 1


class UsageError(FlowreproError):
    """A wrong argument, key or value on the command line or in a config."""

    code = 2


class DataError(FlowreproError):
    """A missing or damaged data set."""

    code = 3


class CheckpointError(FlowreproError):
    """A checkpoint that is missing, damaged, or from another model."""

    code = 4


class Diverged(FlowreproError):
    """A non-finite loss or gradient; the last good checkpoint is kept."""

    code = 5


class SweepFailed(FlowreproError):
    """Some jobs of a sweep failed; the table names them."""

    code = 6


class Stopped(FlowreproError):
    """Training stopped by a signal after its state was saved; `code` is 130 (Ctrl-C) or 143 (SIGTERM)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def nearest(word: Any, known: Iterable[Any]) -> str:
    """`. Did you mean 'x'?` or the list of known words, for the end of an error line.

    A word of one part is compared with the last parts of the known ones: `alpha` is found in `regularizer.alpha`.
    """
    words = sorted(str(k) for k in known)
    by_end: dict[str, list[str]] = {}
    for one in words:
        by_end.setdefault(re.split(r"[./]", one)[-1], []).append(one)
    of_one_part = not re.search(r"[./]", str(word))
    match = difflib.get_close_matches(str(word), by_end, n=1, cutoff=0.6) if of_one_part else []
    found = by_end[match[0]] if match else difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    return f". Did you mean {either(found)}?" if found else f". Known: {', '.join(words)}"


def either(words: list[str]) -> str:
    """`'a', 'b' or 'c'`."""
    quoted = [f"'{word}'" for word in words]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
