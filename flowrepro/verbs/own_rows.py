"""What `evaluate` says of the user's own data row by row: the log_prob and the components of each, in tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from flowrepro.config.identity import image_files
from flowrepro.config.schema import ArrayConfig, Config, ImagesConfig
from flowrepro.data import Data, ImageData
from flowrepro.data.array import split
from flowrepro.metrics.likelihood import bits_per_dim
from flowrepro.writing import write_text

# columns named of each component, components told, and the ratio of stds beyond which units decide what comes first
NAMED, TOLD, UNITS = 3, 6, 30


def write_log_probs(scores: dict[str, Tensor], data: Data | ImageData, config: Config, folder: Path) -> None:
    """Write log_prob.csv: a row of the file, counted from 0, or an image's file, with split, log_prob and bits/dim.

    Nothing is written of data that are not the user's own.

    Args:
        scores: log p in nats of the samples of each split, (draws, N), of which the first draw is told.
        data: what they are of.
        config: the run's, with the path at which the data are now.
        folder: where the table goes.
    """
    origin, heading = _origin(config.dataset, data), _heading(config.dataset)
    tables = []
    for name, draws in scores.items() if origin else ():
        values = draws[0].numpy()
        bits = [bits_per_dim(value, data.dim) for value in values.tolist()]
        found = {"split": name, "log_prob": values, "bits_per_dim": bits}
        tables.append(pd.DataFrame({heading: origin[name][: len(values)], **found}))
    if tables:
        write_text(folder / "log_prob.csv", pd.concat(tables).sort_values(heading).to_csv(index=False))


def write_components(extracted: dict[str, Any], data: Data, config: Config, folder: Path) -> None:
    """Write components.csv of the user's own points: the row in the file and its components, largest local std first."""
    if origin := _origin(config.dataset, data):
        values = extracted["neighbours"]
        table = pd.DataFrame(values, columns=[f"component_{i + 1}" for i in range(values.shape[1])])
        heading = _heading(config.dataset)
        table.insert(0, heading, origin["train"][: len(values)])
        write_text(folder / "components.csv", table.sort_values(heading).to_csv(index=False))


def components_told(data: Data, extracted: dict[str, Any]) -> list[str]:
    """Which columns each component runs along (mean squares of its unit directions), and whether units decide that."""
    if not data.columns:
        return []
    along = np.square(extracted["directions"]).mean(0)
    lines = []
    for i in range(min(TOLD, along.shape[1])):
        first = np.argsort(-along[:, i])[:NAMED]
        named = ", ".join(f"{data.columns[j]} {along[j, i]:.0%}" for j in first if along[j, i] >= 0.005)
        lines.append(f"            component {i + 1} runs along {named}")
    std = data.train.std(0)
    if std.max() > UNITS * std[std > 0].min():
        lines.append(
            "note        components are in the units of the columns, so that large numbers come first: "
            "to weigh columns alike, divide each by its standard deviation in the file"
        )
    return lines


def _origin(dataset: Any, data: Data | ImageData) -> dict[str, np.ndarray]:
    """Of each split, the rows of the user's file or the names of the image files; empty for other data."""
    if isinstance(dataset, ArrayConfig):
        names = np.arange(len(data.train) + len(data.val))
    elif isinstance(dataset, ImagesConfig):
        place = Path(dataset.path).expanduser()
        names = np.array([str(path.relative_to(place)) for path in image_files(place)])
    else:
        return {}
    train, val = split(names, dataset.val_fraction, dataset.seed)
    return {"train": train, "val": val}


def _heading(dataset: Any) -> str:
    return "file" if isinstance(dataset, ImagesConfig) else "row"
