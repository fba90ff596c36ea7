"""How the flow of a FlowPCA is trained: from PCA on, alpha falling, stopped by held-out rows; nothing is written."""

import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from flowrepro.config.schema import (
    Config,
    DenseConfig,
    Phase,
    PhasesConfig,
    TikhonovConfig,
    TrainingConfig,
)
from flowrepro.data import Data
from flowrepro.errors import Diverged
from flowrepro.flow_pca.readings import jacobians
from flowrepro.flows.core import Flow
from flowrepro.flows.linear import Dense
from flowrepro.flows.models.vectors import centred_flow
from flowrepro.metrics.likelihood import finite_mean, log_probs
from flowrepro.randomness import generator
from flowrepro.training.principal import Principal
from flowrepro.training.session import Session
from flowrepro.training.steps import steps

# standardised data at alpha 1 are nearly Gaussian, whatever they are
ALPHA_FROM = 1.0
# so small that the first flow is nearly linear: PCA
GAIN = 0.1
VALIDATIONS = 40
BATCH_SIZE, ROWS = 256, 1_000
# of the penalty on the angles between axes: 1 keeps the flow from unrolling curves
WEIGHT = 0.3


@dataclass(frozen=True)
class Settings:
    """The parameters of a FlowPCA that its training depends on; see there."""

    layers: int
    alpha: float
    principal: bool
    max_iter: int
    learning_rate: float
    n_iter_no_change: int
    max_seconds: float | None
    seed: int


@dataclass
class Trained:
    """A flow with the weights of the best held-out log-likelihood, and the validations on the way there.

    linear: whether the flow has no hidden layers. held_out: log-likelihoods in nats per row.
    """

    flow: Flow
    taken: int = 0
    held_out: list[float] = field(default_factory=list)
    linear: bool = False

    @property
    def since_best(self) -> int:
        """How many validations ago the best one was."""
        return len(self.held_out) - 1 - int(np.argmax(self.held_out))


def linear_flow(x: Tensor, alpha: float) -> Trained:
    """The flow that whitens x (N, D) linearly, an optimum in closed form (linear_systems Sec. 5)."""
    dense = Dense(x.shape[1], "whitening", shrinkage=alpha, dtype=x.dtype)
    flow = centred_flow((x.shape[1],), x.dtype, False, dense)
    flow.init_from(x)
    align(flow, x)
    return Trained(flow.eval().requires_grad_(False), taken=1, linear=True)


def trained_flow(
    train: Tensor, val: Tensor, settings: Settings, start: Flow | None, tell: Callable[[str], Any]
) -> Trained:
    """A flow fitted to `train` (N, D) from PCA on, or from the flow `start`, chosen by its likelihood on `val`.

    Where none is better than the linear flow, that one.

    A ConvergenceWarning says where training broke off, or where time ran out.
    """
    session = _session(train, val, settings, start)
    flow = session.evaluated
    found, best = Trained(flow), copy.deepcopy(flow.state_dict())
    every, began = max(1, settings.max_iter // VALIDATIONS), time.monotonic()
    _validate(found, session)
    try:
        for _ in steps(session):
            found.taken = session.counters.step
            if found.taken % every and found.taken < settings.max_iter:
                continue
            _validate(found, session)
            tell(f"step {found.taken}/{settings.max_iter}  held-out log-likelihood {found.held_out[-1]:.4f}")
            if found.since_best == 0:
                best = copy.deepcopy(flow.state_dict())
            if found.since_best >= settings.n_iter_no_change:
                break
            if settings.max_seconds is not None and time.monotonic() - began > settings.max_seconds:
                _warn(f"stopped by max_seconds={settings.max_seconds:g} at step {found.taken}")
                break
    except Diverged as error:
        _warn(str(error))
    flow.load_state_dict(best)
    flow.eval().requires_grad_(False)
    linear = linear_flow(train, settings.alpha)
    if held_out(linear.flow, val) > max(found.held_out):
        return replace(linear, taken=found.taken, held_out=found.held_out)
    return found


def held_out(flow: Flow, val: Tensor) -> float:
    """The mean log-likelihood of the held-out rows, in nats."""
    return finite_mean(log_probs(flow.log_prob, val, ROWS))


def _session(train: Tensor, val: Tensor, settings: Settings, start: Flow | None) -> Session:
    data = Data("x", train, val, source="", fingerprint="")
    session = Session(_config(settings, resumed=start is not None), data, "cpu")
    if settings.principal:
        session.regularizer = Principal(settings.alpha, WEIGHT)
    if start is None or len(start.chain) != len(session.flow.chain):
        align(session.flow, train)
    else:
        session.flow.load_state_dict(start.state_dict())
    session.evaluated.load_state_dict(session.flow.state_dict())
    return session


def _config(settings: Settings, resumed: bool) -> Config:
    # a flow that is trained already has unrolled the data, and would lose that at a large alpha
    first = Phase(share=0.6, warmup=50, alpha_from=None if resumed else max(ALPHA_FROM, settings.alpha))
    return Config(
        dataset=None,
        model=DenseConfig(
            "dense_asinh", layers=settings.layers, init="whitening", gain=GAIN, shrinkage=ALPHA_FROM
        ),
        regularizer=TikhonovConfig("tikhonov", alpha=settings.alpha),
        phases=PhasesConfig("annealed", [first, Phase(share=0.4, schedule="cosine")]),
        training=TrainingConfig(
            steps=settings.max_iter, batch_size=BATCH_SIZE, lr=settings.learning_rate, clip=10.0, ema=0.99
        ),
        seed=settings.seed,
        dtype="float64",
    )


def _validate(found: Trained, session: Session) -> None:
    flow, data = session.settle(), session.data
    assert isinstance(data, Data)
    found.held_out.append(held_out(flow, data.val))
    flow.train()


def _warn(what: str) -> None:
    warnings.warn(f"{what}; the best flow so far is kept", ConvergenceWarning, stacklevel=6)


def align(flow: Flow, x: Tensor) -> None:
    """Turn the latents of a flow so that at the mean of x (N, D) they are its local components, the largest std first."""
    u = torch.linalg.svd(jacobians(flow, x.mean(0, keepdim=True))[0])[0]
    turn(flow, u.mT.flip(0))


@torch.no_grad()
def turn(flow: Flow, matrix: Tensor) -> None:
    """Multiply the latents of a flow whose last layer is dense by a matrix (D, D)."""
    last = list(flow.chain)[-1]
    assert isinstance(last, Dense)
    last.weight.copy_(matrix @ last.weight)


def split(x: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """The rows to train on and those held out, at random; of very few rows all are both."""
    held_out = round(fraction * len(x))
    if not held_out or held_out == len(x):
        return x, x
    order = torch.randperm(len(x), generator=generator(seed, "split"))
    return x[order[held_out:]], x[order[:held_out]]
