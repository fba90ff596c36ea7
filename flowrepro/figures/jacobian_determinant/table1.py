"""jacobian_determinant, Table 1: bits/dim of RealNVP, Glow and QLF at equal steps, with their sizes and times.

What one should see: QLF as good as Glow with fewer parameters, and better than RealNVP. All three have as many couplings
and see equally many images; learning rates are those of each model's own settings here. The numbers of the paper stand in
columns of their own, as quoted there, at its scale, and cannot be compared with ours one by one. RQ-NSF is quoted only.

QLF* should be what Eq. 6 gives, the optimum of all quasi-linear flows. Literally that is minus infinity, because S = x x^T
has eigenvalues 0 (see the figure `optimum`); beside it stand the two readings that keep S for each image: the noise
averaged, and the zeros left out. Both are the same for all images.

Below paper scale Fashion-MNIST takes the place of ImageNet 32x32, faces64 that of CelebA-HQ 1024x1024, and the part of
CIFAR-10 that of the whole. Seconds of a step are those of training, other jobs running beside it or not. Three hours on one
core at cpu scale; the run on faces is that of Figs. 5 and 8.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    Claim,
    Values,
    at_most,
    column,
    difference,
    enough,
    largest,
    matches,
    must_fail,
    ratio,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.jacobian_determinant.trained import BITS, about, bits_of, is_settled, own_images
from flowrepro.pictures.style import BLUE, GREY

MODELS = {"realnvp": "RealNVP", "glow": "Glow", "qlf": "QLF"}
ROWS = ("RealNVP", "Glow", "RQ-NSF", "QLF*", "QLF")
SETS = {"cifar10": "CIFAR-10", "imagenet32": "ImageNet 32x32", "faces": "CelebA-HQ 1024x1024"}
# the table as printed: bits/dim, and millions of parameters
PAPER = {
    "cifar10": {"RealNVP": 3.49, "Glow": 3.35, "RQ-NSF": 3.38, "QLF*": 2.01, "QLF": 3.37},
    "imagenet32": {"RealNVP": 4.28, "Glow": 4.09, "QLF*": 1.75, "QLF": 4.03},
    "faces": {"QLF": 0.64},
}
PAPER_SIZES = {
    "cifar10": {"Glow": 44.0, "RQ-NSF": 11.8, "QLF": 12.6},
    "faces": {"QLF": 23.3},
}
EQ6 = ("eq6", "eq6_noise_averaged", "eq6_pseudo_determinant")
# QLF's parameters over Glow's: fewer, clearly
FEWER = 0.75


def table(measures: Measures) -> pd.DataFrame:
    """One row per run; `quoted_*` are the paper's numbers, of its own flows and images, and `eq6*` its QLF* for ours."""
    return pd.DataFrame([_row(m) for m in measures])


def _row(m: dict[str, Any]) -> dict[str, Any]:
    model, dataset = m["case"].split()
    model, result = MODELS[model], m["result"]
    unit = m["dim"] * math.log(2)
    return {
        **about(m, m["dim"]),
        "model": model,
        "dataset": dataset,
        "source": m["source"],
        "dim": m["dim"],
        "parameters": m["parameters"],
        "bits_per_dim": result.get("val_bits_per_dim", math.nan),
        "bits_se": result.get("val_se", math.nan) / unit,
        "train_bits_per_dim": result.get("train_bits_per_dim", math.nan),
        "bits_at_start": bits_of(m, m["dim"])[0],
        **{name: m[name] for name in EQ6},
        "quoted_bits_per_dim": PAPER[dataset][model],
        "quoted_parameters": 1e6 * PAPER_SIZES.get(dataset, {}).get(model, math.nan),
        "quoted_qlf_star": PAPER[dataset].get("QLF*", math.nan),
    }


def arrays(measures: Measures) -> Arrays:
    """Nothing: the picture is drawn from the table."""
    return {}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """For each set bits/dim of every seed, with numbers at the right: ours, then the paper's."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=[len(_models(name)) + 1.4 for name in SETS])
    for place, dataset in enumerate(SETS):
        _draw_set(figure.add_subplot(grid[place]), table[table.dataset == dataset], dataset)
    return figure


def _models(dataset: str) -> list[str]:
    """The rows of a set, as the paper has them; QLF* is there wherever there is an image."""
    return [name for name in ROWS if name in PAPER[dataset] or name == "QLF*"]


def _draw_set(axis: Axes, rows: pd.DataFrame, dataset: str) -> None:
    names = _models(dataset)
    for place, name in enumerate(names):
        own = rows[rows.model == name].sort_values("seed")
        heights = place + np.linspace(-0.15, 0.15, len(own)) * (len(own) > 1)
        axis.errorbar(
            own.bits_per_dim, heights, xerr=2 * own.bits_se, fmt="o", color=BLUE, ms=4.5, lw=1, capsize=2
        )
    if not rows.stands_in.any():
        printed = [PAPER[dataset].get(name, math.nan) for name in names]
        axis.plot(
            printed,
            range(len(names)),
            "D",
            mfc="none",
            color=GREY,
            ms=6,
            label="the paper’s table, at its scale",
        )
        axis.legend(fontsize=7)
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    axis.set_xlabel("held-out bits/dim, each seed, ± 2 standard errors over images")
    axis.set_title(rows.images.iloc[0], loc="left")
    axis.grid(axis="y", visible=False)
    right = axis.secondary_yaxis("right")
    right.set_yticks(range(len(names)), [_numbers(rows, dataset, name) for name in names])
    right.tick_params(length=0, labelsize=7.5, labelfontfamily="monospace")
    right.spines["right"].set_visible(False)
    head = f"{'bits/dim':>14}{'parameters':>12}{'s/step':>8}{'diverged':>10}{'quoted (M)':>16}"
    axis.text(1.012, 1.03, head, transform=axis.transAxes, family="monospace", fontsize=7.5)


def _numbers(rows: pd.DataFrame, dataset: str, name: str) -> str:
    """A line of the table: ours, and what the paper prints, with millions of parameters in brackets."""
    printed, size = PAPER[dataset].get(name), PAPER_SIZES.get(dataset, {}).get(name)
    quoted = f"{printed or '-':>9}" + (f" ({size:.1f})" if size else "")
    if name == "QLF*":
        averaged, left_out = rows[list(EQ6[1:])].mean()
        return f"{'':>3}Eq. 6: -∞, or {averaged:.2f} or {left_out:.2f} by readings".ljust(45) + quoted
    own = rows[rows.model == name]
    if own.empty:
        return f"{'-':>14}{'-':>12}{'-':>8}{'-':>10} {quoted}"
    error = own.bits_per_dim.sem() if len(own) > 1 else own.bits_se.iloc[0]
    bits = f"{own.bits_per_dim.mean():.3f} ± {error:.3f}"
    lost = f"{(own.state == 'diverged').sum()} of {len(own)}"
    return f"{bits:>14}{own.parameters.iloc[0]:>12,.0f}{own.seconds_a_step.mean():>8.2f}{lost:>10} {quoted}"


def _of(name: str, dataset: str, model: str) -> Values:
    return column(name, dataset=dataset, model=model)


def _ahead(dataset: str, other: str, name: str = "bits_per_dim") -> Values:
    """Bits/dim of QLF minus those of another model."""
    return difference(_of(name, dataset, "QLF"), _of("bits_per_dim", dataset, other))


def _to_refute(dataset: str, other: str) -> tuple:
    gains = largest(*(lambda t, m=m: _of("gain_bits", dataset, m)(t).abs() for m in ("QLF", other)))
    return is_settled(gains, f"QLF and {other}"), own_images(_of("stands_in", dataset, "QLF"))


def _claims(dataset: str, paper_glow: str, paper_realnvp: str) -> list[Claim]:
    name = SETS[dataset]
    return [
        Claim(
            f"as_good_as_glow_{dataset}",
            "Sec. 6.1, Table 1",
            f"{name}: QLF achieves the score of Glow with significantly fewer parameters.",
            "bits/dim of QLF minus those of Glow, after equally many steps",
            _ahead(dataset, "Glow"),
            at_most(BITS),
            paper_glow,
            "bits/dim",
            given=(
                enough(
                    ratio(_of("parameters", dataset, "QLF"), _of("parameters", dataset, "Glow")),
                    at_most(FEWER),
                    "parameters of QLF over those of Glow",
                ),
            ),
            to_refute=_to_refute(dataset, "Glow"),
            controls=(must_fail("QLF before training", _ahead(dataset, "Glow", "bits_at_start")),),
        ),
        Claim(
            f"better_than_realnvp_{dataset}",
            "Table 1",
            f"{name}: QLF is better than RealNVP.",
            "bits/dim of QLF minus those of RealNVP, after equally many steps",
            _ahead(dataset, "RealNVP"),
            at_most(0),
            paper_realnvp,
            "bits/dim",
            to_refute=_to_refute(dataset, "RealNVP"),
            controls=(must_fail("QLF before training", _ahead(dataset, "RealNVP", "bits_at_start")),),
        ),
        Claim(
            f"printed_{dataset}",
            "Table 1",
            f"{name}: QLF reaches {PAPER[dataset]['QLF']} bits/dim.",
            "held-out bits/dim",
            _of("bits_per_dim", dataset, "QLF"),
            within(PAPER[dataset]["QLF"], 0.05),
            str(PAPER[dataset]["QLF"]),
            "bits/dim",
            to_refute=(is_settled(_of("gain_bits", dataset, "QLF"), "QLF"),),
            scales=("paper",),
        ),
    ]


CLAIMS = [
    *_claims("cifar10", "0.02", "-0.12"),
    *_claims("imagenet32", "-0.06", "-0.25"),
    Claim(
        "printed_faces",
        "Table 1",
        "CelebA-HQ 1024x1024: QLF reaches 0.64 bits/dim.",
        "held-out bits/dim",
        _of("bits_per_dim", "faces", "QLF"),
        within(PAPER["faces"]["QLF"], 0.05),
        "0.64",
        "bits/dim",
        to_refute=(is_settled(_of("gain_bits", "faces", "QLF"), "QLF"),),
        scales=("paper",),
    ),
    Claim(
        "none_diverges",
        "Sec. 6.1",
        "QLF trains on every set without divergence.",
        "1 for a run that diverged, the largest over sets",
        largest(*(matches("state", "diverged", dataset=d, model="QLF") for d in ("cifar10", "imagenet32"))),
        at_most(0),
        "0",
    ),
]
