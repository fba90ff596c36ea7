"""across_dimensions, Figure 4: the architecture of the NIF, from the image to the latent.

What one should see: levels of [squeeze, steps of flow], after each but the last half of the values leaves; all that leave
make the latent of the NF, and a Gaussian NIF stands in the place of its standard normal. Nothing is drawn from memory:
the model of the run NIF-128 on faces is built, an image passes through it, and the shapes are those of the trace; boxes
count the layers and the channels of the networks that are there. The checks hold them against App. A.10.

Costs a few seconds, without training.
"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.architecture import drawn, measured, of
from flowrepro.figures.claims import EVERY_SCALE, Claim, Threshold, Values, combined, difference, within
from flowrepro.figures.drawn import Arrays, Measures

RUN = "nif-128 faces"
TITLES = {
    "paper": "NIF-128 as in the paper (App. A.10), on CelebA",
    "cpu": "NIF-128 at cpu scale, on faces64",
}


def measure(seed: int, scales: list[str]) -> dict[str, Any]:
    """The stages of NIF-128 at each scale; no seed changes them."""
    return measured(RUN, scales)


def table(measures: Measures) -> pd.DataFrame:
    """One row per architecture and stage: shape and size there, what leaves, and what works."""
    return pd.DataFrame([{"seed": m["seed"]} | row for m in measures for row in m["rows"]])


def arrays(measures: Measures) -> Arrays:
    """Nothing: the picture is drawn from the table."""
    return {}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Boxes and arrows, one row per architecture."""
    return drawn(table, TITLES)


def all_that_leaves(table: pd.DataFrame) -> pd.Series:
    """For each architecture the sum of what leaves its levels."""
    return table.groupby(["architecture", "seed"]).leaves.sum().droplevel(0)


def sizes(stage: str) -> Values:
    """The size of a stage in each architecture, in the order of `all_that_leaves`."""
    return lambda table: (
        table[table.stage == stage]
        .groupby(["architecture", "seed"])["size"]
        .first()
        .droplevel(0)
        .astype(float)
    )


def share_that_leaves(table: pd.DataFrame) -> pd.Series:
    """What leaves each level but the last of an architecture, over what enters it."""
    rows = table[table.stage.str.startswith("level")]
    inner = rows[rows.stage != rows.groupby("architecture").stage.transform("last")]
    return (inner.leaves / inner["size"]).set_axis(inner.seed)


def check(
    key: str,
    source: str,
    says: str,
    measured: str,
    values: Values,
    threshold: Threshold,
    paper_value: str = "",
) -> Claim:
    """A check of an architecture: exact at every scale."""
    return Claim(
        key, source, says, measured, values, threshold, paper_value, "", "check", scales=EVERY_SCALE, closed_form=True
    )  # fmt: skip


def number_of_levels(table: pd.DataFrame) -> pd.Series:
    """The number of levels of the paper's architecture."""
    return of("size", "level", "paper")(table).groupby(level=0).size()


def levels_as_in_the_paper(channels: int, source: str) -> list[Claim]:
    """That the flow at paper scale has 5 levels of 16 steps, with so many channels in the networks."""
    levels, steps, widths = (
        number_of_levels,
        of("couplings", "level", "paper"),
        of("hidden", "level", "paper"),
    )
    counted = [
        ("levels", "5 multiscale components", "number of levels", levels, 5),
        ("steps", "16 steps of flow per level", "couplings in each level", steps, 16),
        ("channels", f"{channels} channels in every network", "their hidden layers", widths, channels),
    ]
    return [
        check(key, source, f"The paper's flow has {words}.", told, values, within(number, 0), f"{number}")
        for key, words, told, values, number in counted
    ]


def dimensions() -> list[Claim]:
    """How many dimensions there are at each stage."""
    return [
        check(
            "halves",
            "Fig. 4 (multiscale)",
            "After each level but the last half of the values leaves.",
            "what leaves over what enters",
            share_that_leaves,
            within(0.5, 0),
            "1/2",
        ),
        check(
            "square",
            "Sec. 3.1",
            "What leaves the levels is the latent, and has as many dimensions as the image.",
            "sum of what leaves minus the image's pixel values, in each architecture",
            difference(all_that_leaves, sizes("image")),
            within(0, 0),
            "0",
        ),
        check(
            "latent",
            "Sec. 3.1",
            "The manifold is in the whole latent space: A maps into N dimensions.",
            "dimension of the latent minus the image's pixel values",
            difference(sizes("latent"), sizes("image")),
            within(0, 0),
            "0",
        ),
        check(
            "manifold",
            "Fig. 1, 3, B.5",
            "The manifold has 128 dimensions.",
            "latent dimension M at paper scale",
            of("size", "manifold", "paper"),
            within(128, 0),
            "128",
        ),
        check(
            "same_layers",
            "Sec. 5, App. A.10",
            "The NIF has the layers of the NF; only its base differs.",
            "parameters of its layers minus those of the NF of the same size",
            difference(of("parameters", "latent"), of("nf_parameters", "latent")),
            within(0, 0),
            "0",
        ),
    ]


CLAIMS = [
    *dimensions(),
    *levels_as_in_the_paper(256, "App. A.10"),
    check(
        "base",
        "Eq. 8",
        "All that the NIF adds are A (N x M), and for each latent dimension a bias and a variance.",
        "parameters of its base minus N (M + 2)",
        combined(
            lambda found, n, m: found - n * (m + 2),
            of("base_parameters", "latent", "paper"),
            of("size", "latent", "paper"),
            of("size", "manifold", "paper"),
        ),
        within(0, 0),
        "0",
    ),
]
