"""linear_systems, Figure 4: the two leading un-whitened components of 1,000 images of MNIST 2s, drawn as thumbnails.

What one should see: 2s of a similar style lie together; along the axes slant, stroke thickness and the loop at the foot
change. The flow is the regularised one of figure 5. Components at D = 784 are found without forming a Jacobian, by
block Lanczos on products with the Jacobian of the inverse map. Signs are carried between neighbouring images: each
image's components are known up to a sign only, and the paper's rule (the largest loading is positive) flips within
groups of like images. Axes from the 2nd to the 98th percentile; the few images outside are counted in the title.

Costs half a minute on two cores at cpu scale, after the run of figure 5.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.neighbors import NearestNeighbors

from flowrepro.analysis.components import neighbour_signs
from flowrepro.data import Data
from flowrepro.figures.claims import TRAINED, Claim, at_least, at_most, column
from flowrepro.flows.core import Flow
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.metrics.images import ink, slant

NEIGHBOURS = 10


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """Components of n random training images, and how they go with slant, ink and likeness."""
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:n]
    x = data.train[chosen]
    found = neighbour_signs(flow.components(x, 2), x)
    assert data.image_shape is not None
    images = x.reshape(-1, *data.image_shape).numpy()
    values = found.values.double().numpy()
    looks = np.stack([slant(images), ink(images)], 1)
    correlations = np.abs(rank_correlations(values, looks)).max(0)
    return {
        "finite": float(np.isfinite(values).all(1).sum()),
        "slant": float(correlations[0]),
        "ink": float(correlations[1]),
        "likeness": likeness(values, x.numpy()),
        "std_1": float(found.std[:, 0].median()),
        "std_2": float(found.std[:, 1].median()),
        "values": values.astype(np.float32),
        "images": (255 * images).round().astype(np.uint8),
    }


def likeness(values: np.ndarray, pixels: np.ndarray) -> float:
    """Mean pixel distance of an image to its neighbours in the projection, over that of random pairs; 1: no order.

    Distances in the projection are of ranks, so that heavy tails do not weigh.
    """
    ranks = values.argsort(0).argsort(0)
    near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(ranks).kneighbors(ranks)[1][:, 1:]
    far = np.random.default_rng(0).permuted(np.tile(np.arange(len(values)), (NEIGHBOURS, 1)), axis=1).T
    distances = [np.linalg.norm(pixels[:, None] - pixels[other], axis=2).mean() for other in (near, far)]
    return float(distances[0] / distances[1])


def table(measures: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a run, the numbers alone."""
    return pd.DataFrame(
        [{k: v for k, v in m.items() if isinstance(v, float | int) or k == "state"} for m in measures]
    )


def draw(table: pd.DataFrame, arrays: dict[str, np.ndarray]) -> Figure:
    """Thumbnails at their two components, those at the rim first so that the middle stays readable."""
    values, images = arrays["regularised/values"], arrays["regularised/images"]
    low, high = np.percentile(values, [2, 98], axis=0)
    inside = ((values >= low) & (values <= high)).all(1)
    figure = Figure(figsize=(8.2, 7.6), layout="constrained")
    axis = figure.subplots()
    size = 0.022 * (high - low)
    for (x, y), image in zip(values[inside], images[inside], strict=True):
        shade = np.zeros((*image.shape, 4))
        shade[..., 3] = image / 255  # ink on nothing: overlapping thumbnails do not hide each other
        box = (x - size[0], x + size[0], y - size[1], y + size[1])
        axis.imshow(shade, extent=box, aspect="auto", interpolation="bilinear")
    margin = 0.04 * (high - low)
    axis.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    axis.set(xlabel="component 1 (pixels, un-whitened)", ylabel="component 2")
    axis.set_title(f"{int(inside.sum())} of {len(values)} MNIST 2s at their two leading components")
    return figure


CLAIMS = [
    Claim(
        "finite",
        "Fig. 4",
        "every image has finite components: images",
        column("finite", at_least(1000)),
        "1,000",
        scales=TRAINED,
    ),
    Claim(
        "alike",
        "Sec. 6.2",
        "2s of similar style are grouped: pixel distance to neighbours in the projection over random pairs'",
        column("likeness", at_most(0.9)),
        "grouped",
        scales=TRAINED,
    ),
    Claim(
        "slant",
        "Sec. 6.2",
        "the projection captures the digit's angle: largest rank correlation of a component with the slant",
        column("slant", at_least(0.3)),
        "captured",
        scales=TRAINED,
    ),
    Claim(
        "thickness",
        "Sec. 6.2",
        "the projection captures line thickness: largest rank correlation of a component with the ink",
        column("ink", at_least(0.3)),
        "captured",
        scales=TRAINED,
    ),
]
