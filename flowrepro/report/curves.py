"""Training curves of a figure's runs as small inline SVGs, one panel per case and one line per seed."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 240, 110, 46, 16, 6
# the first steps gain most, and would squeeze the rest
SETTLED = 0.02


def panels(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """The cases in their order: name, states and ends of the runs in words, and the picture."""
    return [
        {"case": case, "told": told(of_case), "svg": picture(of_case)}
        for case, of_case in (curves.groupby("case", sort=False) if len(curves) else ())
    ]


def told(curves: pd.DataFrame) -> str:
    """Where the seeds ended on held-out data: `-1.234, -1.241 after 5,000 steps (seeds 0, 1)`."""
    last = curves.groupby("seed", sort=False).tail(1)
    parts = []
    for (step, state), runs in last.groupby(["step", "state"], sort=False):
        scores = ", ".join(_number(v) for v in runs.val_log_prob)
        seeds = f"seed{'s' * (len(runs) > 1)} {', '.join(map(str, runs.seed))}"
        ended = "" if state == "completed" else f", {state}"
        parts.append(f"{scores} after {step:,} steps ({seeds}{ended})")
    return "; ".join(parts)


def picture(curves: pd.DataFrame) -> str:
    """Held-out log-likelihood over the steps, and that of training, in nats per sample."""
    steps, scores = curves.step.to_numpy(float), curves[["train_log_prob", "val_log_prob"]].to_numpy(float)
    shown = scores[steps >= SETTLED * steps.max()]
    shown = shown[np.isfinite(shown)]
    if not shown.size:
        return ""
    low, high = np.percentile(shown, 5), shown.max()
    low, high = low - 0.1 * (high - low) - 1e-9, high + 0.05 * (high - low) + 1e-9
    x = LEFT + steps / max(steps.max(), 1) * (WIDTH - LEFT - 4)
    y = TOP + (high - scores.clip(low, high)) / (high - low) * (HEIGHT - TOP - BOTTOM)
    lines = [
        f'<path class="{kind}" d="{path(x[rows], y[rows, column])}"/>'
        for column, kind in enumerate(("train", "val"))
        for rows in curves.groupby("seed", sort=False).indices.values()
    ]
    label = f"held-out log-likelihood over the steps, {told(curves)}"
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - 4}"/>{"".join(lines)}'
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end">{_number(high)}</text>'
        f'<text x="{LEFT - 4}" y="{HEIGHT - BOTTOM}" text-anchor="end">{_number(low)}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 3}">0</text>'
        f'<text x="{WIDTH - 4}" y="{HEIGHT - 3}" text-anchor="end">{steps.max():,.0f} steps</text></svg>'
    )


def path(x: np.ndarray, y: np.ndarray) -> str:
    """The line through the finite points, interrupted where others lie between them."""
    points = [f"{a:.0f} {b:.1f}" if np.isfinite(b) else "" for a, b in zip(x, y, strict=True)]
    return "".join(f"{'L' if before else 'M'}{point}" for before, point in pairwise(["", *points]) if point)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
