"""A line of single values beside their threshold, as a small inline SVG."""

import math

from flowrepro.figures.claims import Threshold

WIDTH, HEIGHT, EDGE = 120, 20, 6


def strip(values: list[float], threshold: Threshold) -> str:
    """One mark per value on a line; where values pass is shaded. Empty if no value is finite.

    The line is logarithmic where all that it shows is positive and spans more than three orders of magnitude.
    """
    finite = [v for v in values if math.isfinite(v)]
    ends = [e for e in (threshold.low, threshold.high) if math.isfinite(e)]
    if not finite or not ends:
        return ""
    at = _scale(finite + ends)
    left = at(threshold.low) if math.isfinite(threshold.low) else 0
    right = at(threshold.high) if math.isfinite(threshold.high) else WIDTH
    shaded = f'<rect class="pass" x="{left:.1f}" y="2" width="{max(right - left, 1):.1f}" height="16"/>'
    limits = "".join(f'<line class="limit" x1="{at(e):.1f}" x2="{at(e):.1f}" y1="1" y2="19"/>' for e in ends)
    marks = "".join(
        f'<circle class="{"in" if threshold.passes(v) else "out"}" cx="{at(v):.1f}" cy="10" r="3.2"/>'
        for v in finite
    )
    passing = sum(threshold.passes(v) for v in values)
    told = f"{passing} of {len(values)} values pass {threshold}"
    line = f'<line class="axis" x1="0" x2="{WIDTH}" y1="10" y2="10"/>'
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{told}"><title>{told}</title>{shaded}{line}{limits}{marks}</svg>'
    )


def _scale(shown: list[float]):  # type: ignore[no-untyped-def]
    """The position of a value on the line, from the range of what it shows."""
    logarithmic = min(shown) > 0 and max(shown) > 1e3 * min(shown)
    place = math.log if logarithmic else float
    low, high = place(min(shown)), place(max(shown))
    size = (WIDTH - 2 * EDGE) / (high - low) if high > low else 0
    return lambda value: EDGE + (place(value) - low) * size if size else WIDTH / 2
