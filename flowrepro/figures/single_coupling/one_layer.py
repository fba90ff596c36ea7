"""What the figures share: the names of W and WU, the best angle of the two Gaussians, the values of a case, legends."""

from dataclasses import dataclass
from typing import Any

from flowrepro.figures.claims import Given, column, near, settled

# for the two Gaussians of Example 4: degrees, and nats
BEST_ANGLE, BEST_DELTA = 46.4097, 0.8794489
# the negentropy of a uniform law, in nats
UNIFORM = 0.1764852
# a legend that lines pass behind
SOLID: Any = {"frameon": True, "edgecolor": "none", "framealpha": 1}


@dataclass(frozen=True)
class WDensity:
    """W or WU by its title."""

    title: str


# nats of excess over the bound: below this a coupling counts as trained to it
ATTAINED = 0.05
# nats: missing one of the 5.3 oscillations of sigma(p) costs 0.0105
ONE_OSCILLATION = 0.01
W_DENSITIES = {"w": WDensity("W"), "wu": WDensity("WU")}


def distance(angle: float) -> float:
    """Degrees from the nearer of the two best angles, which mirror each other."""
    return float(min(abs(angle % 180 - BEST_ANGLE), abs(angle % 180 - 180 + BEST_ANGLE)))


def is_settled(case: str, margin: float = ATTAINED) -> Given:
    """Training on one density has converged."""
    return settled(column("last_fifth_gain", case=case), margin, "couplings")


def is_near(case: str, margin: float) -> Given:
    """The coupling of one density is near the best one: the excess is exact, and the most that training could still gain."""
    return near(column("excess", case=case), margin, "couplings are near the best one, in nats")
