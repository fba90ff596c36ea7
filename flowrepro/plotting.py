"""`flowrepro plot`: pictures from what `evaluate` stored; it never trains and never measures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowrepro.config import Config
from flowrepro.errors import UsageError
from flowrepro.evaluation import measures_folder
from flowrepro.figures import runs as pictures
from flowrepro.figures.style import save
from flowrepro.runs.folder import Run, find, runs_folder


def plot(config: Config) -> None:
    """Do what a `plot` command line asks for."""
    if config.figure:
        from flowrepro.figures.build import plot_figure

        plot_figure(config)
    elif config.run:
        plot_run(find(config.run, runs_folder(config)), config)
    else:
        raise UsageError("plot needs run=latest, run=<folder>, figure=KEY or figure=all")


def plot_run(run: Run, config: Config) -> None:
    """Training curves, layers, samples and components of a run, in its `plots/` folder.

    Raises:
        UsageError: the run was not evaluated; the message has the command.
    """
    folder = measures_folder(run, config.evaluation.checkpoint)
    if not (folder / "measures.json").exists():
        raise UsageError(
            f"{run.name} has no measures of this checkpoint; first: flowrepro evaluate run={run.name}"
        )
    measures = json.loads((folder / "measures.json").read_text())
    figures = {**_history_figures(run), "samples": _samples(folder, measures, run)}
    figures |= {"components": _components(folder, measures, run)} if measures["latent_names"] else {}
    for name, figure in figures.items():
        path = run.path / "plots" / f"{name}.png"
        save(figure, path)
        print(f"picture  {path}")


def label(run: Run) -> str:
    """The line under every picture of a run: what it shows and how far it was trained."""
    config = run.config
    alpha = getattr(config.regularizer, "alpha", None)
    weight = f" alpha {alpha:g}" if alpha is not None else ""
    return (
        f"{config.dataset.name} · {config.model.name} · {config.regularizer.name}{weight} · "
        f"scale {config.scale.name} · {run.status.get('step')} of {config.training.steps} steps · seed {config.seed}"
    )


def _history_figures(run: Run) -> dict[str, Figure]:
    history = run.history()
    table = pd.DataFrame(history)
    best = int(table.step[table.val_log_prob.idxmax()]) if table.val_log_prob.notna().any() else None
    return {
        "training": pictures.training_curves(table, best_step=best, label=label(run)),
        "layers": pictures.layers_trace(pd.DataFrame(history[-1]["layers"]), label=label(run)),
    }


def _samples(folder: Path, measures: dict[str, Any], run: Run) -> Figure:
    arrays = np.load(folder / "samples.npz")
    drawn, reference = arrays["samples"], arrays["reference"]
    drawn = drawn[np.isfinite(drawn).all(1)]
    text = f"{label(run)} · {measures['non_finite_samples']} of {measures['n_samples']} samples not finite"
    if measures["image_shape"]:
        shape = measures["image_shape"]
        return pictures.samples_grid(drawn.reshape(-1, *shape), reference.reshape(-1, *shape), label=text)
    return pictures.samples_scatter(reference, drawn, label=text)


def _components(folder: Path, measures: dict[str, Any], run: Run) -> Figure:
    arrays = np.load(folder / "components.npz")
    return pictures.components_scatter(
        arrays["neighbours"],
        arrays["latents"],
        measures["latent_names"],
        arrays["correlations"],
        label=label(run),
    )
