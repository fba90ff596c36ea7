"""The two leading components of images, and how they and principal components order the images by appearance."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from flowrepro.analysis.bounds import ALPHA, BestLinear, best_linear
from flowrepro.analysis.orientation import agreement, cosines_of_neighbours, orientations
from flowrepro.data import Data
from flowrepro.flows.core import Flow
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.metrics.images import ink, loop, slant

NEIGHBOURS = 10


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """Components of n random training images, and how they and principal components follow slant, ink and likeness."""
    assert data.image_shape is not None
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:n]
    x = data.train[chosen.to(data.train.device)]
    found = flow.components(x, 2)
    images = x.reshape(-1, *data.image_shape).cpu().numpy()
    linear = best_linear(data.train, ALPHA)
    by_rule, directions, points, away = (
        part.double().cpu().numpy() for part in (found.values, found.directions, x, x - linear.mean)
    )
    cosines, cosines_2 = (cosines_of_neighbours(directions[..., k], points) for k in (0, 1))
    most, next_best = orientations(cosines)
    most = most * (1 if share_outward(most, directions[..., 0], away) >= 0.5 else -1)
    second = orientations(cosines_2)[0]
    values, next_values = (by_rule * np.stack([signs, second], 1) for signs in (most, next_best))
    by_pca = principal_components(linear, x)
    linear_changes = changes(
        linear.log_prob,
        x,
        linear.axes[0].expand_as(x),
        torch.as_tensor(by_pca[:, 0]).to(x.device),
        linear.variances[0].sqrt().expand(len(x)),
        data.train,
    )
    projections = {
        "": values,
        "pca_": by_pca,
        # with the paper's rule of signs, and with the next best signs of component 1
        "rule_": by_rule,
        "next_": next_values,
        "radial_": lines_to_the_mean(points, away)[:, None],
    }
    return {
        **{p + k: v for p, shown in projections.items() for k, v in style_numbers(shown, images).items()},
        **control_numbers(values, images),
        "agreement_1": agreement(most, cosines),
        "agreement_2": agreement(second, cosines_2),
        "next_agreement_1": agreement(next_best, cosines),
        "rule_agreement_1": agreement(np.ones(len(points)), cosines),
        "share_outward": share_outward(most, directions[..., 0], away),
        "outward": outward(found.directions[..., 0], x - linear.mean),
        "pca_outward": outward(linear.axes[0].expand_as(x), x - linear.mean),
        "std_1": float(found.std[:, 0].median()),
        "std_2": float(found.std[:, 1].median()),
        **changes(
            flow.log_prob, x, found.directions[..., 0], found.values[:, 0], found.std[:, 0], data.train
        ),
        **{f"linear_{name}": value for name, value in linear_changes.items()},
        "values": values.astype(np.float32),
        "next_values": next_values.astype(np.float32),
        "images": (255 * images).round().astype(np.uint8),
    }


def changes(
    log_prob: Callable[[Tensor], Tensor],
    x: Tensor,
    direction: Tensor,
    value: Tensor,
    std: Tensor,
    train: Tensor,
) -> dict[str, float]:
    """How much log p changes from images x (n, D) to both sides along component 1, and how much by its value and std (n,).

    The step is the standard deviation `along` of the training set (N, D) in that direction (n, D). `change` in nats is
    that of log p, `local_change` that of a flow which is linear, as it is at x; medians of absolute values.
    """
    along = ((direction.double() @ torch.cov(train.double().mT)) * direction.double()).sum(1).sqrt()
    here, change, local = log_prob(x).double(), [], []
    for step in (along, -along):
        change.append(log_prob(x + (step[:, None] * direction).to(x)).double() - here)
        local.append((step * value.double() + step.square() / 2) / std.double().square())
    return {
        "along": float(along.median()),
        "change": float(torch.cat(change).abs().median()),
        "local_change": float(torch.cat(local).abs().median()),
    }


def outward(direction: Tensor, away: Tensor) -> float:
    """The median |cosine| between a direction at each image (n, D) and the way there from the mean (n, D)."""
    return float(((direction.double() * away.double()).sum(1).abs() / away.double().norm(dim=1)).median())


def principal_components(linear: BestLinear, x: Tensor) -> np.ndarray:
    """The two leading principal components of x (n, D), those of the best linear flow on the training set."""
    return ((x.double() - linear.mean) @ linear.axes[:2].mT).cpu().numpy()


def share_outward(signs: np.ndarray, directions: np.ndarray, away: np.ndarray) -> float:
    """The share of points whose direction (n, D) with these signs (n,) points away from the mean, as `away` (n, D) does."""
    return float((signs * (directions * away).sum(1) > 0).mean())


def lines_to_the_mean(points: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Distances (n,) of points (n, D) from a mean, with the next best signs of the lines there; `away` (n, D) is the way.

    What they have in common with looks of images is what any flow has whose component 1 lies along those lines.
    """
    lengths = np.linalg.norm(away, axis=1)
    signed: np.ndarray = lengths * orientations(cosines_of_neighbours(away / lengths[:, None], points))[1]
    return signed


def style_numbers(values: np.ndarray, images: np.ndarray) -> dict[str, float]:
    """Of a projection (n, k) of images (n, H, W): largest rank correlations with looks, likeness of neighbours."""
    looks = np.stack([slant(images), ink(images), loop(images)], 1)
    correlations = np.abs(rank_correlations(values, looks)).max(0)
    return {
        "finite": float(np.isfinite(values).all(1).sum()),
        "slant": float(correlations[0]),
        "ink": float(correlations[1]),
        "loop": float(correlations[2]),
        "likeness": likeness(values, images.reshape(len(images), -1)),
    }


def control_numbers(values: np.ndarray, images: np.ndarray) -> dict[str, float]:
    """The numbers of the projection (n, 2) with its images (n, H, W) exchanged, and the length of their mean deviation."""
    shuffled = np.random.default_rng(0).permutation(values)
    return {f"shuffled_{name}": value for name, value in style_numbers(shuffled, images).items()} | {
        "data_std": float(np.sqrt(images.reshape(len(images), -1).var(0).sum()))
    }


def likeness(values: np.ndarray, pixels: np.ndarray) -> float:
    """Mean pixel distance of an image to its neighbours in the projection, over that of random pairs; 1: no order.

    Distances in the projection are between ranks, so that heavy tails carry no weight.
    """
    ranks = values.argsort(0).argsort(0)
    near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(ranks).kneighbors(ranks)[1][:, 1:]
    far = np.random.default_rng(0).permuted(np.tile(np.arange(len(values)), (NEIGHBOURS, 1)), axis=1).T
    distances = [np.linalg.norm(pixels[:, None] - pixels[other], axis=2).mean() for other in (near, far)]
    return float(distances[0] / distances[1])
