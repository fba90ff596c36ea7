"""Chains that store few activations for the backward pass: they recompute them, or recover them by inversion."""

from collections.abc import Iterator
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from flowrepro.errors import UsageError
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.quasilinear import Block
from flowrepro.flows.reshape import MultiScale
from flowrepro.metrics.inverse import exact, round_trip


class Checkpointed(Chain):
    """The same chain; only the input of each layer is stored, the rest is recomputed in the backward pass."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[0])
        for layer in self:
            # nothing in a layer is random
            x, dlogp = checkpoint(layer, x, use_reentrant=False, preserve_rng_state=False)
            total = total + dlogp
        return x, total


class Inverted(Chain):
    """The same chain; only its output is stored, and the backward pass inverts layer by layer.

    Memory does not grow with the number of layers. Inverses must be exact up to rounding: only float32 and float64.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, dlogp = _Inversion.apply(self, x, *self.parameters())
        return z, dlogp


class _Inversion(torch.autograd.Function):
    """z and dlogp of a chain, with gradients in x and the parameters."""

    @staticmethod
    def forward(ctx: Any, chain: Chain, x: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        z, dlogp = Chain.forward(chain, x)
        ctx.chain = chain
        ctx.save_for_backward(z)
        return z, dlogp

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        (z,), (grad, grad_dlogp) = ctx.saved_tensors, given
        found: dict[nn.Parameter, Tensor] = {}
        for layer in reversed(list(layers_of(ctx.chain))):
            parts, again, dlogp = retrace(layer, z)
            trained = [p for p in layer.parameters() if p.requires_grad]
            # dlogp of a fixed layer has no graph
            outputs, grads = [again], [grad]
            if dlogp.requires_grad:
                outputs, grads = [again, dlogp], [grad, grad_dlogp]
            gradients = torch.autograd.grad(outputs, [*parts, *trained], grads, allow_unused=True)
            found |= {p: g for p, g in zip(trained, gradients[len(parts) :], strict=True) if g is not None}
            grad = torch.cat(gradients[: len(parts)], 1)
            z = torch.cat([part.detach() for part in parts], 1)
        return None, grad, *[found.get(p) for p in ctx.chain.parameters()]


def layers_of(chain: Chain) -> Iterator[Layer]:
    """The layers of a chain, and one by one those of its blocks."""
    for layer in chain:
        yield from layers_of(layer) if isinstance(layer, Block) else [layer]


@singledispatch
def retrace(layer: Layer, z: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """(parts, z, dlogp): x recovered from z, and a graph from it to z and dlogp for the backward pass.

    The parts of x, concatenated along dimension 1, are the leaves of the graph. By default a layer is inverted and
    applied again; a type of layer with a cheaper way registers it here.
    """
    with torch.no_grad():
        x = layer.inverse(z).detach()
    x.requires_grad_()
    with torch.enable_grad():
        z, dlogp = layer(x)
    return (x,), z, dlogp


@retrace.register
def _(layer: AffineCoupling, z: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    # the passive part gives (s, t) only once, for both the inverse and the graph
    passive, active = layer.parts(z.detach())
    passive.requires_grad_()
    with torch.enable_grad():
        s, t = layer.scale_and_shift(passive)
    with torch.no_grad():
        active = layer.bounded(active, s, t)
    active.requires_grad_()
    with torch.enable_grad():
        z = torch.cat(layer.ordered(passive, layer.transform(active, s, t)), 1)
        return layer.ordered(passive, active), z, s.flatten(1).sum(1)


def inexact(flow: Flow, x: Tensor, levels: int, size: int) -> str:
    """A warning where images x (n, C, H, W) do not come back exactly enough for gradients by inversion, else nothing."""
    found = round_trip(flow, x, size)
    if exact(found, levels):
        return ""
    return (
        f"warning: gradients of training.backward=invert are wrong: images come back with an error of "
        f"{found['max']:.2g} of {levels} grey levels, {found['lost']:.0%} of them not finite; "
        "use training.backward=checkpoint"
    )


BACKWARDS = {"plain": Chain, "checkpoint": Checkpointed, "invert": Inverted}


def set_backward(flow: Flow, how: str) -> None:
    """Make the levels of an image flow compute gradients by a method of `BACKWARDS`; the layers stay the same.

    Raises:
        UsageError: the flow has no levels.
    """
    if how == "plain":
        return
    scales = [layer for layer in flow.chain if isinstance(layer, MultiScale)]
    if not scales:
        raise UsageError(
            f"training.backward={how} is for image flows with several levels; this model has none"
        )
    for layer in scales:
        layer.levels = nn.ModuleList([BACKWARDS[how](*level) for level in layer.levels])
