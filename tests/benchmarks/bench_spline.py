"""A rational-quadratic spline of 16 bins on every channel: forward and backward, inverse and memory beside three libraries.

All learn the knots of every channel and have linear tails. zuko broadcasts the knots of a channel over its pixels, nflows
and normflows take those of every element. Times hardly depend on where the knots are, and each has its own.
"""

from collections.abc import Callable

import torch
from timing import DEVICE, Row, compare, megabytes_of, pin
from torch import Tensor, nn

from flowrepro.flows.spline import Spline

DEVICES = ("cpu", "cuda")
BINS, CHANNELS = 16, 48
# batch and side
SHAPES = [(32, 8), (32, 16), (128, 16)]
# beyond the first shapes their step takes seconds
REPEATS = {(32, 8): 9, (32, 16): 7, (128, 16): 5}


def rows() -> list[Row]:
    """Every comparison, for each shape, and the memory of the largest."""
    pin()
    return [row for shape in SHAPES for row in side_by_side(*shape)] + memory()


def data(batch: int, side: int) -> Tensor:
    """A batch of which one element in 20 lies outside the box."""
    x = 0.5 * torch.randn(batch, CHANNELS, side, side, generator=torch.Generator().manual_seed(0))
    return x.to(DEVICE)


def side_by_side(batch: int, side: int) -> list[Row]:
    """Forward and backward, and the inverse."""
    x, size = data(batch, side), f"spline {batch}x{CHANNELS}x{side}x{side}"
    made = {name: make().to(DEVICE) for name, make in CONTENDERS.items()}
    steps = {name: both_ways(one, x) for name, one in made.items()}
    inverses = {name: torch.no_grad()(lambda one=one: one.inverse(x)) for name, one in made.items()}
    repeats = REPEATS[batch, side]
    found = compare(f"{size}, forward and backward", steps.pop("ours"), steps, repeats)
    last = x.contiguous(memory_format=torch.channels_last)
    found += compare(
        f"{size}, channels last",
        both_ways(made["ours"], last),
        {"channels first": both_ways(made["ours"], x)},
        repeats,
    )
    return found + compare(f"{size}, inverse", inverses.pop("ours"), inverses, repeats)


def both_ways(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """A loss of values and log-determinants, and its gradient in x and the parameters."""
    x = x.detach().requires_grad_()

    def run() -> None:
        model.zero_grad(set_to_none=True)
        x.grad = None
        z, dlogp = model(x)
        (z.sum() - dlogp.sum()).backward()

    return run


def ours() -> nn.Module:
    return Spline(CHANNELS, bins=BINS)


class Peer(nn.Module):
    """A library's spline with the parameters of its knots."""

    def __init__(self) -> None:
        super().__init__()
        counts = (BINS, BINS, BINS - 1)
        self.parts = nn.ParameterList(nn.Parameter(0.1 * torch.randn(CHANNELS, 1, 1, n)) for n in counts)


class Zuko(Peer):
    def transform(self) -> object:
        import zuko

        return zuko.transforms.MonotonicRQSTransform(*self.parts, bound=1.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transform().call_and_ladj(x)
        return z, log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return self.transform().inv(z)


class Nflows(Peer):
    def spline(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        from nflows.transforms.splines import unconstrained_rational_quadratic_spline

        parts = [part.expand(*x.shape, -1) for part in self.parts]
        return unconstrained_rational_quadratic_spline(x, *parts, inverse, tail_bound=1.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = self.spline(x, False)
        return z, log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return self.spline(z, True)[0]


class Normflows(Nflows):
    def spline(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        from normflows.utils.splines import unconstrained_rational_quadratic_spline

        parts = [part.expand(*x.shape, -1) for part in self.parts]
        return unconstrained_rational_quadratic_spline(x, *parts, inverse, tail_bound=1.0)


CONTENDERS: dict[str, Callable[[], nn.Module]] = {
    "ours": ours,
    "zuko": Zuko,
    "nflows": Nflows,
    "normflows": Normflows,
}


def memory() -> list[Row]:
    """MB that forward and backward add at the largest shape; "ms" is MB in these rows."""
    size = "x".join(map(str, data(*SHAPES[-1]).shape))
    added = {name: grown(name) for name in CONTENDERS}
    return [
        {
            "workload": f"spline {size}, MB of memory, forward and backward",
            "ours_ms": added["ours"],
            "peer": peer,
            "peer_ms": added[peer],
            "ratio": added[peer] / added["ours"],
            "spread": float("nan"),
        }
        for peer in CONTENDERS
        if peer != "ours"
    ]


def grown(name: str) -> float:
    """By how many MB tensors grow in forward and backward."""
    model, batch = CONTENDERS[name]().to(DEVICE), data(*SHAPES[-1])
    return megabytes_of(both_ways(model, batch))
