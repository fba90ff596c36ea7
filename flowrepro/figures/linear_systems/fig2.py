"""linear_systems, Figure 2: un-whitened components of the banana, with the paper's own f.

What one should see: (a) the banana, (b) its image Y = f(X), a normal cloud turned by 120 degrees, (c) each point turned
back by the left singular vectors of its Jacobian, (d) scaled back by the singular values: two components that follow
the two latent factors, the first much wider than the second. Colours show the true first factor in all panels.

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
from flowrepro.analysis.oas import haar
from flowrepro.data.toy import TOYS
from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    Values,
    at_least,
    at_most,
    column,
    largest,
    must_fail,
    within,
)
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
    turn = haar(1, 2, torch.Generator().manual_seed(seed))[0]

    def turned_map(x: torch.Tensor) -> torch.Tensor:
        return banana_map(x) @ turn.mT

    of_turned = components_of(turned_map, x)
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
        "turned_change": float((of_turned.values.abs() - found.values.abs()).abs().max()),
        "latent_change": float((turned_map(x) - y).abs().max()),
        "log_prob": float((-y.square().sum(1) / 2).mean() - np.log(2 * np.pi)),
    }


def table(measures: Measures) -> pd.DataFrame:
    """One row per seed: the numbers, and the same for the whitened coordinates as controls."""
    return pd.DataFrame([_row(m) for m in measures])


def _row(m: dict[str, Any]) -> dict[str, float]:
    whitened = np.abs(rank_correlations(m["y"], m["latents"]))
    spread = m["rotated"].std(0)
    return {k: v for k, v in m.items() if not isinstance(v, np.ndarray)} | {
        "whitened_correlation_1": whitened[0, 0],
        "whitened_correlation_2": whitened[1, 1],
        "rotated_std_ratio": spread[0] / spread[1],
    }


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
        # on equal scales, a stripe
        ("components", r"(d) $S^{-1} U^{\top} y$, each on its scale", "component 1", "component 2"),
    )
    for axis, (name, title, horizontal, vertical) in zip(axes[0], shown, strict=True):
        dots = axis.scatter(
            *arrays[name].T, c=arrays["latents"][:, 0], cmap=LATENT_MAP, vmin=-2.5, vmax=2.5, **DOTS
        )
        axis.set(title=title, xlabel=horizontal, ylabel=vertical)
        if name != "components":
            axis.set_aspect("equal", "datalim")
    figure.colorbar(dots, ax=axes[0, 3], label=r"true factor $\epsilon_1$")
    return figure


def _claim(key: str, source: str, says: str, measured: str, values: Values, **more: Any) -> Claim:
    return Claim(key, source, says, measured, values, scales=EVERY_SCALE, closed_form=True, **more)


def _component(k: int, low: float) -> Claim:
    return _claim(
        f"component_{k}",
        "Sec. 4, Fig. 2d",
        f"Un-whitened component {k} corresponds to the nonlinear component ε{'₁₂'[k - 1]} of the data.",
        "rank correlation",
        column(f"correlation_{k}"),
        threshold=at_least(low),
        paper_value="1",
        controls=(must_fail(f"the whitened coordinate Y{'₁₂'[k - 1]}", column(f"whitened_correlation_{k}")),),
    )


CLAIMS = [
    _claim(
        "maps_to_normal",
        "Sec. 4",
        "The transformation f maps the banana to N(0, I₂).",
        "largest deviation of f(X) from the latents turned by 120°",
        column("map_error"),
        threshold=at_most(1e-10),
        paper_value="0",
    ),
    *(
        _claim(
            f"normal_{k}",
            "Fig. 2b",
            f"Samples of the transformed Y{'₁₂'[k - 1]} are standard normal.",
            "p-value of the Kolmogorov–Smirnov test",
            column(f"ks_p_{k}"),
            threshold=at_least(1e-3),
            kind="check",
        )
        for k in (1, 2)
    ),
    _claim(
        "jacobian",
        "Sec. 4",
        "The printed matrix is the Jacobian of f.",
        "largest deviation of the determinant and of the sum of squared singular values from the printed matrix's",
        largest(column("det_error"), column("singular_sum_error")),
        threshold=at_most(1e-10),
        paper_value="0",
    ),
    _component(1, 0.99),
    _component(2, 0.98),
    _claim(
        "scaled",
        "Sec. 4, Fig. 2d",
        "The components are scaled according to their variance.",
        "ratio of the standard deviations of components 1 and 2",
        column("std_ratio"),
        threshold=at_least(5.0),
        paper_value="> 1",
        controls=(must_fail("the components before S⁻¹ scales them", column("rotated_std_ratio")),),
    ),
    _claim(
        "rotation_invariant",
        "Sec. 4",
        "f is one of many maps to N(0, I₂): those that differ from it by a rotation have the same components.",
        "largest change of a component, up to its sign, under a random rotation of the latents",
        column("turned_change"),
        threshold=at_most(1e-8),
        kind="beyond",
        controls=(must_fail("the latents themselves", column("latent_change")),),
    ),
    _claim(
        "likelihood",
        "Eq. 1",
        "The mean log-likelihood under f is minus the entropy of the banana, log 2πe.",
        "mean log-likelihood of samples",
        column("log_prob"),
        threshold=within(-2.837877, 0.15),
        unit="nats",
        kind="check",
    ),
]
