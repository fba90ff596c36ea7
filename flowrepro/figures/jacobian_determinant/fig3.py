"""jacobian_determinant, Figure 3: three toy densities on their way through the blocks of a flow.

What one should see: from left to right the samples, what the first part of each block (matrix and couplings) and its
second part (splines) make of them, the density that the flow has learned and the true one. Above a panel stands how many
times the domain of the samples is shown, and the mean log-determinant per dimension of the map that leads there: in turn
positive and negative. Points keep the colour of their place in the data; nothing is torn.

That every block stretches and then compresses is how the flow starts, and partly how it is built: splines have slopes
below 1 at their knots. Flows with unbounded scales and slopes that start without either are in the table too, as ours.
Which toys the paper shows, and with which sizes, is not known.

Costs 15 minutes on two cores at cpu scale.
"""

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.claims import Claim, at_least, column
from flowrepro.figures.drawn import Arrays
from flowrepro.figures.jacobian_determinant import toys
from flowrepro.figures.jacobian_determinant.toys import arrays, near_entropy, table

__all__ = ["CLAIMS", "arrays", "draw", "table"]

CASES = ["8gaussians", "2spirals", "checkerboard"]
NEUTRAL = "8gaussians neutral"


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """A row per set."""
    return toys.draw(table, arrays, CASES)


CLAIMS = [
    *toys.claims("Fig. 3", CASES),
    Claim(
        "observation",
        "Sec. 3.2",
        "Training alone brings maps to stretch and compress in turn, in flows that neither start so nor have bounds.",
        "share of blocks that stretch and then compress, on 8 Gaussians",
        column("alternating", case=NEUTRAL),
        at_least(0.75),
        "the paper saw it in its own flow on CIFAR-10, which starts so (Fig. 4 (c), judged there)",
        kind="beyond",
        given=(near_entropy([NEUTRAL]),),
        to_refute=(toys.converged([NEUTRAL]),),
    ),
]
