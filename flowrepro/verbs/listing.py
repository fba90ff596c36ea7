"""`flowrepro evaluate` alone: the runs there are."""

import math
import shutil
import sys
from pathlib import Path

import pandas as pd

from flowrepro.config.compose import check_words, compose
from flowrepro.runs.folder import runs_folder
from flowrepro.runs.listing import in_order, table

# they are about the list; the others choose among the runs
OWN = ("output_dir", "sort", "dry_run", "debug")


def run(overrides: list[str], config_dirs: list[Path]) -> None:
    """Print one line per run that has the values on the command line. Raises UsageError for unknown keys and options."""
    check_words(overrides, config_dirs)
    words = {word.lstrip("+").partition("=")[0]: word for word in overrides}
    config = compose([word for key, word in words.items() if key in OWN])
    wanted = {key: word.partition("=")[2] for key, word in words.items() if key not in OWN}
    folder = runs_folder(config.output_dir)
    found = in_order(table(config.output_dir, wanted), config.sort)
    if not len(found):
        with_them = f" with {' '.join(words[key] for key in wanted)}" if wanted else ""
        print(f"no run{with_them} in {folder}; train one: flowrepro train")
        return
    print(f"{len(found)} run{'s' * (len(found) > 1)} in {folder}, sorted by {config.sort}")
    # off a terminal nothing is cut
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines(found):
        print(line[:width].rstrip())


def lines(runs: pd.DataFrame) -> list[str]:
    """A header and one line per run. Data, model and regularizer are in its name."""
    cells = {
        "run": runs.run,
        "state": runs.state,
        "step": runs.step.astype(str) + "/" + runs.steps.astype(str),
        "val (nats)": [_number(val, f" ± {se:.2g}") for val, se in zip(runs.val, runs.se, strict=True)],
        "bits/dim": runs.bits_per_dim.map(_number),
        "age": runs.age.map(_age),
        "MB": runs["size"].map("{:.1f}".format),
        "differs from the defaults": runs.differs,
    }
    shown = {name: [name, *column] for name, column in cells.items() if any(column)}
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in shown.values()]
    return ["  ".join(row) for row in zip(*padded, strict=True)]


def _number(value: float, more: str = "") -> str:
    """A number; nothing if there is none."""
    return "" if math.isnan(value) else f"{value:.4f}{more}"


def _age(age: pd.Timedelta) -> str:
    """2 d, 3 h, 4 min or 5 s."""
    seconds = int(age.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
