"""across_dimensions, Figure 11: the architecture of the deep NIF, from the image to the latent.

What one should see: the flow of Figure 4 on a Gaussian NIF, whose latent has a flow of its own: affine couplings with
ActNorm and reversal between them, over a standard normal. That flow learns the density on the manifold, the other its
shape. As in Figure 4 all shapes are of a trace through the model that the run trains, and all counts of its layers; the
checks hold them against App. B.5. The authors' file has four levels, their text as many as the NF; ours follows the text.

Costs a few seconds, without training.
"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.architecture import drawn, measured, of
from flowrepro.figures.across_dimensions.fig4 import check, dimensions, levels_as_in_the_paper
from flowrepro.figures.across_dimensions.fig4 import table as table
from flowrepro.figures.claims import difference, within
from flowrepro.figures.drawn import Arrays, Measures

RUN = "nif_deep faces"
TITLES = {
    "paper": "deep NIF as in the paper (App. B.5), on CelebA",
    "cpu": "deep NIF at cpu scale, on faces64",
}


def measure(seed: int, scales: list[str]) -> dict[str, Any]:
    """The stages of the deep NIF at each scale; no seed changes them."""
    return measured(RUN, scales)


def arrays(measures: Measures) -> Arrays:
    """Nothing: the picture is drawn from the table."""
    return {}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Boxes and arrows, one row per architecture."""
    return drawn(table, TITLES)


# of the low-dimensional flow: column, statement, what is counted, the paper's number
INNER = (
    ("couplings", "has 10 affine couplings", "its couplings", 10),
    ("hidden", "has 1,024 units in each hidden layer of its MLPs", "width of all their hidden layers", 1024),
    # the paper says `4 layer MLP`, the authors' code has four hidden layers
    ("hidden_layers", "has MLPs with 4 hidden layers", "their hidden layers", 4),
    ("act_norms", "has an ActNorm between any two couplings", "its ActNorms", 9),
    ("permutations", "has a reversal between any two couplings", "its reversals", 9),
)
CLAIMS = [
    *dimensions(),
    *levels_as_in_the_paper(512, "App. A.10, B.5"),
    *(
        check(
            f"inner_{name}",
            "App. B.5",
            f"The low-dimensional flow {words}.",
            told,
            of(name, "manifold", "paper"),
            within(number, 0),
            f"{number}",
        )
        for name, words, told, number in INNER
    ),
    check(
        "inner_square",
        "App. B.5",
        "The low-dimensional flow keeps the dimension of the manifold.",
        "dimension of its latent minus M",
        difference(of("size", "inner"), of("size", "manifold")),
        within(0, 0),
        "0",
    ),
]
