"""The architectures of across_dimensions, Figures 4 and 11: read off the models as they are built, and drawn."""

import math
import re
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from flowrepro.config.compose import compose
from flowrepro.config.schema import Config, NFConfig
from flowrepro.data.celeba import SIDE
from flowrepro.figures.catalogue import paper_runs
from flowrepro.figures.claims import Values
from flowrepro.flows.core import Chain, Flow
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Permutation
from flowrepro.flows.models import build
from flowrepro.flows.norm import ActNorm
from flowrepro.flows.reshape import MultiScale
from flowrepro.pictures.style import BLUE, GREEN, GREY, ORANGE, PALE

# CelebA, and the faces in its place
SHAPE = (3, SIDE, SIDE)
GREY_LEVELS = 8
DEPTH, WIDTH, GAP = 1.25, 1.62, 0.5


def measured(run: str, scales: list[str]) -> dict[str, Any]:
    """The stages of the untrained model of one of the paper's runs at each scale, image first."""
    return {
        "rows": [stage | {"architecture": scale} for scale in scales for stage in stages(config(run, scale))]
    }


def config(run: str, scale: str) -> Config:
    """The config of one of the paper's runs at a scale."""
    return compose([*paper_runs("across_dimensions")[run].words(scale), f"scale={scale}"])


def stages(config: Config) -> list[dict[str, Any]]:
    """What a model makes of an image, stage by stage: the shape at each, what leaves, and what works there.

    `size` is the number of values that enter a stage, `leaves` of those that leave the flow there.
    """
    flow = built(config.model)
    image = torch.full((1, *SHAPE), GREY_LEVELS / 2)
    with torch.no_grad():
        traced = [(name, tuple(z.shape[1:])) for name, z, _ in flow.chain.trace(image)]
        latent = flow.latents(image)
    return [
        {"stage": "image", "shape": _shape(SHAPE), "size": image.numel()},
        *_levels(traced, flow),
        {
            "stage": "latent",
            "shape": str(latent.shape[1]),
            "size": latent.shape[1],
            **_shared(flow, config.model),
        },
        *_behind(flow),
    ]


def built(model: Any) -> Flow:
    """The untrained model on 3-bit images of faces."""
    return build(model, SHAPE, GREY_LEVELS, torch.Generator().manual_seed(0), torch.float32)


def _levels(traced: list[tuple[str, tuple[int, ...]]], flow: Flow) -> list[dict[str, Any]]:
    """One stage per level, from the (name, shape) of the trace."""
    inside: dict[int, list[tuple[str, tuple[int, ...]]]] = {}
    for name, shape in traced:
        if found := re.search(r"level(\d+)\.(.+)", name):
            inside.setdefault(int(found[1]), []).append((found[2], shape))
    *_, multi_scale = flow.chain
    assert isinstance(multi_scale, MultiScale)
    rows = []
    for number, parts in inside.items():
        (_, entering), (_, leaving) = parts[0], parts[-1]
        rows.append(
            {"stage": f"level {number}", "shape": _shape(entering), "size": _size(entering)}
            | {"leaves_shape": _shape(leaving), "leaves": _size(leaving)}
            | _works(multi_scale.levels[number - 1])
        )
    return rows


def _works(chain: Chain) -> dict[str, float]:
    """What a chain is made of, counted; and the hidden layers of a coupling's network with their width."""
    modules = list(chain.modules())
    couplings = [m for m in modules if isinstance(m, AffineCoupling)]
    nets = {tuple(hidden_widths(m.net)) for m in couplings}
    # all networks of a chain are of one size, and so are all hidden layers: else these numbers are nan
    (widths,) = nets if len(nets) == 1 else ((),)
    return {
        "couplings": len(couplings),
        "act_norms": sum(isinstance(m, ActNorm) for m in modules),
        "permutations": sum(isinstance(m, Permutation) for m in modules),
        "hidden_layers": len(widths) or math.nan,
        "hidden": widths[0] if len(set(widths)) == 1 else math.nan,
    }


def hidden_widths(net: nn.Module) -> list[int]:
    """The widths of the hidden layers of a network, from its weights."""
    weights = (getattr(m, "weight", None) for m in net.modules())
    return [len(w) for w in weights if isinstance(w, nn.Parameter)][:-1]


def _shared(flow: Flow, model: Any) -> dict[str, int]:
    """Numbers of parameters: of the layers, of those of the NF of the same size, and of what is behind them."""
    sizes = {key: getattr(model, key) for key in ("levels", "steps", "hidden", "conv", "margin")}
    return {
        "parameters": parameters(flow.chain),
        "nf_parameters": parameters(built(NFConfig("nf", **sizes))),
        "base_parameters": parameters(flow.base),
    }


def parameters(module: nn.Module) -> int:
    """The number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def _behind(flow: Flow) -> list[dict[str, Any]]:
    """The stages behind the latent: the manifold, and where it has a flow of its own, what that makes of it."""
    base: Any = flow.base
    dim = base.injection.latent_dim
    manifold = {"stage": "manifold", "shape": str(dim), "size": dim}
    prior = getattr(base, "prior", None)
    if not isinstance(prior, Flow):
        return [manifold]
    with torch.no_grad():
        inner = prior.latents(torch.zeros(1, dim)).shape[1]
    return [manifold | _works(prior.chain), {"stage": "inner latent", "shape": str(inner), "size": inner}]


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def of(name: str, stage: str, architecture: str | None = None) -> Values:
    """A column at the stages whose name begins with a word, of one architecture or of all."""

    def values(table: pd.DataFrame) -> pd.Series:
        rows = table[table.stage.str.startswith(stage)]
        rows = rows[rows.architecture == architecture] if architecture else rows
        return rows.set_index("seed")[name].astype(float)

    return values


def drawn(table: pd.DataFrame, titles: dict[str, str]) -> Figure:
    """One row per architecture: image and levels from left to right, below them the latent, behind it the manifold."""
    found = list(dict.fromkeys(table.architecture))
    widest = max(int((table.architecture == name).groupby(table.architecture).sum().max()) for name in found)
    figure = Figure(figsize=(1.4 * max(widest, 7), 2.7 * len(found)), layout="constrained")
    axes, ends = figure.subplots(len(found), 1, squeeze=False)[:, 0], []
    for axis, name in zip(axes, found, strict=True):
        ends.append(_draw_one(axis, table[table.architecture == name]))
        axis.set_title(f"{titles.get(name, f'{name} scale')}: from the data to the latent", loc="left")
    for axis in axes:
        axis.set(xlim=(-0.1, max(ends) + 0.1), ylim=(-2.2, 1.35))
        axis.set_axis_off()
    return figure


def _draw_one(axis: Axes, rows: pd.DataFrame) -> float:
    """One architecture; the place of its right end."""
    image, latent, manifold = (rows[rows.stage == name].iloc[0] for name in ("image", "latent", "manifold"))
    levels = rows[rows.stage.str.startswith("level")]
    end = _draw_levels(axis, image, levels)
    left, right = WIDTH + GAP, end
    text = f"latent of the NF: all that leaves, {latent['size']:,.0f} dimensions"
    _box(axis, left, -1.75, right - left, 0.55, text, PALE)
    x = _step(axis, right, -1.475)
    noise = f"Gaussian NIF\nx = A z + b + noise\nA: {latent['size']:,.0f} × {manifold['size']:,.0f}\nΣ diagonal, learned"
    x = _step(
        axis, _box(axis, x, -2.05, WIDTH + 0.35, 1.15, noise, ORANGE), -1.475, f"{manifold['size']:,.0f}"
    )
    if manifold.couplings > 0:
        inner = (
            f"{manifold.couplings:.0f} affine couplings\nMLP: {manifold.hidden_layers:.0f} × {manifold.hidden:,.0f}\n"
            f"ActNorm and reversal\nbetween ({manifold.act_norms:.0f} of each)"
        )
        x = _step(
            axis, _box(axis, x, -2.05, WIDTH + 0.35, 1.15, inner, GREEN), -1.475, f"{manifold['size']:,.0f}"
        )
    return _box(axis, x, -1.75, 1.0, 0.55, "N(0, I)", GREY)


def _draw_levels(axis: Axes, image: pd.Series, levels: pd.DataFrame) -> float:
    """The image and the levels; the place of their right end."""
    x = _box(axis, 0, 0, WIDTH, DEPTH, f"image\n{image['shape']}\n→ logit", GREY)
    for i, level in enumerate(levels.itertuples()):
        x = _step(axis, x, DEPTH / 2)
        work = f"{level.couplings:.0f} × [ActNorm,\n1×1 conv, coupling]\n{level.hidden:,.0f} channels"
        right = _box(axis, x, 0, WIDTH + 0.35, DEPTH, f"{level.stage}: squeeze\n{level.shape}\n{work}", BLUE)
        middle = (x + right) / 2
        _arrow(axis, (middle, 0), (middle, -1.2))
        half = "all" if i == len(levels) - 1 else "half"
        axis.annotate(
            f"{half}: {level.leaves_shape}\n= {level.leaves:,.0f}",
            (middle + 0.06, -0.6),
            fontsize=7,
            va="center",
        )
        x = right
    return x


def _box(axis: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> float:
    """A box with its text; the place of its right end."""
    style = "round,pad=0,rounding_size=0.08"
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, fc=colour, ec="none", alpha=0.25))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7, linespacing=1.25)
    return x + width


def _step(axis: Axes, x: float, y: float, text: str = "") -> float:
    """An arrow to the right with a dimension above it; the place of its end."""
    _arrow(axis, (x, y), (x + GAP, y))
    axis.text(x + GAP / 2, y + 0.08, text, ha="center", fontsize=7)
    return x + GAP


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#444444", "lw": 1})
