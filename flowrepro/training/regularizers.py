"""Regularizers: each returns the log-likelihood and its unweighted term, in nats, from one forward pass.

The loop minimises the mean of -log_prob + alpha * term.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from flowrepro.errors import UsageError
from flowrepro.flows.core import Flow
from flowrepro.flows.quasilinear import Block

EXACT_DIM = 16
ESTIMATORS = ("auto", "exact", "hutchinson")


class Regularizer(Protocol):
    """`alpha` is the weight that the loop gives to the term."""

    alpha: float

    def __call__(self, flow: Flow, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """(log_prob, term), each (B,) in nats, at x (B, D); the generator supplies probes and the noise of bounds."""
        ...


class NoRegularizer:
    """Plain maximum likelihood: the term is zero."""

    alpha = 0.0

    def __call__(
        self, flow: Flow, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        log_prob: Tensor = flow(x, generator)  # skips the checks of flow.log_prob
        return log_prob, torch.zeros_like(log_prob)


class Tikhonov:
    """term = 1/2 ||J(x)||_F^2 with J the Jacobian of data to latent (linear_systems Sec. 5).

    The paper's objective is twice the negative log-likelihood plus alpha ||J||_F^2; in nats that is
    -log_prob + alpha/2 ||J||_F^2, and alpha here is the paper's. The authors' code adds alpha_J ||J||_F^2 to
    the negative log-likelihood instead: its alpha_J is alpha / 2, so that alpha_J = 5e-5 there is 1e-4 here.

    Args:
        alpha: weight, used by the loop.
        estimator: "exact" carries D tangents per sample; "hutchinson" carries random signs v with
            E ||J v||^2 = ||J||_F^2, unbiased in value and gradient; "auto" is exact up to 16 dimensions.
        probes: Hutchinson probes per sample.

    Raises:
        UsageError: unknown estimator or probes < 1.
    """

    def __init__(self, alpha: float = 5e-5, estimator: str = "auto", probes: int = 1) -> None:
        if estimator not in ESTIMATORS:
            raise UsageError(f"regularizer.estimator={estimator} is unknown; known: {', '.join(ESTIMATORS)}")
        if probes < 1:
            raise UsageError(f"regularizer.probes={probes} must be at least 1")
        self.alpha, self.estimator, self.probes = alpha, estimator, probes

    def __call__(
        self, flow: Flow, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.estimator == "exact" or (self.estimator == "auto" and x.shape[1:].numel() <= EXACT_DIM):
            tangents = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(x.shape[0], -1, -1)
            return half_squares(flow, x, tangents, generator)
        probes = rademacher((*x.shape, self.probes), x, generator)
        log_prob, term = half_squares(flow, x, probes, generator)
        return log_prob, term / self.probes


class Transport:
    """term = sum_l ||h_{l+1} - h_l||^2, the L2 transport cost of the blocks of a quasi-linear flow.

    h_l goes into block l, and h_{l+1} comes out of its activation (jacobian_determinant Sec. 6.2); the weight of the
    paper is not known.

    Raises:
        UsageError: the flow has no blocks.
    """

    def __init__(self, alpha: float = 0.01) -> None:
        self.alpha = alpha

    def __call__(
        self, flow: Flow, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        costs: list[Tensor] = []

        def moved(block: Block, given: tuple[Tensor], made: tuple[Tensor, Tensor]) -> None:
            costs.append(block.displacement(given[0], made[0]))

        hooks = [part.register_forward_hook(moved) for part in flow.modules() if isinstance(part, Block)]
        if not hooks:
            raise UsageError("regularizer=transport is for the blocks of model=qlf and model=qlf_vectors")
        try:
            log_prob: Tensor = flow(x, generator)
        finally:
            for hook in hooks:
                hook.remove()
        return log_prob, torch.stack(costs).sum(0)


def half_squares(
    flow: Flow, x: Tensor, tangents: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """log p(x) and 1/2 sum_k ||J t_k||^2, each (B,), for tangents (B, D, K)."""
    z, dlogp, pushed = flow.chain.forward_tangents(x, tangents)
    return flow.base.log_prob(z, generator) + dlogp, 0.5 * pushed.square().sum((1, 2))


def rademacher(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random signs +-1 in the dtype and on the device of `like`."""
    device = like.device if generator is None else generator.device
    signs = 2 * torch.randint(0, 2, shape, generator=generator, device=device) - 1
    return signs.to(like)


REGULARIZERS = {"none": NoRegularizer, "tikhonov": Tikhonov, "transport": Transport}


def build(config: Any) -> Regularizer:
    """The regularizer of a config. Raises UsageError if its name or a value is unknown."""
    if config.name not in REGULARIZERS:
        raise UsageError(f"regularizer={config.name} is unknown; known: {', '.join(REGULARIZERS)}")
    arguments = {key: value for key, value in vars(config).items() if key != "name"}
    built: Regularizer = REGULARIZERS[config.name](**arguments)
    return built
