"""How well the classes of held-out images come apart in their latents: supervised maps, and evidence without labels.

A supervised map is given the labels of the very points that it shows. How much that alone brings is seen on two
controls: the same latents with their labels shuffled, and noise of the same shape with the right labels.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from flowrepro.config.schema import ImageConfig
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.data.labels import labels
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.metrics.embedding import discriminants, supervised_umap, versions_of_umap
from flowrepro.metrics.separability import linear_probe_hits, nearest_neighbour_hits, silhouette

BATCH = 250


def measure(
    flow: Flow, data: ImageData, n: int, umap: bool, embedding: str = "pseudo_inverse", seed: int = 0
) -> dict[str, Any]:
    """Of the embeddings of n held-out images, and of noise: maps by UMAP, or by discriminants without its extra.

    `nearest_neighbour` and `linear_probe` are accuracies on the latents themselves, with what they find image by image in
    `nearest_hits` and `probe_hits`. `silhouette_map*` are of the maps, by the labels that each was given.

    Raises:
        UsageError: the data set has no labels.
    """
    latents = embedded(flow, data.val.first(n), embedding)
    classes = labels(ImageConfig(data.name), "val")[: len(latents)]
    source = np.random.default_rng(seed)
    shuffled, noise = source.permutation(classes), source.standard_normal(latents.shape, dtype=np.float32)
    by_umap = umap and find_spec("umap") is not None
    project = supervised_umap if by_umap else discriminants
    nearest, probe = nearest_neighbour_hits(latents, classes), linear_probe_hits(latents, classes)
    found: dict[str, Any] = {
        "labels": classes,
        "labels_shuffled": shuffled,
        "map": "UMAP" if by_umap else "LDA",
        "map_versions": versions_of_umap() if by_umap else "",
        "embedding": embedding,
        "n_latents": float(len(latents)),
        "embedded_dim": float(latents.shape[1]),
        "dim": float(data.dim),
        "nearest_neighbour": float(nearest.mean()),
        "nearest_neighbour_shuffled": float(nearest_neighbour_hits(latents, shuffled).mean()),
        "linear_probe": float(probe.mean()),
        "linear_probe_shuffled": float(linear_probe_hits(latents, shuffled).mean()),
        "silhouette_latents": silhouette(latents, classes),
        "nearest_hits": nearest,
        "probe_hits": probe,
    }
    maps = {"": (latents, classes), "_shuffled": (latents, shuffled), "_noise": (noise, classes)}
    for name, (points, given) in maps.items():
        coordinates = project(points, given)
        found[f"coordinates{name}"] = coordinates.astype(np.float32)
        found[f"silhouette_map{name}"] = silhouette(coordinates, given)
    return found


@torch.no_grad()
def embedded(flow: Flow, images: Images, by: str) -> np.ndarray:
    """The coordinates of images on the flow's manifold, (n, M); their latents where it is the whole space."""
    device = device_of(flow)
    parts = [flow.embed(x.to(device), by).flatten(1).cpu() for x in images.split(BATCH)]
    return torch.cat(parts).float().numpy()
