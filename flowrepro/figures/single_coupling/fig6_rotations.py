"""single_coupling, Figure 6, rows of layer-wise training: optimal rotations against random ones on six toy densities.

What one should see: the curve of optimal rotations (solid) below that of random ones (dashed) at every depth, on every data
set, and by as much as the red lines, which need no training, are apart. The other ways of training: fig6.

One learning rate serves all, and batches of 256 points; the Swiss roll has 1,024, without which one flow ends further from
the one without training than is allowed. A flow with random rotations counts as no worse than the one that needs no
training, so that it cannot be behind for want of training. Optimal rotations are refuted only where they are trained out,
and where they are behind without training too.

Costs 70 minutes on two cores at cpu scale, three seeds.
"""

from collections.abc import Sequence
from itertools import product

from flowrepro.figures.claims import (
    Claim,
    Given,
    Values,
    asked_where,
    at_least,
    at_most,
    average,
    combined,
    difference,
    enough,
    largest,
    must_fail,
    over_seeds,
)
from flowrepro.figures.single_coupling.depth import (
    LAYERS,
    OAS,
    RANDOM,
    TOLD_APART,
    at_best,
    kl,
    trained_out,
    without_training,
)
from flowrepro.figures.single_coupling.fig6 import arrays, draw, table
from flowrepro.figures.single_coupling.fig6_claims import (
    DEPTHS,
    INTEGRATES,
    MARGIN,
    TITLES,
    outside,
)

__all__ = ["CLAIMS", "arrays", "draw", "table"]

DATASETS = ("moons", "circles", "8gaussians", "2spirals", "checkerboard", "swissroll")


def _lead(dataset: str, layers: int = LAYERS) -> Values:
    """By how many nats optimal rotations are below the mean over random ones, which are independent draws."""
    return difference(over_seeds(at_best(RANDOM, layers, dataset)), kl(OAS, layers, dataset))


def _never_behind(lead: Values) -> Values:
    return combined(lambda nats: (nats >= -TOLD_APART).where(nats.notna()), lead)


def _one_draw(dataset: str, layers: int) -> Values:
    """By how many nats one draw of random rotations is below the mean over them."""
    one = at_best(RANDOM, layers, dataset)
    return difference(over_seeds(one), one)


def _behind_without_training(dataset: str, layers: int = LAYERS) -> Values:
    """Nats by which optimal rotations are ahead without training, if they are behind with it; else zero."""
    without = difference(*(without_training(m, layers, dataset) for m in (RANDOM, OAS)))
    return asked_where(lambda lead: lead < -TOLD_APART, _lead(dataset, layers), over_seeds(without))


def _earned(datasets: Sequence[str], depths: Sequence[int] = (LAYERS,)) -> tuple[Given, ...]:
    """What a refutation needs: optimal rotations are trained out, and are behind without training too."""
    against = [_behind_without_training(d, k) for d, k in product(datasets, depths)]
    what = "where random rotations are ahead in trained flows, they are ahead without training too"
    return (
        *trained_out((OAS,), depths, MARGIN, datasets),
        enough(largest(*against), at_most(TOLD_APART), what),
    )


def _outperform(dataset: str) -> Claim:
    return Claim(
        f"oas_beats_random_{dataset}",
        "Ex. 7",
        f"Optimal rotations outperform random rotations in layer-wise training: {TITLES.get(dataset, dataset)}.",
        "mean divergence with random rotations, trained or without training, whichever is lower, minus that with optimal "
        "ones, 12 layers",
        _lead(dataset),
        at_least(TOLD_APART),
        "> 0",
        "nats",
        to_refute=_earned((dataset,)),
    )


PLACES = list(product(DATASETS, DEPTHS))
CLAIMS = [
    Claim(
        "oas_beats_random",
        "Ex. 7",
        "Optimal rotations always outperform random rotations in layer-wise training.",
        "share of pairs of data set and depth, 1 to 12 layers, at which the divergence is not above the mean over random "
        f"rotations, trained or without training, by more than {TOLD_APART} nats",
        average(*(_never_behind(_lead(d, k)) for d, k in PLACES)),
        at_least(1.0),
        "1",
        to_refute=_earned(DATASETS, DEPTHS),
        controls=(
            must_fail(
                "draws of random rotations, on average",
                over_seeds(average(*(_never_behind(_one_draw(d, k)) for d, k in PLACES))),
            ),
        ),
    ),
    *(_outperform(dataset) for dataset in DATASETS),
    Claim(
        "spurious_less_with_oas",
        "Ex. 7",
        "Optimally chosen subspaces have less spurious structure.",
        "mass outside the data's support, random minus optimal rotations, mean over all data sets",
        average(*(difference(outside(RANDOM, d), outside(OAS, d)) for d in DATASETS)),
        at_least(0.0),
        "> 0",
        given=trained_out((OAS, RANDOM), (LAYERS,), MARGIN, DATASETS),
    ),
    INTEGRATES,
]
