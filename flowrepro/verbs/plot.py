"""`flowrepro plot`: pictures from what `evaluate` stored; it never trains and never measures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowrepro.config.schema import Config
from flowrepro.errors import UsageError
from flowrepro.pictures import runs as pictures
from flowrepro.pictures import vectors
from flowrepro.pictures.style import save
from flowrepro.runs.checkpoints import verify
from flowrepro.runs.folder import Run, find, runs_folder
from flowrepro.verbs import dry_run
from flowrepro.verbs.evaluate import measures_folder, what_to_measure
from flowrepro.writing import remove_leftovers


def run(config: Config, overrides: list[str]) -> None:
    """Carry out a `plot` command line."""
    if config.figure and config.dry_run:
        dry_run.plot_figure(config)
    elif config.figure:
        plot_figure(config)
    else:
        run = find(config.run, runs_folder(config.output_dir))
        plot_run(run, what_to_measure(run, config, overrides).checkpoint, config.format, config.dry_run)


def plot_figure(config: Config) -> None:
    """Draw a figure from its stored arrays; `figure=all` draws each at every stored scale and writes the report."""
    from flowrepro.figures.build import draw

    outputs = Path(config.output_dir)
    if config.figure == "all":
        plot_all(outputs, config.format, config.single)
    else:
        print(f"picture  {draw(outputs, config.figure, config.scale.name, config.format)[0]}")


def plot_all(outputs: Path, form: str, single: bool = False) -> None:
    """Draw every figure at every scale it was evaluated at; write the report and the README's results.

    As png each has vector graphics (pdf) beside it. With `single`, the report as one file and nothing else.
    """
    from flowrepro.figures import store
    from flowrepro.figures.build import draw, draw_for_report
    from flowrepro.figures.catalogue import keys
    from flowrepro.report import page, readme

    if single:
        print(f"report   {page.build(outputs, single=True)}")
        return
    for key in keys():
        for scale in store.scales_there(outputs, key):
            if (store.folder_of(outputs, key, scale) / "arrays.npz").exists():
                drawn = (
                    draw_for_report(outputs, key, scale)
                    if form == "png"
                    else draw(outputs, key, scale, form)[0]
                )
                print(f"picture  {drawn}")
    print(f"report   {page.build(outputs)}")
    if (written := readme.write(outputs)) is not None:
        print(f"index    {written}")


def plot_run(run: Run, checkpoint: str, form: str = "png", dry: bool = False) -> None:
    """Draw training curves, layers, samples and components of a run's best or last checkpoint into its `plots/` folder.

    `form` is png, svg or pdf; `dry` only lists the pictures.

    Raises:
        UsageError: the run has not been evaluated; the message gives the command.
    """
    folder = measures_folder(run, verify(run.checkpoint(checkpoint)))
    if not (folder / "measures.json").exists():
        raise UsageError(
            f"the {checkpoint} checkpoint of {run.name} has not been evaluated; first: "
            f"flowrepro evaluate run={run.path} evaluation.checkpoint={checkpoint}"
        )
    measures = json.loads((folder / "measures.json").read_text())
    if not dry:
        remove_leftovers(run.path)
    figures = _image_figures if "padded_dim" in measures else _vector_figures
    for name, figure in figures(folder, measures, run).items():
        path = run.path / "plots" / f"{name}.{form}"
        if not dry:
            save(figure, path, all_colours=figures is _image_figures)
        print(f"{'would draw' if dry else 'picture'}  {path}")


def label(run: Run) -> str:
    """The line under every picture of a run: what it shows and how long it was trained."""
    config = run.config
    alpha = getattr(config.regularizer, "alpha", None)
    weight = f" alpha {alpha:g}" if alpha is not None else ""
    latent_dim = getattr(config.model, "latent_dim", None)
    manifold = f" {latent_dim}" if latent_dim is not None else ""
    return (
        f"{config.dataset.name} · {config.model.name}{manifold} · {config.regularizer.name}{weight} · "
        f"scale {config.scale.name} · {run.status.get('step')} of {config.training.steps} steps · seed {config.seed}"
    )


def _vector_figures(folder: Path, measures: dict[str, Any], run: Run) -> dict[str, Figure]:
    records, best = history(run)
    figures = {
        "training": pictures.training_curves(records, best_step=best, label=label(run)),
        "layers": pictures.layers_trace(pd.DataFrame(records.layers.iloc[-1]), label=label(run)),
        "samples": _samples(folder, measures, run),
    }
    components = _components(folder, measures, run)
    return figures | ({"components": components} if components else {})


def _image_figures(folder: Path, measures: dict[str, Any], run: Run) -> dict[str, Figure]:
    records, best = history(run)
    arrays = np.load(folder / "samples.npz")
    table = pd.read_csv(folder / "likelihood.csv").set_index("split")
    bits = f"{table.bits_per_dim['val']:.3f} ± {table.bits_se['val']:.3f} bits/dim"
    # the source states whether this is a stand-in or a part of a set
    text = f"{label(run)} · {measures['source']} · {bits}"
    n, lost, away = (measures[k] for k in ("n_samples", "non_finite_samples", "runaway_samples"))
    drawn = f"temperature {measures['temperature']:g}"
    if (deviation := measures.get("deviation", 1)) != 1:  # older evaluations do not record it
        drawn += f" and deviation {deviation:g}"
    if measures.get("sample_noise") == "identity":
        drawn += ", with unit noise instead of the learned one"
    finite = f"of {n:,} samples at {drawn}, {lost} not finite, {away} outside the pixel range"
    error = f"largest error {measures['reconstruction_max']:.1g} of {measures['levels']} grey levels"
    held_out, returned = {"held-out data": arrays["reference"]}, arrays["reconstructed"]
    manifold = measures.get("latent_dim", measures["padded_dim"]) < measures["padded_dim"]
    back = "onto the manifold and back" if manifold else "to latent and back"
    figures = {
        "training": pictures.bits_curves(records, measures["dim"], best, label=text),
        "layers": pictures.steps_trace(pd.read_csv(folder / "layers.csv"), label=label(run)),
        "samples": pictures.sheets(
            held_out | _sheets("temperature", arrays, measures), label=f"{text} · {finite}"
        ),
        "interpolation": pictures.sheets(
            {"linear interpolation in latent space": arrays["interpolated"]},
            label=text,
        ),
        "reconstruction": pictures.sheets(
            {"held-out data": arrays["reference"][: len(returned)], back: returned},
            label=f"{text} · {error}",
        ),
    }
    if away := _sheets("deviation", arrays, measures):
        at = f"temperature {measures['temperature']:g} · both scale the {measures['scaling']}"
        figures["deviations"] = pictures.sheets(held_out | away, label=f"{text} · {at}")
    return figures


def _sheets(key: str, arrays: Any, measures: dict[str, Any]) -> dict[str, np.ndarray]:
    """The sheets of samples over temperatures or deviations, with the number of faulty samples in their titles.

    Those not finite are drawn black, those out of range black or white.
    """
    found = {}
    for value in measures.get(f"{key}s", []):
        faults = measures["sheets"][f"{key}_{value:g}"]
        wrong = faults["non_finite_samples"] + faults["runaway_samples"]
        title = f"{key} {value:g}" + (f", {wrong} not finite or out of range" if wrong else "")
        found[title] = arrays[f"{key}_{value:g}"]
    return found


def history(run: Run) -> tuple[pd.DataFrame, int | None]:
    """The validation records, and the step of the best one."""
    table = pd.DataFrame(run.history())
    # a run that diverged at once has None alone as its training score
    table = table.astype({"train_log_prob": float, "val_log_prob": float})
    told = (run.status.get("result") or {}).get("best_step")
    best = int(table.step[table.val_log_prob.idxmax()]) if table.val_log_prob.notna().any() else None
    return table, best if told is None else told


def _samples(folder: Path, measures: dict[str, Any], run: Run) -> Figure:
    arrays = np.load(folder / "samples.npz")
    drawn, reference = arrays["samples"], arrays["reference"]
    drawn = drawn[np.isfinite(drawn).all(1)]
    text = (
        f"{label(run)} · {measures['non_finite_samples']} of {measures['n_samples']} samples are not finite"
    )
    if shape := measures["image_shape"]:
        return pictures.samples_grid(drawn.reshape(-1, *shape), reference.reshape(-1, *shape), label=text)
    return vectors.samples_beside(reference, drawn, label=text, columns=measures.get("columns", ()))


def _components(folder: Path, measures: dict[str, Any], run: Run) -> Figure | None:
    """Components against the true factors, or in pairs; None where there is but one and nothing to compare it with."""
    arrays = np.load(folder / "components.npz")
    values, factors = arrays["neighbours"], measures["latent_names"]
    names = vectors.shares(arrays["std"], arrays["x"].shape[1])
    if factors:
        found = arrays["latents"], factors, arrays["correlations"], names
        return vectors.components_by_factor(values, *found, label=label(run))
    return vectors.component_pairs(values, names, label(run)) if values.shape[1] > 1 else None
