"""The quasi-linear flow of jacobian_determinant, on images and on vectors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from flowrepro.config.schema import BlocksConfig, QLFConfig, QLFVectorsConfig
from flowrepro.flows.conv_nets import plain_net, zero_conv
from flowrepro.flows.core import Chain, Flow
from flowrepro.flows.models.images import LIMIT, levels_of, normal_flow
from flowrepro.flows.models.vectors import centred_flow, passive_dims
from flowrepro.flows.nets import mlp
from flowrepro.flows.preprocess import Rescale
from flowrepro.flows.quasilinear import Block, NetOf, block
from flowrepro.flows.reshape import NoPrior, Shape, SplitPrior
from flowrepro.flows.residual_net import ResNet

# name -> (config, width_in, width_out, generator, dtype) -> a network whose last layer starts at zero
NETS: dict[str, Callable[..., nn.Module]] = {
    "resnet": lambda config, width_in, width_out, generator, dtype: ResNet(
        width_in, config.hidden, width_out, config.bottleneck, config.squeezed, generator, dtype
    ),
    "convnet": lambda config, width_in, width_out, generator, dtype: plain_net(
        width_in, config.hidden, width_out, generator, dtype
    ),
}


def qlf(
    config: QLFConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> Flow:
    """Levels of blocks, each of which begins with a 2x2 convolution in the place of a squeeze (Sec. 4.2, App. C)."""

    def net(width_in: int, biases: Tensor) -> nn.Module:
        return starting_at(NETS[config.net](config, width_in, len(biases), generator, dtype), biases)

    def level(channels: int) -> Chain:
        return Chain(*blocks(config, config.steps, channels, net, dtype, first=2, limit=LIMIT))

    def prior(stays: int, leaves: int) -> nn.Module:
        return SplitPrior(zero_conv(stays, 2 * leaves, dtype)) if config.split_prior else NoPrior()

    levels = levels_of(shape, config.levels, level, prior, config.share)
    return normal_flow(shape, dtype, Rescale(grey_levels, 0.5), levels)


def qlf_vectors(
    config: QLFVectorsConfig,
    shape: tuple[int],
    grey_levels: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Flow:
    """Blocks with a matrix in the place of the convolution, on standardised data (Figs. 3 and 7)."""
    (dim,) = shape
    passive_dims(0, dim)

    def net(width_in: int, biases: Tensor) -> nn.Module:
        sizes = [width_in, *config.hidden, len(biases)]
        return starting_at(mlp(sizes, generator, zero_last=True, dtype=dtype), biases)

    return centred_flow(shape, dtype, config.standardize, *blocks(config, config.layers, dim, net, dtype))


def blocks(
    config: BlocksConfig,
    count: int,
    channels: int,
    net: NetOf,
    dtype: torch.dtype,
    first: int = 1,
    **more: Any,
) -> list[Block]:
    """So many blocks, the first with patches of `first` pixels; none inserts a bounded activation at the end.

    There it would bound the latents themselves.
    """
    keys = ("beta", "kappa", "mixture", "bins", "half_width", "constrained")
    common = {key: getattr(config, key) for key in keys} | more | {"dtype": dtype}
    return [
        block(
            channels,
            net,
            size=first if i == 0 else 1,
            insert=config.insert if i < count - 1 else "none",
            **common,
        )
        for i in range(count)
    ]


@torch.no_grad()
def starting_at(net: nn.Module, biases: Tensor) -> nn.Module:
    """The network with these biases in its last layer."""
    last: Any = list(net.children())[-1]
    last.bias.copy_(biases)
    return net
