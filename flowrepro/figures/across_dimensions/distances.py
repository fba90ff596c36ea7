"""across_dimensions: the distances of samples from real images, as tables that its figures share."""

import math
from typing import Any

import pandas as pd

from flowrepro.figures.drawn import Measures

MODELS = ("NF", "diagonal", "NIF-64", "NIF-128", "NIF-256", "NIF-512")
NIFS = MODELS[2:]
DATASETS = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "faces": "CelebA (below paper scale faces64)",
}
# the bit depth of Fashion-MNIST is open: its NF and NIF-64 at another one than the 4 bits of the other runs
THREE_BITS = "fashion_mnist_3"
TITLES = DATASETS | {THREE_BITS: "Fashion-MNIST at 3 bits"}
# Table 1 as printed; the paper has no diagonal
PAPER_FID = {
    "fashion_mnist": {"NF": 42.77, "NIF-64": 23.97, "NIF-128": 23.23, "NIF-256": 24.84, "NIF-512": 25.34},
    "cifar10": {"NF": 78.58, "NIF-64": 80.15, "NIF-128": 79.38, "NIF-256": 78.44, "NIF-512": 77.47},
    "faces": {"NF": 63.07, "NIF-64": 30.96, "NIF-128": 34.46, "NIF-256": 33.95, "NIF-512": 35.96},
}
PAPER_FID[THREE_BITS] = PAPER_FID["fashion_mnist"]
# a temperature at which samples lose their variety
COLD = 0.3
SHARED = ("dim", "source", "real_total_variation")
COLUMNS = (
    "of network kind split temperature deviation tuned value low high floor total_variation "
    "n_real n_fake left_out label"
).split()
RUN = "model latent_dim dataset seed state step last_fifth_gain gain_bits".split()
KEYS = ["dataset", "model", "seed", "network", "kind"]


def rows(measures: Measures) -> pd.DataFrame:
    """One row per distance of every run: what it is of, on which network, of which kind, against which split.

    `gain_bits` is what the last fifth of the steps gained on held-out images, in bits/dim; `tuned` marks the t or s that
    is best on the training split, for each network and kind.
    """
    return pd.concat([_rows(m) for m in measures], ignore_index=True)


def _rows(m: dict) -> pd.DataFrame:
    frame = pd.DataFrame({name: m[f"distances_{name}"] for name in COLUMNS})
    told = about(m, m["distances_dim"]) | {name: m[f"distances_{name}"] for name in SHARED}
    return frame.assign(**told)[[*told, *COLUMNS]]


def about(m: dict[str, Any], dim: float, **more: Any) -> dict[str, Any]:
    """What a run is, for every row of a table; `gain_bits`: what the last fifth of the steps gained, in bits/dim.

    Args:
        dim: the number of pixel values of an image.
        more: what else is known of its images.
    """
    model, dataset = m["case"].split()
    return {
        "case": m["case"],
        "model": named(model),
        "latent_dim": m["config"].get("model.latent_dim", math.nan),
        "dataset": dataset,
        **more,
        **{name: m[name] for name in ("seed", "state", "step", "last_fifth_gain")},
        "gain_bits": m["last_fifth_gain"] / (dim * math.log(2)),
    }


def named(model: str) -> str:
    """What a run's model is called.

    >>> named("nf"), named("diagonal"), named("nif-64"), named("nif_deep")
    ('NF', 'diagonal', 'NIF-64', 'deep NIF')
    """
    return {"diagonal": model, "nif_deep": "deep NIF"}.get(model, model.upper())


def tuned(frame: pd.DataFrame) -> pd.DataFrame:
    """The held-out distances at the t or s that is best on the training split, for each run, network and kind."""
    return frame[frame.tuned & (frame.split == "test")]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per run, network and kind of distance, all against held-out images.

    `tuned` is the distance at the t or s chosen on the training split, `untuned` that of the flow itself (t = s = 1),
    `manifold` that at s = 0, `cold` that at t = 0.3, each with its total variation and, where there is one, its interval;
    `noise_share` is how far noise of a tenth of the range takes real images, relative to how far `untuned` is from them;
    `trend` is the rank correlation of distance and s, from s = 0 to 1.
    """
    return pd.DataFrame([_summary(group) for _, group in frame.groupby(KEYS, sort=False)])


def _summary(frame: pd.DataFrame) -> dict:
    test = frame[frame.split == "test"]
    samples = test[test.of == "samples"]
    chosen, first = tuned(samples), test.iloc[0]
    parts = {
        "tuned": chosen,
        "untuned": _at(samples, 1, 1),
        "manifold": _at(samples, 1, 0),
        "cold": _at(samples, COLD, 1),
        "real": test[test.of == "real"],
        "noisy_real": test[test.of == "noisy real"],
    }
    value = {name: _only(part, "value") for name, part in parts.items()}
    more = {
        f"{name}_{c}": _only(parts[name], c)
        for name in ("tuned", "untuned", "manifold")
        for c in ("low", "high", "total_variation")
    }
    return {
        **{c: first[c] for c in (*RUN, "network", "kind", "label")},
        "temperature": _only(chosen, "temperature"),
        "deviation": _only(chosen, "deviation"),
        **value,
        "floor": first.floor,
        **more,
        "real_total_variation": first.real_total_variation,
        "noise_share": (value["noisy_real"] - value["real"]) / (value["untuned"] - value["real"]),
        "trend": _trend(samples[samples.deviation <= 1]),
        "left_out": samples.left_out.max(),
        "n_real": first.n_real,
        "source": first.source,
    }


def _at(samples: pd.DataFrame, temperature: float, deviation: float) -> pd.DataFrame:
    return samples[(samples.temperature == temperature) & (samples.deviation == deviation)]


def _trend(samples: pd.DataFrame) -> float:
    """Spearman's; nan for samples of a single s."""
    if samples.deviation.nunique() < 2:
        return math.nan
    return float(samples.deviation.rank().corr(samples.value.rank()))


def _only(rows: pd.DataFrame, name: str) -> float:
    return float(rows[name].iloc[0]) if len(rows) else math.nan
