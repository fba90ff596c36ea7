"""N(0, I + V V^T) for V (N, M) with M <= N: its likelihood in O(B N M + N M^2), to the resolution of float32 for any V.

-2 log p(y) = s + N log 2 pi with the score s(y) = y^T (I + V V^T)^-1 y + log |I + V V^T|. By the identities of
Woodbury and Sylvester s is min over m of |y - V m|^2 + |m|^2, plus log |I + V^T V|; in this form nothing cancels, and
an error of m counts only by its square.
"""

from typing import Any

import torch
from torch import Tensor

# nats that float32 may lose in a score before the residual is computed for its own sake
TOLERANCE = 0.01


def cholesky(matrix: Tensor) -> Tensor:
    """The lower factor of matrices (..., M, M); nan, not an exception, where one is not positive definite."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where((failed == 0)[..., None, None], factor, torch.nan)


def capacitance(v: Tensor, ridge: float = 1.0) -> Tensor:
    """The Cholesky factor of ridge I + V^T V, for V (..., N, M)."""
    return cholesky(ridge * torch.eye(v.shape[-1], dtype=v.dtype, device=v.device) + v.mT @ v)


def minimum(y: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(m, y - V m, the Cholesky factor of I + V^T V in float64)."""
    wide = v.double()
    factor = capacitance(wide)
    m = torch.cholesky_solve((y.double() @ wide).mT, factor).mT.to(y.dtype).contiguous()
    return m, torch.addmm(y, m, v.mT, alpha=-1), factor


class LowRankScore(torch.autograd.Function):
    """s(y) for whitened points y (B, N) and V (N, M), as (B,) in float64.

    Since m minimises, its derivative does not enter the gradient: 2 r in y, and 2 V (I + V^T V)^-1 - 2 r m^T in V,
    with r = y - V m. That saves two thirds of the products of autograd, and lets them be done in y's own precision.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        m, residual, factor = minimum(y, v)
        energy = squares(residual) + squares(m)
        return energy.double() + 2 * factor.diagonal().log().sum(), m, residual, factor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, None
        y, v, m, residual, factor = ctx.saved_tensors
        if torch.is_grad_enabled():
            # the gradient is to be differentiated again
            m, residual, factor = minimum(y, v)
        grad = 2 * grad.to(y.dtype)
        grad_y = grad[:, None] * residual
        grad_v = grad.sum() * (v @ torch.cholesky_inverse(factor).to(v.dtype)) - grad_y.mT @ m
        return grad_y, grad_v


def low_rank_score(y: Tensor, v: Tensor) -> Tensor:
    """s(y), see above."""
    score: Tensor = LowRankScore.apply(y, v)[0]
    return score


class PreparedScore(torch.nn.Module):
    """s(y) of a fixed V: one product with a matrix (N, M) where float32 is exact enough, else two."""

    to_m: Tensor
    back: Tensor

    def __init__(self, v: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        v = v.detach().double()
        factor = capacitance(v)
        self.log_det = float(2 * factor.diagonal().log().sum())
        # |y|^2 is N + tr V^T V on average, and what remains of it is N
        self.cancels = float(v.square().sum()) * torch.finfo(dtype).eps > TOLERANCE
        half = torch.linalg.solve_triangular(factor.mT, v, upper=True, left=False)
        to_m = torch.cholesky_solve(v.mT, factor).mT if self.cancels else half
        self.register_buffer("to_m", to_m.to(dtype).contiguous(), persistent=False)
        self.register_buffer("back", v.mT.to(dtype).contiguous() if self.cancels else None, persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        """(B, N) -> (B,)."""
        m = y @ self.to_m
        if not self.cancels:
            return squares(y) - squares(m) + self.log_det
        return squares(torch.addmm(y, m, self.back, alpha=-1)) + squares(m) + self.log_det


def squares(x: Tensor) -> Tensor:
    """The sum of squares of each row."""
    return torch.linalg.vecdot(x, x)
