"""`evaluate run=a,b` and `plot run=a,b`: several runs in one table, and their curves in one picture."""

import dataclasses
import hashlib
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from flowrepro.config.schema import Config
from flowrepro.errors import UsageError
from flowrepro.runs import checkpoints
from flowrepro.runs.folder import Run, find, runs_folder
from flowrepro.runs.listing import distinguished
from flowrepro.runs.manifest import manifest
from flowrepro.verbs import evaluate, plot
from flowrepro.writing import write_text

SHOWN = ("n", "log_prob", "se", "bits_per_dim", "bits_se", "non_finite")


def several(word: str, folder: Path) -> list[Run]:
    """The runs that `run=` names, between commas; one if a folder's own name holds them. Raises what `find` raises."""
    if os.path.exists(folder / word) or os.path.exists(word):  # of a name that is too long: False
        return [find(word, folder)]
    found = {
        run.path: run for run in (find(part.strip(), folder) for part in word.split(",") if part.strip())
    }
    if not found:
        raise UsageError(f"run={word} names no run")
    return list(found.values())


def run(verb: str, config: Config, overrides: list[str]) -> None:
    """Carry out an `evaluate` or `plot` command line whose `run=` has commas."""
    runs = several(config.run, runs_folder(config.output_dir))
    if len(runs) == 1:
        one = dataclasses.replace(config, run=str(runs[0].path))
        return evaluate.run(one, overrides) if verb == "evaluate" else plot.run(one, overrides)
    if len(data := {manifest(run).get("data") for run in runs}) > 1:
        print(
            f"note        they were trained on {len(data)} different data sets; log-likelihoods do not compare"
        )
    if verb == "evaluate":
        evaluate_all(runs, config, overrides)
    else:
        plot_all(runs, config)


def evaluate_all(runs: list[Run], config: Config, overrides: list[str]) -> None:
    """Print and write the table of the runs' held-out likelihoods; those without measures are evaluated first.

    With `evaluation.` keys on the command line, other than the checkpoint, all of them are.
    """
    keys = {word.lstrip("+").partition("=")[0] for word in overrides} - {"evaluation.checkpoint"}
    again = any(key.startswith("evaluation.") for key in keys)
    folders = {}
    for run in runs:
        own = dataclasses.replace(config, run=str(run.path))
        wanted = evaluate.what_to_measure(run, config, overrides)
        folder = evaluate.measures_folder(run, checkpoints.verify(run.checkpoint(wanted.checkpoint)))
        if config.dry_run or again or not (folder / "measures.json").exists():
            evaluate.run(own, overrides)
        folders[run.name] = folder
    if config.dry_run:
        return
    rows = [
        {"run": run.name, "differs": differs, **held_out(folders[run.name])}
        for run, differs in zip(runs, distinguished(runs), strict=True)
    ]
    table = pd.DataFrame(rows)
    place = folder_of(runs, config) / "comparison.csv"
    write_text(place, table.to_csv(index=False))
    print(table.to_string(index=False, na_rep="", float_format=lambda v: f"{v:.4f}"))
    print(f"held out, in nats per sample\ntable       {place}")


def held_out(measures: Path) -> dict[str, Any]:
    """The flow's own row of a table of likelihoods, on the held-out set."""
    table = pd.read_csv(measures / "likelihood.csv")
    row = table[table.split == "val"].iloc[0].to_dict()
    return {name: row[name] for name in SHOWN if name in row}


def plot_all(runs: list[Run], config: Config) -> None:
    """Draw the validation curves of the runs in one picture."""
    from flowrepro.pictures.runs import compared_curves
    from flowrepro.pictures.style import save

    place = folder_of(runs, config) / f"training.{config.format}"
    if config.dry_run:
        print(f"would draw  {place}")
        return
    curves = {
        f"{run.name.rpartition('-')[2]}  {differs}": plot.history(run)[0]
        for run, differs in zip(runs, distinguished(runs), strict=True)
    }
    dims = {dim_of(run) for run in runs}
    save(compared_curves(curves, dims.pop() if len(dims) == 1 else None, shared(runs)), place)
    print(f"picture     {place}")


def dim_of(run: Run) -> int | None:
    """The pixel values of an image, of an image flow that has been trained to its end; else None."""
    result = run.status.get("result") or {}
    if not run.config.model.takes_images or not result.get("val_bits_per_dim"):
        return None
    return round(-result["val_log_prob"] / (result["val_bits_per_dim"] * math.log(2)))


def shared(runs: list[Run]) -> str:
    """What the names of all runs begin with, and how many they are."""
    parts = list(zip(*(run.name.split("-")[:3] for run in runs), strict=False))
    common = [names[0] for names in parts if len(set(names)) == 1]
    return " · ".join([*common, f"{len(runs)} runs"])


def folder_of(runs: list[Run], config: Config) -> Path:
    """Where a comparison of these runs is kept."""
    digest = hashlib.sha256(" ".join(sorted(run.name for run in runs)).encode()).hexdigest()[:8]
    return Path(config.output_dir) / "comparisons" / digest
