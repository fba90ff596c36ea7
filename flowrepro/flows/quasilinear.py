"""The block of the quasi-linear flow: a convolution, two couplings and an activation (jacobian_determinant Sec. 4.1)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from flowrepro.flows.activations import Elementwise, NormalCDF, ScaledNormalCDF, Tanh
from flowrepro.flows.convolution import InvertibleConv, patches
from flowrepro.flows.core import Chain
from flowrepro.flows.coupling import AffineCoupling, FrontCoupling
from flowrepro.flows.mexican_hat import FrontHatCoupling, HatCoupling, biases
from flowrepro.flows.spline import Spline

INSERTS: dict[str, type[Elementwise]] = {"tanh": Tanh, "cdf": ScaledNormalCDF, "cdf_literal": NormalCDF}
# (width_in, biases of the outputs) -> a network whose outputs are these biases at first
NetOf = Callable[[int, Tensor], nn.Module]


class Block(Chain):
    """Layers of which the first is an InvertibleConv, and all together start as the identity."""

    def displacement(self, x: Tensor, z: Tensor) -> Tensor:
        """||z - x||^2 (B,), how far the block has moved its input x to its output z; of patches if it squeezes."""
        conv = self[0]
        assert isinstance(conv, InvertibleConv)
        return (z - patches(x, conv.size)).square().flatten(1).sum(1)


def block(
    channels: int,
    net: NetOf,
    size: int = 1,
    beta: float = 0.7,
    kappa: float = 1.0,
    mixture: int = 2,
    bins: int = 16,
    half_width: float = 1.0,
    insert: str = "none",
    constrained: bool = True,
    limit: float | None = None,
    dtype: torch.dtype | None = None,
) -> Block:
    """f_act o f_aff o f_conv with kappa s beta = 1 at first: an expansion, then as much contraction (Sec. 3.2).

    Args:
        channels: of the output, C; the convolution makes them of patches of size x size pixels.
        net: makes the networks of the couplings.
        size: k.
        beta: slope of the activation at first, below 1.
        kappa: the convolution is kappa times the identity at first.
        mixture: M of Eq. 15.
        bins: I of the spline.
        half_width: w of the spline at first.
        insert: a name of `INSERTS`, a bounded activation between couplings and spline (Sec. 6.2), or none.
        constrained: scales by Mexican hats and slopes by sigmoids; otherwise both by exponentials, without bounds.
        limit: of the couplings' inverse, as in AffineCoupling.

    Raises:
        UsageError: no scales within their bounds make up for kappa and beta.
    """
    front, log_scale = channels // 2, -math.log(kappa * beta)
    start = kappa * torch.eye(channels, dtype=torch.float64)
    conv = InvertibleConv(channels // size**2, size, start=start, dtype=dtype)
    couplings = dual(channels, front, net, biases(log_scale, mixture) if constrained else log_scale, limit)
    inserted = [INSERTS[insert]()] if insert != "none" else []
    slopes = "sigmoid" if constrained else "exponential"
    return Block(conv, *couplings, *inserted, Spline(channels, beta, half_width, bins, slopes, dtype))


def dual(
    channels: int, front: int, net: NetOf, start: list[float] | float, limit: float | None = None
) -> tuple[AffineCoupling, AffineCoupling]:
    """Two couplings: the entries in front given the others, then the others given these (Eq. 14).

    `start`: the biases b_m of the hats, or the log-scale itself, which then has no bounds.
    """

    def made(passive: int, active: int) -> nn.Module:
        given = start if isinstance(start, list) else [start]
        return net(passive, torch.tensor([*given, 0.0], dtype=torch.float64).repeat_interleave(active))

    back = channels - front
    if isinstance(start, list):
        first = FrontHatCoupling(back, made(back, front), len(start), limit)
        return first, HatCoupling(front, made(front, back), len(start), limit)
    return (
        FrontCoupling(back, made(back, front), limit=limit),
        AffineCoupling(front, made(front, back), limit=limit),
    )
