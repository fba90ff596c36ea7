"""`flowrepro.fit`: a flow trained on an array or a DataFrame from Python, by the same loop as every run."""

import hashlib
import io
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from flowrepro.config.compose import compose
from flowrepro.config.quoting import quoted, understood
from flowrepro.config.schema import Config
from flowrepro.data.array import checked
from flowrepro.data.own_images import grey_levels
from flowrepro.data.remarks import columns_without_meaning, scale_remark
from flowrepro.data.table import Table, of_frame
from flowrepro.errors import Diverged, Stopped
from flowrepro.runs.folder import run_of
from flowrepro.runs.trained import load_flow
from flowrepro.training.fitted import Fitted
from flowrepro.training.layout import Layout
from flowrepro.training.loop import train
from flowrepro.training.validation import not_finite


def fit(
    x: Any,
    model: str = "realnvp",
    steps: int | None = 2_000,
    seed: int = 0,
    output_dir: str | None = None,
    progress: bool = True,
    options: Mapping[str, Any] | None = None,
) -> Fitted:
    """A flow trained on x, with the weights of the best held-out log-likelihood.

    Args:
        x: points (N, D): an array, a tensor or a DataFrame; for a model on images, whole grey levels (N, H, W, C), whose
            layout samples have too.
        model: any `model=` of the command line.
        steps: optimizer steps (None: as many as `train` takes).
        seed: of initialisation, sample order and probes.
        output_dir: keep the run, and x beside it, where `flowrepro evaluate` finds them; by default nothing is kept.
        progress: show a bar.
        options: other keys of `flowrepro train`, e.g. `{"model.layers": 4, "regularizer": "tikhonov"}`.

    Raises:
        UsageError: a key or value of the options, or the model, is unknown.
        DataError: x is not finite or has another shape, which is named.
        Diverged: a loss or gradient is not finite.
    """
    options = dict(options or {})
    index = options.pop("dataset.index", None)
    with _folder(output_dir) as folder:
        words = [f"model={model}", f"seed={seed}", "dataset=array", f"output_dir={quoted(str(folder))}"]
        words += [] if steps is None else [f"training.steps={steps}", "training.steps_per_layer=0"]
        words += understood([f"{key}={_word(value)}" for key, value in options.items()], multirun=False)
        images = compose(words).model.takes_images
        points = _points(x, images, index)
        file = _written(points, folder / "data")
        columned = ["dataset.header=true", "dataset.index=false"] if points.columns else []
        config = compose([*words, f"dataset.path={quoted(str(file))}", *columned])
        for remark in _remarks(points, config):
            warnings.warn(remark, stacklevel=2)
        result = _trained(config, progress, kept=output_dir is not None)
        run = run_of(config)
        flow, history = load_flow(run, "best"), pd.DataFrame(run.history())
        # a file's names are without the spaces around them
        flow.columns = points.columns
        layout = Layout(np.shape(x)[1:], tuple(flow.shape)) if images else None
        return Fitted(flow, config, result, history, isinstance(x, Tensor), layout)


@contextmanager
def _folder(output_dir: str | None) -> Iterator[Path]:
    """The folder of runs: one that is removed at the end of the block, unless one is given."""
    given = None if output_dir is None else nullcontext(output_dir)
    with given or tempfile.TemporaryDirectory(prefix="flowrepro-") as folder:
        yield Path(folder)


def _word(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _points(x: Any, images: bool, index: bool | None) -> Table:
    """What the caller gave as float64 (N, D), or as images (N, H, W, C) of bytes, with names of columns if it has any."""
    if isinstance(x, pd.DataFrame):
        found = of_frame(x, "x", index)
    elif isinstance(x, Tensor):
        found = Table((x.double() if x.is_floating_point() else x).detach().cpu().numpy())
    else:
        found = Table(np.asarray(x))
    return found._replace(values=grey_levels(found.values, "x") if images else checked(found, "x"))


def _written(points: Table, folder: Path) -> Path:
    """The points in a file named by their content: a table, whose decimals are read back exactly, if columns have names."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"x-{hashlib.sha256(points.values.tobytes()).hexdigest()[:8]}"
    if not points.columns:
        np.save(folder / f"{name}.npy", points.values)
        return folder / f"{name}.npy"
    pd.DataFrame(points.values, columns=points.columns).to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


def _remarks(points: Table, config: Config) -> list[str]:
    """What a caller should know about their columns."""
    if config.model.takes_images:
        return []
    standardized = getattr(config.model, "standardize", False)
    scale = "" if standardized else scale_remark(torch.from_numpy(points.values))
    found = [*points.notes, *columns_without_meaning(points.values, points.columns), scale]
    return [remark for remark in found if remark]


def _trained(config: Config, progress: bool, kept: bool) -> dict[str, Any]:
    """The result of training, which prints nothing but its bar; what it raises names no folder that is not kept."""
    try:
        with redirect_stdout(io.StringIO()):
            result = train(config, bar=progress)
    except Stopped as stop:
        if kept:
            raise
        raise KeyboardInterrupt("training was stopped; nothing is kept") from stop
    except Diverged as error:
        if kept:
            raise
        told = str(error).replace(f"{run_of(config).path}: ", "")
        raise Diverged(told.replace("the last good checkpoint is kept; ", "")) from error
    if count := result.get("val_non_finite"):
        warnings.warn(not_finite(result["val_n"], count, result["val_lost"]), stacklevel=3)
    return result
