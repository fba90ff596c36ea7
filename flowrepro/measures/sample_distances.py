"""Distances of a flow's samples from real images, over the temperature t or the distance s from the manifold.

t and s are chosen on a random part of the training set, and reported on held-out images (across_dimensions App. B.1).
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.config.schema import SCHEMAS
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.data.labels import READERS
from flowrepro.device import device_of
from flowrepro.features.distances import DISTANCES, Distance, Reference, finite
from flowrepro.features.names import label
from flowrepro.features.network import FeatureNetwork
from flowrepro.features.networks import feature_network
from flowrepro.flows.core import Flow
from flowrepro.measures.image_flow import has_manifold, pixels, sample
from flowrepro.metrics.images import total_variation
from flowrepro.randomness import generator

BATCH = 250
# std of the noise added to real images, as a fraction of the range of grey levels
NOISE = 0.1
SAMPLES, REAL, NOISY = "samples", "real", "noisy real"
NAN = float("nan")


@dataclass(frozen=True)
class Fakes:
    """Images (m, H, W, C) of uint8 that are compared with real ones: what they are, and t and s of samples.

    `candidate`: whether t and s may be chosen.
    """

    of: str
    images: np.ndarray
    temperature: float = NAN
    deviation: float = NAN
    left_out: int = 0
    candidate: bool = False

    @property
    def enough(self) -> bool:
        """Whether they have distances at all."""
        return len(self.images) > 1

    @property
    def untuned(self) -> bool:
        """Whether they are samples of the flow itself, or of its manifold: those always have intervals."""
        return self.of == SAMPLES and self.temperature == 1 and self.deviation in (0, 1)

    @cached_property
    def total_variation(self) -> float:
        """Of pixels in [0, 1]."""
        return total_variation(self.images / 255) if self.enough else NAN


def measure(
    flow: Flow,
    data: ImageData,
    networks: list[str],
    temperatures: list[float],
    deviations: list[float],
    n: int,
    n_real: int,
    replicates: int,
    extra: tuple[tuple[float, float], ...] = (),
) -> dict[str, Any]:
    """Fréchet and kernel distances as arrays of equal length, one entry per number; all are named `distances_...`.

    Everything drawn depends on the run's seed alone: flows of one seed are compared with the same real images.

    Args:
        networks: the feature networks by name; a set without labels has no `classifier`, and no rows of it.
        temperatures: t of the samples of flows without a manifold; at s = 1.
        deviations: s of the samples of flows with one; at t = 1.
        n: samples for each (t, s).
        n_real: real images compared with; fewer where there are fewer held-out or three times as many training images.
        replicates: of the bootstrap, on held-out images alone, at t = 1 with s = 0 or 1, and at the chosen value.
        extra: more pairs (t, s), which cannot be chosen.

    Raises:
        UsageError, DataError: a feature network is not there.
    """
    device = device_of(flow)
    wanted = [(1.0, s) for s in deviations] if has_manifold(flow) else [(t, 1.0) for t in temperatures]
    real = real_images(data, n, n_real)
    fakes = [drawn(flow, data, t, s, n, device, candidate=True) for t, s in wanted]
    fakes += [drawn(flow, data, t, s, n, device, candidate=False) for t, s in extra]
    fakes += [Fakes(REAL, real["base"]), Fakes(NOISY, real["noisy"])]
    found = _networks(data.name, networks)
    rows = [row for network in found for row in _rows(network, fakes, real, replicates, device)]
    records = [row.pop("record") | {"seed": data.train.seed} for row in rows]
    return {
        "distances_records": json.dumps(records),
        "distances_dim": float(data.dim),
        "distances_source": data.source,
        "distances_real_total_variation": total_variation(real["test"] / 255),
        **{f"distances_{name}": np.array([row[name] for row in rows]) for name in rows[0]},
    }


def _networks(dataset: str, names: list[str]) -> list[FeatureNetwork]:
    config = SCHEMAS["dataset"][dataset](name=dataset)
    return [feature_network(name, config) for name in names if name != "classifier" or dataset in READERS]


def drawn(
    flow: Flow, data: ImageData, temperature: float, deviation: float, n: int, device: str, candidate: bool
) -> Fakes:
    """n samples by the data's seed, at the flow's bit depth and without border; those not finite are left out."""
    samples = sample(flow, n, temperature, data.train.seed, BATCH, device, deviation)
    kept, left_out = finite(samples)
    return Fakes(SAMPLES, pixels(data.train, kept), temperature, deviation, left_out, candidate)


def real_images(data: ImageData, n: int, n_real: int) -> dict[str, np.ndarray]:
    """Real images as samples are: held-out ones, and three parts of the training set that share no image.

    `train` and `test` are compared with, `others` give the floor, and `base` is judged as samples are, also `noisy`.
    """
    images = data.train
    order = torch.randperm(len(images), generator=generator(images.seed, "distances"))
    part = len(order) // 3
    train, others, base = (
        images.take(order[i * part :][: min(size, part)], draw=0) for i, size in enumerate((n_real, n, n))
    )
    shown = {"train": train, "others": others, "base": base, "noisy": noisy(images, base)}
    test = pixels(data.val, data.val[:n_real])
    return {name: pixels(images, x) for name, x in shown.items()} | {"test": test}


def noisy(images: Images, x: Tensor) -> Tensor:
    """Images (n, C, H, W) in grey levels with Gaussian noise of a tenth of their range."""
    noise = torch.randn(x.shape, generator=generator(images.seed, "noisy"), dtype=x.dtype)
    return x + NOISE * images.levels * noise


def _rows(
    network: FeatureNetwork, fakes: list[Fakes], real: dict[str, np.ndarray], replicates: int, device: str
) -> list[dict[str, Any]]:
    """One row for each set of fakes, split and kind of distance, on one network."""
    features = [network.features(f.images, device=device) if f.enough else None for f in fakes]
    others = network.features(real["others"], device=device)
    train, test = (Reference(network, real[split], split, others, device) for split in ("train", "test"))
    on_train = [_distances(train, f, x, 0) for f, x in zip(fakes, features, strict=True)]
    best = _best(fakes, on_train)
    with_interval = {i for i, f in enumerate(fakes) if f.untuned or i in best.values()}
    on_test = [
        _distances(test, f, x, replicates if i in with_interval else 0)
        for i, (f, x) in enumerate(zip(fakes, features, strict=True))
    ]
    return [
        _row(f, kind, distance, tuned=best.get(kind) == i)
        for found in (on_train, on_test)
        for i, (f, distances) in enumerate(zip(fakes, found, strict=True))
        for kind, distance in distances.items()
    ]


def _best(fakes: list[Fakes], found: list[dict[str, Distance]]) -> dict[str, int]:
    """The number of the samples that are nearest, for each kind of distance."""
    candidates = [i for i, f in enumerate(fakes) if f.candidate and f.enough]
    if not candidates:
        return {}
    return {kind: min(candidates, key=lambda i: found[i][kind].value) for kind in DISTANCES}


def _distances(
    reference: Reference, fakes: Fakes, features: Tensor | None, replicates: int
) -> dict[str, Distance]:
    """The distance of each kind; nan for fewer than two images."""
    about = {name: getattr(fakes, name) for name in ("temperature", "deviation") if fakes.of == SAMPLES}
    if features is None:
        record, name = reference.record(len(fakes.images), fakes.left_out, about), reference.network.name
        return {kind: Distance(label(kind, name), NAN, NAN, NAN, NAN, record) for kind in DISTANCES}
    found = reference.distances(features, fakes.left_out, replicates, **about)
    return dict(zip(DISTANCES, found, strict=True))


def _row(fakes: Fakes, kind: str, distance: Distance, tuned: bool) -> dict[str, Any]:
    record = distance.record
    return {
        "kind": kind,
        "tuned": tuned,
        **{name: getattr(fakes, name) for name in ("of", "temperature", "deviation", "total_variation")},
        **{name: getattr(distance, name) for name in ("label", "value", "low", "high", "floor")},
        **{name: getattr(record, name) for name in ("network", "split", "n_real", "n_fake", "left_out")},
        "record": record.as_dict(),
    }
