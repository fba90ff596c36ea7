"""The local standard deviations of data with added noise, over the variance of the noise (Horvat & Pfister 2022).

They are read off a flow of couplings, not off the flow of the components: that one hardly leaves PCA where a manifold is
closed or rolled up.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Generator, Tensor

from flowrepro.analysis.dimension import local_stds
from flowrepro.config.schema import (
    Config,
    NoRegularizerConfig,
    Phase,
    PhasesConfig,
    RealNVPConfig,
    TrainingConfig,
)
from flowrepro.data import Data
from flowrepro.errors import Diverged
from flowrepro.randomness import generator
from flowrepro.training.session import Session
from flowrepro.training.steps import steps

# variances of the noise on standardised data: first, and last as a share of alpha
FIRST, LAST = 0.25, 0.1
# the variance falls over this share of the steps, and is read at so many places
FALLING, READINGS = 0.85, 20
BATCH_SIZE, LEARNING_RATE = 256, 2e-3


@dataclass
class Curve:
    """Variances of the noise, falling, and the local standard deviations at each, descending, (D,).

    complete: whether the noise fell to its last variance; no dimension can be read off a curve that breaks off before.
    """

    variances: list[float] = field(default_factory=list)
    stds: list[np.ndarray] = field(default_factory=list)
    complete: bool = True


def noise_stds(
    x: Tensor,
    alpha: float,
    number: int,
    seed: int,
    max_seconds: float | None = None,
    tell: Callable[[str], Any] = lambda line: None,
) -> Curve:
    """The curve of standardised rows x (N, D) with noise down to a tenth of alpha, by a number of optimizer steps.

    Principal directions in which the data vary less than the last noise need no flow: there the noise is all there is.
    A ConvergenceWarning says where training broke off, or where time ran out.
    """
    last = LAST * alpha
    variances, axes = torch.linalg.eigh(torch.cov(x.mT, correction=0).reshape(x.shape[1], -1))
    wide, flat = variances > last, variances[variances <= last].clamp(min=0).numpy()
    if int(wide.sum()) < 2 or not number:
        levels = np.geomspace(FIRST, last, READINGS)
        return Curve(levels.tolist(), [_descending(variances.clamp(min=0).numpy() + v) for v in levels])
    found = _trained((x - x.mean(0)) @ axes[:, wide], last, number, seed, max_seconds, tell)
    both = zip(found.variances, found.stds, strict=True)
    stds = [_descending(np.concatenate([std**2, flat + v])) for v, std in both]
    return Curve(found.variances, stds, found.complete)


def _descending(variances: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sort(variances)[::-1])


def _trained(
    x: Tensor, last: float, number: int, seed: int, max_seconds: float | None, tell: Callable[[str], Any]
) -> Curve:
    """The curve of x (N, D), D at least 2; it ends where training diverges, or where time runs out."""
    # it is read off the first rows, and tables come sorted
    x = x.float()[torch.randperm(len(x), generator=generator(seed, "noise"))]
    variance, began = FIRST, time.monotonic()

    def noisy(n: int, generator: Generator) -> Tensor:
        rows = x[torch.randint(len(x), (n,), generator=generator)]
        return rows + math.sqrt(variance) * torch.randn(rows.shape, generator=generator)

    session = Session(_config(number, seed), Data("x", x, x, source="", fingerprint="", fresh=noisy), "cpu")
    found, every = Curve(), max(1, number // READINGS)
    try:
        for _ in steps(session):
            taken = session.counters.step
            if taken % every == 0 or taken == number:
                flow = session.settle()
                found.variances.append(variance)
                found.stds.append(local_stds(flow, x))
                flow.train()
                tell(f"step {taken}/{number} of the dimension  variance of the noise {variance:.2g}")
            if max_seconds is not None and time.monotonic() - began > max_seconds and taken < number:
                return _broken(found, f"stopped by max_seconds={max_seconds:g} at step {taken}")
            variance = FIRST * (last / FIRST) ** min(1.0, taken / (FALLING * number))
    except Diverged as error:
        return _broken(found, str(error))
    return found


def _broken(curve: Curve, why: str) -> Curve:
    warnings.warn(f"no intrinsic_dimension_: its flow {why}", ConvergenceWarning, stacklevel=7)
    return replace(curve, complete=False)


def _config(number: int, seed: int) -> Config:
    return Config(
        dataset=None,
        model=RealNVPConfig(
            "realnvp",
            layers=8,
            passive=0,
            hidden=[64, 64],
            scale="soft_clamp",
            batch_norm=False,
            rotation="random",
        ),
        regularizer=NoRegularizerConfig("none"),
        phases=PhasesConfig(
            "noise", [Phase(share=FALLING), Phase(share=1 - FALLING, lr=0.1 * LEARNING_RATE)]
        ),
        training=TrainingConfig(steps=number, batch_size=BATCH_SIZE, lr=LEARNING_RATE, clip=5.0),
        seed=seed,
        dtype="float32",
    )
