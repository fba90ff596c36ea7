"""Bounds on determinants and gradients by the largest singular values of Jacobians (jacobian_determinant Sec. 2.3)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from flowrepro.analysis.jacobian import jacobian

LogProb = Callable[[Tensor], Tensor]


def hadamard(j: Tensor) -> Tensor:
    """Eq. 8, the middle: sum_i log |J e_i| over the unit vectors, for J (B, D, D), in nats; (B,).

    log |det J| is at most this, and this at most D log K with K = |J|, the largest singular value.
    """
    return j.norm(dim=-2).log().sum(-1)


def gradient_bounds(layers: Sequence[nn.Module], log_prob: LogProb, x: Tensor) -> Tensor:
    """Upper bounds on |d log p(x) / d theta_l| for the parameters of each of L layers at each x (B, D): (L, B).

    Eq. 13, with its residual o as the recursion of Eqs. 10 and 12 has it: from the last layer on,

        |grad theta_l| <= |dh_{l+1} / dtheta_l| |grad h_{l+1}| + |d log det J_l / dtheta_l|
        |grad h_l|     <= |J_l| |grad h_{l+1}| + |d log det J_l / dh_l|

    with spectral norms of matrices. Eq. 10 starts from 0, for a uniform base; here from the gradient of `log_prob`, the
    base's. 0 for layers without parameters.

    Args:
        layers: each maps h (B, D) to (h (B, D), log |det J| (B,)), row by row.
    """
    inputs = [x]
    for layer in layers:
        inputs.append(layer(inputs[-1])[0].detach())
    z, bounds = inputs.pop(), []
    above = vmap(grad(lambda z: log_prob(z[None])[0]))(z).norm(dim=1)
    for layer, h in zip(reversed(layers), reversed(inputs), strict=True):
        bounds.append(_by_parameters(layer, h, above))
        above = _by_input(layer, h, above)
    return torch.stack(bounds[::-1]).detach()


def _by_input(layer: nn.Module, h: Tensor, above: Tensor) -> Tensor:
    """From a bound on the gradient in the output of a layer, one on that in its input h (B, D): (B,)."""
    steep = torch.linalg.matrix_norm(jacobian(lambda h: layer(h)[0], h), 2)
    return steep * above + vmap(grad(lambda h: layer(h[None])[1][0]))(h).norm(dim=1)


def _by_parameters(layer: nn.Module, h: Tensor, above: Tensor) -> Tensor:
    """Eq. 12 for the parameters of one layer, from a bound on the gradient in its output (B,): (B,)."""
    parameters = dict(layer.named_parameters())
    if not parameters:
        return torch.zeros_like(above)

    def moved(parameters: dict[str, Tensor], h: Tensor) -> tuple[Tensor, Tensor]:
        z, dlogp = functional_call(layer, parameters, (h[None],))
        return z[0], dlogp[0]

    by_output, by_det = vmap(jacrev(moved), in_dims=(None, 0))(parameters, h)
    output = torch.cat([part.reshape(*part.shape[:2], -1) for part in by_output.values()], 2)
    det = torch.cat([part.reshape(len(part), -1) for part in by_det.values()], 1)
    return torch.linalg.matrix_norm(output, 2) * above + det.norm(dim=1)
