"""The penalty that turns the axes of a flow into principal components (Cunningham et al. 2022, Sec. 4)."""

import torch
from torch import Tensor

from flowrepro.flows.core import Flow
from flowrepro.training.regularizers import EXACT_DIM


class Principal:
    """Tikhonov's term, and a penalty on the angles between the axes of the latent space as they are seen in the data.

    With J_i the rows of the Jacobian, sum_i log ||J_i|| - log |det J| >= 0 is zero where they are orthogonal (Hadamard).
    Then U of J = U S V^T is the identity: the latent axes are the components of linear_systems Sec. 4 at every point.
    `alpha` times this term is alpha/2 ||J||_F^2 as in `Tikhonov`, plus `weight` times the penalty.

    Beyond 16 dimensions both are estimated, without bias, from one row per sample drawn at random.

    Args:
        alpha: the papers' alpha, used by the loop.
        weight: of the penalty, in nats.
    """

    def __init__(self, alpha: float, weight: float = 1.0) -> None:
        self.alpha, self.weight = alpha, weight

    def __call__(
        self, flow: Flow, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(log_prob less the weighted penalty, Tikhonov's term), each (B,) in nats, at x (B, D)."""
        rows = all_rows if x.shape[1] <= EXACT_DIM else one_row
        z, dlogp, log_norms, half_squares = rows(flow, x, generator)
        angles = log_norms - dlogp
        return flow.base.log_prob(z) + dlogp - self.weight * angles, half_squares


Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def all_rows(flow: Flow, x: Tensor, generator: torch.Generator | None = None) -> Parts:
    """z (B, D), log |det J|, sum_i log ||J_i|| and 1/2 ||J||_F^2, each (B,), from the whole Jacobian."""
    tangents = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
    z, dlogp, jacobian = flow.chain.forward_tangents(x, tangents)
    squares = jacobian.square().sum(2)
    return z, dlogp, 0.5 * squares.log().sum(1), 0.5 * squares.sum(1)


def one_row(flow: Flow, x: Tensor, generator: torch.Generator | None = None) -> Parts:
    """The same, the last two estimated from one row of each sample's Jacobian."""
    dim, point = x.shape[1], x.detach().requires_grad_()
    z, dlogp = flow.chain(point)
    drawn = torch.randint(dim, (len(x), 1), generator=generator, device=x.device)
    (row,) = torch.autograd.grad(z.gather(1, drawn).sum(), point, create_graph=True)
    squares = dim * row.square().sum(1)
    return z, dlogp, 0.5 * dim * (squares / dim).log(), 0.5 * squares
