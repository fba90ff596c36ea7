"""The training curves of a figure's runs, thinned, kept beside it as `curves.csv`: the runs themselves are not committed."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from flowrepro.figures.catalogue import FigureSpec, PlannedRun
from flowrepro.figures.store import csv
from flowrepro.runs.folder import Run, run_of, runs_folder
from flowrepro.writing import write_text

NAME = "curves.csv"
# validations kept of each run, and rows of all runs of a figure
POINTS, FEWEST, ROWS = 40, 8, 2000
SCORES = ["train_log_prob", "val_log_prob"]


def collected(planned: Iterable[PlannedRun], outputs: Path) -> pd.DataFrame:
    """The curves of those planned runs that have ended, one row per validation.

    Columns: run, case, seed, state, step, and train_log_prob (running mean) and val_log_prob in nats per sample.
    """
    found = [(p, run) for p in planned if (run := run_of(p.config, str(outputs))).ended]
    points = max(FEWEST, min(POINTS, ROWS // max(1, len(found))))
    frames = [_thinned(run, points).assign(case=p.case, seed=p.seed) for p, run in found]
    columns = ["run", "case", "seed", "state", "step", *SCORES]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)


def _thinned(run: Run, points: int) -> pd.DataFrame:
    """Evenly spaced validations of a run, the first and the last among them, to six digits."""
    history = pd.DataFrame(run.history())
    chosen = np.unique(np.linspace(0, len(history) - 1, points).round().astype(int))
    scores = history[SCORES].astype(float).iloc[chosen].map(lambda v: float(f"{v:.6g}"))
    return scores.assign(run=run.name, state=run.state, step=history.step.iloc[chosen])


def keep(folder: Path, curves: pd.DataFrame) -> None:
    """Write the curves into a figure's folder, where there are any."""
    if len(curves):
        write_text(folder / NAME, csv(curves))


def stored(folder: Path) -> pd.DataFrame:
    """The curves in a figure's folder; empty where none are kept."""
    return pd.read_csv(folder / NAME) if (folder / NAME).exists() else pd.DataFrame(columns=["run"])


def complete(outputs: Path, spec: FigureSpec, scale: str, folder: Path, names: list[str]) -> None:
    """Keep the curves of a figure that was evaluated without them, if all measured runs still have their folders."""
    there = bool(names) and all(Run(runs_folder(outputs) / name).ended for name in names)
    if there and set(names) != set(stored(folder).run):
        keep(folder, collected([p for p in spec.planned(scale) if p.config.run_name in names], outputs))
