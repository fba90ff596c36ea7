"""linear_systems, Figure 1: linear and nonlinear whitening.

What one should see: (a) a matrix W turns a correlated Gaussian into an isotropic one, its local covariance
(W'W)^-1 is the same everywhere; (b) a nonlinear f does the same for the banana, its local covariance
(J'J)^-1 changes from point to point. Arrows: local component directions, one local standard deviation long.
The paper names neither the Gaussian nor the points of its schematic; ours are chosen here.

Costs a second, without training.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.analysis.bounds import linear_baseline
from flowrepro.analysis.components import components_of
from flowrepro.analysis.jacobian import jacobian
from flowrepro.data.toy import TOYS
from flowrepro.figures.claims import (
    EVERY_SCALE,
    TRAINED,
    Claim,
    at_least,
    at_most,
    column,
    must_fail,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.linear_systems.banana import banana_map
from flowrepro.flows.linear import zca
from flowrepro.pictures.style import BLUE, DOTS, ORANGE, PALE, RED, panels

COVARIANCE = torch.tensor([[2.0, 1.1], [1.1, 1.0]], dtype=torch.float64)
ORIGIN = torch.zeros(1, 2, dtype=torch.float64)
SHOWN_AT = torch.tensor([[-2.5, 1.25], [0.0, 0.0], [3.0, 1.8]], dtype=torch.float64)


def measure(seed: int, n: int) -> dict[str, Any]:
    """Points before and after both whitenings, the local components, and how white the results are."""
    generator = torch.Generator().manual_seed(seed)
    gaussian = (
        torch.randn(n, 2, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(COVARIANCE).T
    )
    banana, _ = TOYS["banana"].sample(n, generator)
    exact = whitening(COVARIANCE)
    fitted = zca(gaussian, 0.0)
    at_origin = components_of(banana_map, ORIGIN)
    shown = components_of(banana_map, SHOWN_AT)
    linear = components_of(lambda x: x @ exact.T, ORIGIN)
    local = torch.linalg.inv(jacobian(banana_map, SHOWN_AT).mT @ jacobian(banana_map, SHOWN_AT))
    arrays = {
        "gaussian": gaussian,
        "gaussian_white": gaussian @ fitted.T,
        "banana": banana,
        "banana_white": banana_map(banana),
        "linear_directions": linear.directions,
        "linear_std": linear.std,
        "shown_at": SHOWN_AT,
        "shown_directions": shown.directions,
        "shown_std": shown.std,
    }
    return {
        **{name: tensor.numpy() for name, tensor in arrays.items()},
        "closed_form_error": error(exact @ COVARIANCE @ exact.T, torch.eye(2)),
        "covariance_error": error(torch.linalg.inv(fitted.T @ fitted), centred_covariance(gaussian)),
        "linear_whiteness": error(centred_covariance(gaussian @ fitted.T), torch.eye(2)),
        "banana_whiteness": error(banana_map(banana).T.cov(), torch.eye(2)),
        "std_at_origin_1": float(at_origin.std[0, 0]),
        "std_at_origin_2": float(at_origin.std[0, 1]),
        "local_covariance_change": error(local[0], local[2]),
        "linear_log_prob": float(linear_baseline(gaussian, gaussian, 0.0).mean()),
    }


def whitening(covariance: torch.Tensor) -> torch.Tensor:
    """W = covariance^(-1/2) in closed form."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return vectors * eigenvalues.rsqrt() @ vectors.T


def centred_covariance(x: torch.Tensor) -> torch.Tensor:
    """The maximum-likelihood covariance of points (n, D)."""
    return x.T.cov(correction=0)


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Frobenius norm of the difference."""
    return float((a - b.to(a)).norm())


def table(measures: Measures) -> pd.DataFrame:
    """One row per seed: the numbers, and how far the banana's covariance is from I before whitening."""
    return pd.DataFrame(
        [
            {k: v for k, v in m.items() if not isinstance(v, np.ndarray)}
            | {"banana_before": float(np.linalg.norm(np.cov(m["banana"].T) - np.eye(2)))}
            for m in measures
        ]
    )


def arrays(measures: Measures) -> Arrays:
    """Data and whitened points, and the local components."""
    names = [f"{name}{end}" for name in ("gaussian", "banana") for end in ("", "_white")]
    names += ["linear_directions", "linear_std", "shown_at", "shown_directions", "shown_std"]
    return taken(measures, *names)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Two rows (linear, nonlinear), data left and whitened right."""
    figure, axes = panels(2, 2, 3.3, 3.0)
    rows = (("gaussian", r"$Y = WX$", "(a) linear"), ("banana", r"$Y = f(X)$", "(b) nonlinear"))
    for (left, right), (name, formula, title) in zip(axes, rows, strict=True):
        left.scatter(*arrays[name].T, color=PALE, **DOTS)
        right.scatter(*arrays[f"{name}_white"].T, color=PALE, **DOTS)
        left.set(title=f"{title}: data $X$", xlabel="$X_1$", ylabel="$X_2$")
        right.set(title=f"whitened {formula}", xlabel="$Y_1$", ylabel="$Y_2$")
        for axis in (left, right):
            axis.set_aspect("equal", "datalim")
        for radius in (1, 2):
            angle = np.linspace(0, 2 * np.pi, 200)
            circle = (radius * np.cos(angle), radius * np.sin(angle))
            right.plot(
                *circle, color=BLUE, lw=1, ls="-" if radius == 1 else "--", label=f"{radius} std of N(0, I)"
            )
    origin = np.zeros((1, 2))
    arrows(axes[0, 0], origin, arrays["linear_directions"], arrays["linear_std"])
    arrows(axes[1, 0], arrays["shown_at"], arrays["shown_directions"], arrays["shown_std"])
    entries = [entry for axis in axes[0] for entry in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=entries, loc="outside upper center", ncols=len(entries), fontsize=7)
    return figure


def arrows(axis: Axes, points: np.ndarray, directions: np.ndarray, std: np.ndarray) -> None:
    """The local components at points: directions times local standard deviations."""
    for component, colour in enumerate((RED, ORANGE)):
        steps = directions[:, :, component] * std[:, component, None]
        axis.quiver(
            *points.T,
            *steps.T,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.011,
            color=colour,
            zorder=3,
            label=f"component {component + 1}, one local std",
        )


def _exact(
    key: str,
    source: str,
    says: str,
    measured: str,
    name: str,
    scales: tuple[str, ...] = EVERY_SCALE,
    **more: Any,
) -> Claim:
    """A claim on a column that needs no training."""
    return Claim(key, source, says, measured, column(name), scales=scales, closed_form=True, **more)


CLAIMS = [
    _exact(
        "linear_whitens",
        "Fig. 1a",
        "A linear whitening transformation maps the Gaussian to N(0, I).",
        "‖W Σ Wᵀ − I‖ in closed form",
        "closed_form_error",
        threshold=at_most(1e-10),
        paper_value="0",
    ),
    _exact(
        "linear_covariance",
        "Sec. 3.1",
        "The precision WᵀW of the optimal linear flow is that of the maximum-likelihood Gaussian.",
        "‖(WᵀW)⁻¹ − Σ̂‖",
        "covariance_error",
        threshold=at_most(1e-8),
        paper_value="0",
    ),
    _exact(
        "nonlinear_whitens",
        "Fig. 1b",
        "A nonlinear whitening transformation maps the banana to N(0, I).",
        "‖cov(Y) − I‖ over samples",
        "banana_whiteness",
        scales=TRAINED,  # the covariance of a smaller sample is less accurate
        threshold=at_most(0.15),
        paper_value="0",
        controls=(must_fail("the banana before whitening", column("banana_before")),),
    ),
    _exact(
        "local_std_1",
        "Sec. 3.2",
        "The singular values of the Jacobian are the inverse local standard deviations.",
        "larger local standard deviation of the banana at x = 0 (2 by definition)",
        "std_at_origin_1",
        threshold=within(2.0, 1e-9),
        paper_value="2",
    ),
    _exact(
        "local_std_2",
        "Sec. 3.2",
        "The singular values of the Jacobian are the inverse local standard deviations.",
        "smaller local standard deviation of the banana at x = 0 (0.5 by definition)",
        "std_at_origin_2",
        threshold=within(0.5, 1e-9),
        paper_value="0.5",
    ),
    _exact(
        "local_covariance_varies",
        "Fig. 1b",
        "The local covariance estimate of a nonlinear flow varies as a function of the input.",
        "‖Σ̂(x) − Σ̂(x')‖ between two points of the banana",
        "local_covariance_change",
        threshold=at_least(1.0),
        paper_value="> 0",
    ),
]
