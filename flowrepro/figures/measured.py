"""The measures of a figure's trained runs, each kept with its run and keyed by its checkpoint's digest."""

from typing import Any

import numpy as np

from flowrepro.compose import compose
from flowrepro.config import Config, run_name
from flowrepro.data import load
from flowrepro.figures.catalogue import FigureSpec
from flowrepro.loading import load_flow
from flowrepro.runs.checkpoints import verify
from flowrepro.runs.files import replacing
from flowrepro.runs.folder import Run, runs_folder


def run_of(words: list[str], config: Config) -> Run:
    """The run that a figure's words name, below the command's output_dir."""
    return Run(runs_folder(config) / run_name(compose(words)))


def missing_runs(spec: FigureSpec, config: Config) -> list[list[str]]:
    """The words of the runs that are not finished."""
    return [w for w in spec.words(config.scale.name) if run_of(w, config).state != "completed"]


def measure_run(spec: FigureSpec, words: list[str], config: Config) -> dict[str, Any]:
    """`measure(flow, data, **options)` of one run, from its folder where it was measured before."""
    run = run_of(words, config)
    which = config.evaluation.checkpoint
    name = f"{verify(run.checkpoint(which))[:12]}/{spec.key.replace('/', '-')}.npz"
    path = run.path / "measures" / name
    if not path.exists():
        flow = load_flow(run, which)
        data = load(run.config.dataset, next(flow.parameters()).dtype)
        found = spec.module.measure(flow=flow, data=data, **spec.options.get(config.scale.name, {}))
        with replacing(path) as file:
            np.savez_compressed(file, **found)
    with np.load(path, allow_pickle=False) as arrays:
        # numbers come back as arrays without dimensions
        found = {k: v.item() if v.ndim == 0 else v for k, v in arrays.items()}
    return {"run": run.name, "seed": run.config.seed, "words": " ".join(words), **found}
