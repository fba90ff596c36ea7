"""The models on images: Glow, the NF of across_dimensions, RealNVP. All begin by rescaling grey levels."""

import math
from collections.abc import Callable

import torch
from torch import nn

from flowrepro.config.schema import GlowConfig, NFConfig, RealNVPImagesConfig
from flowrepro.errors import UsageError
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.conv_nets import glow_net, plain_net, zero_conv
from flowrepro.flows.convolution import InvertibleConv, NormedConv
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AdditiveCoupling, AffineCoupling, GlowCoupling
from flowrepro.flows.linear import Permutation
from flowrepro.flows.norm import ActNorm
from flowrepro.flows.preprocess import Logit, Rescale
from flowrepro.flows.reshape import MultiScale, NoPrior, Shape, SplitPrior, Squeeze, latent_shapes

# activations are of the order of one: only samples that run away come here
LIMIT = 1e8


def glow(
    config: GlowConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> Flow:
    """Glow as in its code, without the channel that marks the border of an image there."""
    affine = config.coupling == "affine"

    def step(channels: int) -> list[Layer]:
        passive, active = channels // 2, channels - channels // 2
        conv = InvertibleConv(channels, matrix=config.conv, generator=generator, dtype=dtype)
        net = glow_net(passive, config.hidden, (1 + affine) * active, generator, dtype)
        coupling_type, scale = (GlowCoupling, "sigmoid") if affine else (AdditiveCoupling, "exponential")
        coupling = coupling_type(passive, net, scale, LIMIT)
        return [NormedConv(ActNorm(channels, factor=3.0, dtype=dtype), conv), coupling]

    def prior(stays: int, leaves: int) -> nn.Module:
        return SplitPrior(zero_conv(stays, 2 * leaves, dtype)) if config.split_prior else NoPrior()

    levels = multi_scale(shape, config.levels, lambda c: repeated(step, config.steps, c), prior)
    return normal_flow(shape, dtype, Rescale(grey_levels, 0.5), levels)


def nf(
    config: NFConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> Flow:
    """The baseline NF of across_dimensions: its layers on a standard normal."""
    return normal_flow(shape, dtype, *nf_layers(config, shape, grey_levels, generator, dtype))


def nf_layers(
    config: NFConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> list[Layer]:
    """The NF of across_dimensions; the half that its last coupling leaves unchanged leaves a level."""

    def step(channels: int) -> list[Layer]:
        passive, active = channels // 2, channels - channels // 2
        conv = InvertibleConv(channels, matrix=config.conv, generator=generator, dtype=dtype)
        net = plain_net(passive, config.hidden, 2 * active, generator, dtype)
        return [NormedConv(ActNorm(channels, dtype=dtype), conv), AffineCoupling(passive, net, "tanh", LIMIT)]

    def level(channels: int) -> list[Layer]:
        swap = Permutation(torch.arange(channels).roll(channels // 2))
        return [*repeated(step, config.steps, channels), swap]

    levels = multi_scale(shape, config.levels, level)
    return [Rescale(grey_levels), Logit(config.margin), levels]


def realnvp_images(
    config: RealNVPImagesConfig,
    shape: Shape,
    grey_levels: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Flow:
    """RealNVP at several scales: channel-wise couplings with permutations, ActNorm in the place of batch norm."""

    def step(channels: int) -> list[Layer]:
        passive, active = channels // 2, channels - channels // 2
        net = plain_net(passive, config.hidden, 2 * active, generator, dtype)
        norm: list[Layer] = [ActNorm(channels, dtype=dtype)] if config.act_norm else []
        coupling = AffineCoupling(passive, net, config.scale, LIMIT)
        return [*norm, Permutation.random(channels, generator), coupling]

    levels = multi_scale(shape, config.levels, lambda c: repeated(step, config.steps, c))
    return normal_flow(shape, dtype, Rescale(grey_levels, 0.5), levels)


def normal_flow(shape: Shape, dtype: torch.dtype, *layers: Layer) -> Flow:
    """The flow of these layers on a standard normal."""
    return Flow(Chain(*layers), StandardNormal(math.prod(shape), dtype), shape)


def repeated(step: Callable[[int], list[Layer]], times: int, channels: int) -> list[Layer]:
    """The layers of this many steps of flow, one after another."""
    return [layer for _ in range(times) for layer in step(channels)]


def multi_scale(
    shape: Shape,
    levels: int,
    level: Callable[[int], list[Layer]],
    prior: Callable[[int, int], nn.Module] = lambda stays, leaves: NoPrior(),
    share: float = 1 / 2,
) -> MultiScale:
    """`levels` levels of [squeeze, level(channels)], as in `levels_of`; `level` gives the layers behind a squeeze."""
    return levels_of(shape, levels, lambda channels: Chain(Squeeze(), *level(channels)), prior, share)


def levels_of(
    shape: Shape,
    levels: int,
    level: Callable[[int], Chain],
    prior: Callable[[int, int], nn.Module],
    share: float,
) -> MultiScale:
    """Levels that each make four channels of every 2x2 pixels; after each but the last a share of the channels leaves.

    Args:
        level: the whole of a level, by the number of channels that it makes.
        prior: of what leaves a level, from the numbers of channels that stay and leave.
        share: 1/2 (Glow) or 3/4 (jacobian_determinant on large images).

    Raises:
        UsageError: the images cannot be halved that often, or no channel would leave or stay.
    """
    _, height, width = shape
    if height % 2**levels or width % 2**levels:
        raise UsageError(f"model.levels={levels}: {height}x{width} images cannot be halved {levels} times")
    shapes = latent_shapes(shape, levels, share)
    entering = [4 * shape[0]]
    for leaves, _, _ in shapes[:-1]:
        entering.append(4 * (entering[-1] - leaves))
    if any(not 0 < leaves < c for c, (leaves, _, _) in zip(entering, shapes[:-1], strict=False)):
        raise UsageError(f"model.share={share} leaves a level without channels")
    chains = [level(channels) for channels in entering]
    priors = [prior(c - leaves, leaves) for c, (leaves, _, _) in zip(entering, shapes[:-1], strict=False)]
    return MultiScale(chains, priors, shapes)
