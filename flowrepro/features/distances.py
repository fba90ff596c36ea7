"""Distances of sets of images: Fréchet and kernel distance on a network's features, each with interval, floor and record."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.errors import UsageError
from flowrepro.features.names import label
from flowrepro.features.network import FeatureNetwork
from flowrepro.features.record import Record
from flowrepro.metrics.bootstrap import frechet_spread, interval, kernel_spread
from flowrepro.metrics.frechet import frechet_distance
from flowrepro.metrics.kernel_distance import kernel_distance

DISTANCES = {"frechet": (frechet_distance, frechet_spread), "kernel": (kernel_distance, kernel_spread)}
REPLICATES = 30


@dataclass(frozen=True)
class Distance:
    """A distance with its 95 % interval, the same distance of other real images (its floor), and its record.

    The interval tells how the distance of so many images varies: a Fréchet distance's bias is seen in its floor.
    Both are NaN where they were not asked for.
    """

    label: str
    value: float
    low: float
    high: float
    floor: float
    record: Record

    def row(self) -> dict[str, Any]:
        """One row of a table: the numbers, then the record."""
        numbers = {name: getattr(self, name) for name in ("value", "low", "high", "floor")}
        return {"distance": self.label, **numbers, **self.record.row()}


class Reference:
    """Real images that samples are compared with.

    Args:
        network: the feature network.
        images: (n, H, W, C) of uint8, at the bit depth of the samples: a 3-bit flow is compared with 3-bit images.
            Here and below their features (n, d) may take the place of images.
        split: what they are, for the record.
        others: other real images; as many of them as there are samples give the floor.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        images: np.ndarray | Tensor,
        split: str,
        others: np.ndarray | Tensor | None = None,
        device: str = "cpu",
    ) -> None:
        self.network, self.split, self.device = network, split, device
        self.real = self._features(images)
        self.others = None if others is None else self._features(others)
        self._floor = cache(self._measured_floor)

    def distances(
        self, images: np.ndarray | Tensor, left_out: int = 0, replicates: int = REPLICATES, **about: Any
    ) -> list[Distance]:
        """Both distances of samples (m, H, W, C) of uint8; `about` are t, s and seed as `Record` calls them.

        Args:
            left_out: how many samples beside these were not finite (see `finite`).
            replicates: of the bootstrap; 0 for none. One takes a Fréchet distance of 1,280 features some 2 seconds.

        Raises:
            UsageError: fewer than two images on a side.
        """
        if min(len(self.real), len(images)) < 2:
            raise UsageError("a distance of images needs at least two on both sides")
        fake = self._features(images)
        record = self.record(len(fake), left_out, about)
        return [self._distance(name, fake, replicates, record) for name in DISTANCES]

    def _features(self, images: np.ndarray | Tensor) -> Tensor:
        given = torch.as_tensor(images)
        return given if given.dim() == 2 else self.network.features(given, device=self.device)

    def _distance(self, name: str, fake: Tensor, replicates: int, record: Record) -> Distance:
        measure, spread_of = DISTANCES[name]
        value = measure(self.real, fake)
        spread = spread_of(self.real, fake, replicates) if replicates else float("nan")
        shown, floor = label(name, self.network.name), self._floor(name, record.n_floor)
        return Distance(shown, value, *interval(value, spread), floor, record)

    def record(self, n_fake: int, left_out: int, about: dict[str, Any]) -> Record:
        """The record of a distance of n_fake images, with `about` as in `distances`."""
        n_floor = 0 if self.others is None else min(n_fake, len(self.others))
        network = self.network
        return Record(
            len(self.real),
            n_fake,
            n_floor,
            left_out,
            self.split,
            network.resize,
            network.name,
            network.sha256,
            **about,
        )

    def _measured_floor(self, name: str, n: int) -> float:
        if self.others is None or n < 2:
            return float("nan")
        return DISTANCES[name][0](self.real, self.others[:n])


def finite(samples: Tensor) -> tuple[Tensor, int]:
    """The samples (n, ...) whose every value is finite, and how many others there are."""
    kept = torch.isfinite(samples.flatten(1)).all(1)
    return samples[kept], int((~kept).sum())
