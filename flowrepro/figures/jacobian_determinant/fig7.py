"""jacobian_determinant, Figure 7: five more toy densities on their way through the blocks of a flow.

What one should see: the same as in Figure 3, for the other sets. Which toys the paper shows is not known.

Costs 20 minutes on two cores at cpu scale.
"""

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.drawn import Arrays
from flowrepro.figures.jacobian_determinant import toys
from flowrepro.figures.jacobian_determinant.toys import arrays, table

__all__ = ["CLAIMS", "arrays", "draw", "table"]

CASES = ["rings", "moons", "circles", "swissroll", "pinwheel"]


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """A row per set."""
    return toys.draw(table, arrays, CASES)


CLAIMS = toys.claims("Fig. 7", CASES)
