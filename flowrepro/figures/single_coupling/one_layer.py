"""What Figures 1 to 4 share: the names of W and WU, the best angle of the two Gaussians, the values of a case."""

from dataclasses import dataclass

from flowrepro.figures.claims import Values

# of the two Gaussians of Example 4: degrees, and nats
BEST_ANGLE, BEST_DELTA = 46.4097, 0.8794489


@dataclass(frozen=True)
class WDensity:
    """W or WU by its title."""

    title: str


W_DENSITIES = {"w": WDensity("W"), "wu": WDensity("WU")}


def distance(angle: float) -> float:
    """Degrees from the nearer of the two best angles, which mirror each other."""
    return float(min(abs(angle % 180 - BEST_ANGLE), abs(angle % 180 - 180 + BEST_ANGLE)))


def of_case(case: str, name: str) -> Values:
    """A column of the rows of one case, one value for each seed."""
    return lambda table: [float(v) for v in table.loc[table.case == case, name]]
