"""Claims of the papers and their verdicts: computed from a figure's table, never typed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

Values = Callable[[pd.DataFrame], list[float]]
Test = Callable[[pd.DataFrame], tuple[list[float], "Threshold"]]

# the scales at which a claim on trained flows means something
TRAINED = ("cpu", "paper")
HOLDS, FAILS, MIXED = "holds", "does not hold", "inconclusive"
UNMEASURED = "not measured at this scale"


@dataclass(frozen=True)
class Threshold:
    """The interval of values that pass."""

    low: float = -math.inf
    high: float = math.inf

    def passes(self, value: float) -> bool:
        """Whether a value lies inside; nan never does."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"≥ {self.low:g}"
        return f"≤ {self.high:g}" if math.isinf(self.low) else f"{self.low:g} to {self.high:g}"


def at_least(value: float) -> Threshold:
    """Values from here up pass."""
    return Threshold(low=value)


def at_most(value: float) -> Threshold:
    """Values up to here pass."""
    return Threshold(high=value)


def within(value: float, tolerance: float) -> Threshold:
    """Values this near pass."""
    return Threshold(value - tolerance, value + tolerance)


def tested(values: Values, threshold: Threshold) -> Test:
    """A claim's test: one value for each seed, and what they must pass."""
    return lambda table: (values(table), threshold)


def column(name: str, threshold: Threshold) -> Test:
    """A claim's test on a column of a table with one row a seed."""
    return tested(lambda table: table[name].tolist(), threshold)


@dataclass(frozen=True)
class Claim:
    """One checkable statement of a paper.

    `test(table)` gives one value for each seed (row) of the figure's table, and the threshold they must pass.
    """

    key: str
    source: str
    says: str
    test: Test
    paper_value: str = ""
    unit: str = ""
    scales: tuple[str, ...] = ("smoke", "cpu", "paper")
    why: str = ""


def verdict(values: list[float], threshold: Threshold) -> str:
    """All seeds pass: holds; none: does not hold; some: inconclusive; no values: not measured."""
    if not values:
        return UNMEASURED
    passed = [threshold.passes(v) for v in values]
    return HOLDS if all(passed) else MIXED if any(passed) else FAILS


def judge(claims: list[Claim], table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """One row for each claim: what the paper says, what was measured, the verdict."""
    rows = []
    for claim in claims:
        values, threshold = claim.test(table) if scale in claim.scales else ([], None)
        found = verdict(values, threshold) if threshold is not None else UNMEASURED
        rows.append(
            {
                "key": claim.key,
                "source": claim.source,
                "says": claim.says,
                "paper_value": claim.paper_value,
                "our_value": float(np.mean(values)) if values else math.nan,
                "unit": claim.unit,
                "threshold": "" if threshold is None else str(threshold),
                "values": " ".join(f"{v:.6g}" for v in values),
                "seeds": len(values),
                "verdict": found,
                "why": "" if found in (HOLDS, UNMEASURED) else claim.why,
            }
        )
    return pd.DataFrame(rows)
