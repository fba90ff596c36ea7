"""linear_systems, Figure 2: un-whitened components of the banana, with the paper's own f.

What one should see: (a) the banana, (b) its image Y = f(X), a normal cloud turned by 120 degrees, (c) each point turned
back by the left singular vectors of its Jacobian, (d) scaled back by the singular values: two components that follow
the two latent factors, the first much wider than the second. Colours are the true first factor in all panels.

Costs a second, without training.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import kstest

from flowrepro.analysis.components import components_of
from flowrepro.analysis.jacobian import jacobian
from flowrepro.data.toy import TOYS
from flowrepro.figures.claims import Claim, at_least, at_most, column, within
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.linear_systems.banana import ROTATION, banana_map
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.pictures.style import DOTS, LATENT_MAP, panels


def measure(seed: int, n: int) -> dict[str, Any]:
    """The four panels' points, and every number that Sec. 4 implies for them."""
    x, latents = TOYS["banana"].sample(n, torch.Generator().manual_seed(seed))
    assert latents is not None
    y, jacobians = banana_map(x), jacobian(banana_map, x)
    found = components_of(banana_map, x)
    singular = torch.linalg.svdvals(jacobians)
    correlations = rank_correlations(found.values.numpy(), latents.numpy())
    spread = found.values.std(0)
    return {
        "x": x.numpy(),
        "latents": latents.numpy(),
        "y": y.numpy(),
        "rotated": (found.values / found.std).numpy(),
        "components": found.values.numpy(),
        "map_error": float((y - latents @ ROTATION.T).abs().max()),
        "ks_p_1": float(kstest(y[:, 0].numpy(), "norm").pvalue),
        "ks_p_2": float(kstest(y[:, 1].numpy(), "norm").pvalue),
        "det_error": float((torch.linalg.det(jacobians) - 1).abs().max()),
        "singular_sum_error": float((singular.square().sum(1) - 17 / 4 - 16 / 25 * x[:, 0] ** 2).abs().max()),
        "correlation_1": abs(correlations[0, 0]),
        "correlation_2": abs(correlations[1, 1]),
        "std_1": float(spread[0]),
        "std_2": float(spread[1]),
        "std_ratio": float(spread[0] / spread[1]),
        "log_prob": float((-y.square().sum(1) / 2).mean() - np.log(2 * np.pi)),
    }


def table(measures: Measures) -> pd.DataFrame:
    """One row a seed, the numbers alone."""
    return pd.DataFrame([{k: v for k, v in m.items() if not isinstance(v, np.ndarray)} for m in measures])


def arrays(measures: Measures) -> Arrays:
    """The points of the four panels, and the true factors."""
    return taken(measures, "x", "y", "rotated", "components", "latents")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Four panels in the paper's order, all coloured by the first latent factor."""
    figure, axes = panels(1, 4, 2.9, 2.7)
    shown = (
        ("x", "(a) data $X$", "$X_1$", "$X_2$"),
        ("y", r"(b) $Y = f(X)$", "$Y_1$", "$Y_2$"),
        ("rotated", r"(c) rotated $U^{\top} y$", "component 1", "component 2"),
        ("components", r"(d) components $S^{-1} U^{\top} y$", "component 1", "component 2"),
    )
    for axis, (name, title, horizontal, vertical) in zip(axes[0], shown, strict=True):
        dots = axis.scatter(
            *arrays[name].T, c=arrays["latents"][:, 0], cmap=LATENT_MAP, vmin=-2.5, vmax=2.5, **DOTS
        )
        axis.set(title=title, xlabel=horizontal, ylabel=vertical)
        axis.set_aspect("equal", "datalim")
    figure.colorbar(dots, ax=axes[0, 3], label=r"true factor $\epsilon_1$")
    return figure


CLAIMS = [
    Claim(
        "maps_to_normal",
        "Sec. 4",
        "f maps X to N(0, I₂): it is the latents turned by 120°, largest deviation",
        column("map_error", at_most(1e-10)),
        "0",
    ),
    Claim(
        "normal_1",
        "Fig. 2b",
        "Y₁ is standard normal: Kolmogorov–Smirnov p",
        column("ks_p_1", at_least(1e-3)),
    ),
    Claim(
        "normal_2",
        "Fig. 2b",
        "Y₂ is standard normal: Kolmogorov–Smirnov p",
        column("ks_p_2", at_least(1e-3)),
    ),
    Claim(
        "jacobian",
        "Sec. 4",
        "the printed Jacobian has determinant 1 everywhere: largest deviation",
        column("det_error", at_most(1e-10)),
        "0",
    ),
    Claim(
        "component_1",
        "Fig. 2d",
        "component 1 corresponds to ε₁: rank correlation",
        column("correlation_1", at_least(0.99)),
        "1",
    ),
    Claim(
        "component_2",
        "Fig. 2d",
        "component 2 corresponds to ε₂: rank correlation",
        column("correlation_2", at_least(0.98)),
        "1",
    ),
    Claim(
        "scaled",
        "Fig. 2d",
        "components are scaled by their variance: ratio of their standard deviations",
        column("std_ratio", at_least(5.0)),
        "> 1",
    ),
    Claim(
        "likelihood",
        "Sec. 4",
        "mean log-likelihood under f is minus the entropy log 2πe",
        column("log_prob", within(-2.837877, 0.15)),
        "-2.838",
        "nats",
    ),
]
