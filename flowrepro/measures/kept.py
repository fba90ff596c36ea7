"""The measures of a figure's trained runs, each kept with its run and keyed by its checkpoint's digest."""

from typing import Any

import numpy as np

from flowrepro.config.identity import flatten, takes_images
from flowrepro.config.reading import to_tree
from flowrepro.config.schema import Config
from flowrepro.data import load_data
from flowrepro.figures.catalogue import FigureSpec, PlannedRun
from flowrepro.runs.checkpoints import verify
from flowrepro.runs.folder import Run, runs_folder
from flowrepro.runs.trained import load_flow
from flowrepro.writing import replacing

# a flow that diverged has been trained as far as it goes, and its last good checkpoint is measured
ENDED = ("completed", "diverged")


def run_of(planned: PlannedRun, config: Config) -> Run:
    """The run that a figure's words name, below the command's output_dir."""
    return Run(runs_folder(config.output_dir) / planned.config.run_name)


def missing_runs(spec: FigureSpec, config: Config) -> list[PlannedRun]:
    """The runs that have not ended."""
    return [p for p in spec.planned(config.scale.name) if run_of(p, config).state not in ENDED]


def measure_run(spec: FigureSpec, planned: PlannedRun, config: Config) -> dict[str, Any]:
    """`measure(flow, data, **options)` of one run, from its folder where it was measured before.

    What the run's own folder tells is added: case, seed, state, step, result, config (flat) and history (columns).
    """
    run, which = run_of(planned, config), spec.checkpoint
    name = f"{verify(run.checkpoint(which))[:12]}/{spec.key.replace('/', '-')}.npz"
    path = run.path / "measures" / name
    if not path.exists():
        flow = load_flow(run, which)
        own = run.config
        data = load_data(own.dataset, own.dtype, own.seed, takes_images(own.model))
        found = spec.module.measure(flow=flow, data=data, **spec.options.get(config.scale.name, {}))
        with replacing(path) as file:
            np.savez_compressed(file, **found)
    with np.load(path, allow_pickle=False) as arrays:
        # numbers come back as arrays without dimensions
        found = {k: v.item() if v.ndim == 0 else v for k, v in arrays.items()}
    return {"case": planned.case, "seed": planned.seed, **_told(run), **found}


def _told(run: Run) -> dict[str, Any]:
    status, history = run.status, run.history()
    scalars = [k for k, v in history[0].items() if isinstance(v, int | float) or v is None]
    return {
        "run": run.name,
        "state": status["state"],
        "step": status["step"],
        "result": status.get("result") or {},
        "config": flatten(to_tree(run.config)),
        "history": {k: np.array([record[k] for record in history], dtype=float) for k in scalars},
    }
