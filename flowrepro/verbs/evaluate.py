"""`flowrepro evaluate`: likelihood tables, samples and components of a run; measures, tables and claims of a figure."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from flowrepro.analysis.bounds import ALPHA, linear_baseline
from flowrepro.analysis.components import Components, neighbour_signs
from flowrepro.config.quoting import place_of
from flowrepro.config.schema import Config, EvaluationConfig
from flowrepro.data import Data, ImageData
from flowrepro.device import choose_device
from flowrepro.errors import FlowreproError
from flowrepro.flows.bases import std_factor
from flowrepro.flows.core import Flow
from flowrepro.measures import inverse_health
from flowrepro.measures.image_flow import log_probs_of_draws, measure_images
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.metrics.likelihood import bits_per_dim, summary
from flowrepro.randomness import generator
from flowrepro.runs import checkpoints
from flowrepro.runs.data import data_of, dataset_of
from flowrepro.runs.folder import Run, find, runs_folder
from flowrepro.runs.manifest import versions
from flowrepro.runs.trained import opened
from flowrepro.training.fitted import OVERFLOWS
from flowrepro.verbs import distances, dry_run, own_rows
from flowrepro.writing import remove_leftovers, save_arrays, staged, write_json, write_text


def run(config: Config, overrides: list[str]) -> None:
    """Carry out an `evaluate` command line."""
    if config.figure == "all" and config.claims == "measure":
        from flowrepro.report.readme import matrix

        print(matrix(Path(config.output_dir)))
    elif config.figure and config.dry_run:
        dry_run.evaluate_figure(config)
    elif config.figure and config.claims != "measure":
        from flowrepro.figures import verify

        verify.run(config.figure, config.claims, Path(config.output_dir))
    elif config.figure:
        from flowrepro.figures.build import evaluate_figure

        evaluate_figure(config)
    else:
        run = find(config.run, runs_folder(config.output_dir))
        wanted = what_to_measure(run, config, overrides)
        if config.dry_run:
            digest = checkpoints.verify(run.checkpoint(wanted.checkpoint))
            dry_run.evaluate(run, given_path(config), wanted, measures_folder(run, digest))
        else:
            evaluate_run(run, config, wanted)


def evaluate_run(run: Run, config: Config, wanted: EvaluationConfig) -> Path:
    """Measure one run as `wanted` says, into a folder named by the checkpoint's digest.

    Writes likelihood.csv (nats and bits/dim with standard errors), samples.npz (and samples.csv, where the columns have
    names), measures.json, and components.npz for vectors or layers.csv for images; of the user's own data log_prob.csv
    and components.csv, row by row. For image flows it also reports how exact the inverse is.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        DataError: the data differ from those the run was trained on.
    """
    device = choose_device(config.device, config.threads)
    which = wanted.checkpoint
    remove_leftovers(run.path)
    trained = opened(run, which)
    data = data_of(run, given_path(config))
    flow = trained.flow.to(device)
    folder = measures_folder(run, trained.digest)
    began = time.monotonic()
    dataset = dataset_of(run, given_path(config))
    settings = dataclasses.replace(run.config, evaluation=wanted, seed=config.seed, dataset=dataset)
    named = distances.options(settings) if wanted.distances not in ("auto", "none") else None
    with staged(folder) as staging:
        scores = scores_of(flow, data, settings, device)
        if isinstance(data, ImageData):
            found, told = measure_images(flow, data, scores, settings, device, staging)
            health = inverse_health.measure(
                flow, data, size=settings.training.eval_batch_size, seed=config.seed
            )
            found["inverse"], told = health, [*told, *inverse_health.told(health, data.levels)]
            if named:
                frame = distances.of_run(run, which, named, device, trained)
                found["distances"], told = frame.to_dict("records"), [*told, *distances.told(frame)]
        else:
            found, told = measure_vectors(flow, data, scores, settings, device, staging)
        own_rows.write_log_probs(scores, data, settings, staging)
    measures = {
        "run": run.name,
        "checkpoint": which,
        "scale": run.config.scale.name,
        "step": trained.step,
        **found,
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions(),
    }
    write_json(folder / "measures.json", measures)
    print(f"run         {run.path} ({which} checkpoint, scale {measures['scale']})")
    print("\n".join(told))
    if found["non_finite_samples"]:
        print(f"note        {OVERFLOWS} (evaluation.temperature=, training.steps=, regularizer.alpha=)")
    place = place_of(config.output_dir)
    other = "" if which == run.config.evaluation.checkpoint else f" evaluation.checkpoint={which}"
    name = run.name if config.run == "latest" else config.run
    print(f"files       {', '.join(sorted(path.name for path in folder.iterdir()))}")
    print(f"measures    {folder}\nnext        flowrepro plot run={name}{other}{place}")
    return folder


def given_path(config: Config) -> str:
    """Where the command says that the run's data are now; empty if it does not."""
    return str(getattr(config.dataset, "path", ""))


def what_to_measure(run: Run, config: Config, overrides: list[str]) -> EvaluationConfig:
    """The run's own `evaluation` keys, overridden by those given on the command line."""
    keys = (word.lstrip("+").partition("=")[0] for word in overrides)
    given = [key.removeprefix("evaluation.") for key in keys if key.startswith("evaluation.")]
    return dataclasses.replace(run.config.evaluation, **{k: getattr(config.evaluation, k) for k in given})


def scores_of(flow: Flow, data: Data | ImageData, config: Config, device: str) -> dict[str, Tensor]:
    """log p in nats of the samples of each reported split, (draws, N): held-out images have several draws of their noise."""
    draws = {"val": config.evaluation.draws} if isinstance(data, ImageData) else {}
    size = config.training.eval_batch_size
    return {
        split: log_probs_of_draws(flow, x, draws.get(split, 1), size, device, config.seed)
        for split, x in data.reported.items()
    }


def measure_vectors(
    flow: Flow, data: Data, scores: dict[str, Tensor], config: Config, device: str, folder: Path
) -> tuple[dict[str, Any], list[str]]:
    """Write likelihood.csv, samples.npz and components.npz; return numbers for measures.json and lines to print."""
    table = likelihood_table(scores, data, config)
    write_text(folder / "likelihood.csv", table.to_csv(index=False))
    drawn = sample(flow, config, device)
    save_arrays(folder / "samples.npz", samples=drawn, reference=data.val[: len(drawn)].numpy())
    if data.columns:
        write_text(folder / "samples.csv", pd.DataFrame(drawn, columns=data.columns).to_csv(index=False))
    extracted = components(flow, data, config, device)
    save_arrays(folder / "components.npz", **extracted)
    own_rows.write_components(extracted, data, config, folder)
    measures = {
        "non_finite_samples": int((~np.isfinite(drawn).all(1)).sum()),
        "n_samples": len(drawn),
        "temperature": config.evaluation.temperature,
        "deviation": config.evaluation.deviation,
        "image_shape": data.image_shape,
        "latent_names": data.latent_names,
        "columns": data.columns,
    }
    told = [*_told(table, measures, extracted), *own_rows.components_told(data, extracted)]
    return measures, told + _below_linear(table, config)


def measures_folder(run: Run, digest: str) -> Path:
    """Where the measures of a run's checkpoint of this digest are kept."""
    return run.path / "measures" / digest[:12]


def likelihood_table(scores: dict[str, Tensor], data: Data, config: Config) -> pd.DataFrame:
    """One row for the flow and one for the closed-form linear baseline, on the training and the held-out set."""
    alpha = getattr(config.regularizer, "alpha", 0.0) or ALPHA
    rows = [_row(config.model.name, split, values[0], data) for split, values in scores.items()]
    rows += _baseline(data, alpha)
    if data.entropy is not None:
        rows.append({"model": "the data's own density", "split": "exact", "log_prob": -data.entropy})
    return pd.DataFrame(rows)


def _baseline(data: Data, alpha: float) -> list[dict[str, Any]]:
    """The rows of the closed-form linear flow; none, and a line that says why, where it cannot be computed."""
    try:
        found = {split: linear_baseline(data.train, x, alpha) for split, x in data.reported.items()}
    # torch's LinAlgError is a RuntimeError, as is a lack of memory
    except (FlowreproError, RuntimeError) as error:
        print(f"baseline    none: {str(error).splitlines()[0]}")
        return []
    return [
        _row(f"linear, closed form, alpha {alpha:g}", split, values, data) for split, values in found.items()
    ]


def _row(model: str, split: str, values: Tensor, data: Data) -> dict[str, Any]:
    found = summary(values)
    row = {"model": model, "split": split, **found, "bits_per_dim": bits_per_dim(found["log_prob"], data.dim)}
    if data.levels:
        row[f"bits_per_dim_{data.levels}_levels"] = bits_per_dim(found["log_prob"], data.dim, data.levels)
    row["bits_se"] = abs(bits_per_dim(found["se"], data.dim))
    return row


@torch.no_grad()
def sample(flow: Flow, config: Config, device: str) -> np.ndarray:
    """Samples of the flow, (n, D), in the units of the data; non-finite ones are kept for the caller to count."""
    settings = config.evaluation
    source = generator(config.seed, "samples", device=device)
    temperature, deviation = (
        std_factor(v, settings.scaling) for v in (settings.temperature, settings.deviation)
    )
    drawn = flow.sample(settings.n_samples, temperature, deviation, source)
    return drawn.cpu().numpy()


def components(flow: Flow, data: Data, config: Config, device: str, top: int = 2) -> dict[str, Any]:
    """The leading un-whitened components of the first training points, under both sign rules, and their latents."""
    n = min(config.evaluation.n_components, len(data.train))
    x = data.train[:n].to(device)
    found = flow.components(x, k=top if data.dim > 16 else None)
    found = Components(found.values.cpu(), found.std.cpu(), found.directions.cpu(), found.signs)
    by_neighbours = neighbour_signs(found, x.cpu())
    arrays: dict[str, Any] = {
        "x": x.cpu().numpy(),
        "loading": found.values.numpy(),
        "neighbours": by_neighbours.values.numpy(),
        "std": found.std.numpy(),
    }
    if data.columns:
        arrays["directions"] = by_neighbours.directions.numpy()
    if data.train_latents is not None:
        latents = data.train_latents[:n].numpy()
        arrays |= {"latents": latents, "correlations": rank_correlations(arrays["neighbours"], latents)}
    return arrays


def _told(table: pd.DataFrame, measures: dict[str, Any], extracted: dict[str, Any]) -> list[str]:
    medians = ", ".join(f"{v:.4g}" for v in np.median(extracted["std"], axis=0))
    lines = [
        table.to_string(index=False, float_format=lambda v: f"{v:.4f}", na_rep=""),
        f"samples     {measures['non_finite_samples']} of {measures['n_samples']:,} samples are not finite",
        f"components  median local std: {medians}",
    ]
    for name, column in zip(
        measures["latent_names"], np.transpose(extracted.get("correlations", [])), strict=False
    ):
        text = ", ".join(f"{v:+.3f}" for v in column)
        lines.append(f"            rank correlation with {name}: {text}")
    return lines


def _below_linear(table: pd.DataFrame, config: Config) -> list[str]:
    """A line where the closed-form linear flow is clearly better on held-out rows; none otherwise."""
    held_out = table[table.split == "val"]
    flow, *linear = held_out.to_dict("records")
    if not linear or not linear[0]["log_prob"] - flow["log_prob"] > flow["se"]:
        return []
    standardize = " or model.standardize=true" if getattr(config.model, "standardize", True) is False else ""
    return [
        f"note        the linear flow is better by {linear[0]['log_prob'] - flow['log_prob']:.3g} nats on held-out rows: "
        f"try more training.steps={standardize}"
    ]
