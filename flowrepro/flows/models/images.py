"""The models on images: a registry from a config's name to a builder. Every model begins by rescaling grey levels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from flowrepro.config.schema import GlowConfig, NFConfig, RealNVPConfig
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


def build_images(
    config: Any, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> Flow:
    """The untrained flow of a model config on images (C, H, W), its randomness from `generator` (on the CPU).

    Layers that want training images get them afterwards by `flow.init_from(x)`.

    Raises:
        UsageError: unknown model, or images that cannot be halved as often as the model has levels.
    """
    if config.name not in IMAGE_MODELS:
        raise UsageError(f"model={config.name} takes no images; known: {', '.join(IMAGE_MODELS)}")
    channels, height, width = shape
    if height % 2**config.levels or width % 2**config.levels:
        raise UsageError(f"model.levels={config.levels}: {height}x{width} images cannot be halved so often")
    layers = IMAGE_MODELS[config.name](config, shape, grey_levels, generator, dtype)
    return Flow(Chain(*layers), StandardNormal(channels * height * width, dtype))


def glow(
    config: GlowConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> list[Layer]:
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

    return [
        Rescale(grey_levels, 0.5),
        multi_scale(shape, config.levels, lambda c: repeated(step, config.steps, c), prior),
    ]


def nf(
    config: NFConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> list[Layer]:
    """The baseline NF of across_dimensions; the half that its last coupling leaves unchanged leaves a level."""

    def step(channels: int) -> list[Layer]:
        passive, active = channels // 2, channels - channels // 2
        conv = InvertibleConv(channels, matrix=config.conv, generator=generator, dtype=dtype)
        net = plain_net(passive, config.hidden, 2 * active, generator, dtype)
        return [NormedConv(ActNorm(channels, dtype=dtype), conv), AffineCoupling(passive, net, "tanh", LIMIT)]

    def level(channels: int) -> list[Layer]:
        swap = Permutation(torch.arange(channels).roll(channels // 2))
        return [*repeated(step, config.steps, channels), swap]

    return [Rescale(grey_levels), Logit(config.margin), multi_scale(shape, config.levels, level)]


def realnvp(
    config: RealNVPConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> list[Layer]:
    """RealNVP at several scales: channel-wise couplings with permutations, ActNorm in the place of batch norm."""

    def step(channels: int) -> list[Layer]:
        passive, active = channels // 2, channels - channels // 2
        net = plain_net(passive, config.hidden[0], 2 * active, generator, dtype)
        norm: list[Layer] = [ActNorm(channels, dtype=dtype)] if config.batch_norm else []
        coupling = AffineCoupling(passive, net, config.scale, LIMIT)
        return [*norm, Permutation.random(channels, generator), coupling]

    return [
        Rescale(grey_levels, 0.5),
        multi_scale(shape, config.levels, lambda c: repeated(step, config.layers, c)),
    ]


def repeated(step: Callable[[int], list[Layer]], times: int, channels: int) -> list[Layer]:
    """The layers of so many steps of flow, one after the other."""
    return [layer for _ in range(times) for layer in step(channels)]


def multi_scale(
    shape: Shape,
    levels: int,
    level: Callable[[int], list[Layer]],
    prior: Callable[[int, int], nn.Module] = lambda stays, leaves: NoPrior(),
) -> MultiScale:
    """So many levels of [squeeze, level(channels)]; after each but the last half of the channels leave.

    Args:
        level: the layers of a level on so many channels.
        prior: of what leaves a level, from the numbers of channels that stay and leave.
    """
    shapes = latent_shapes(shape, levels)
    channels = [2 * leaves for leaves, _, _ in shapes[:-1]] + [shapes[-1][0]]
    chains = [Chain(Squeeze(), *level(c)) for c in channels]
    return MultiScale(chains, [prior(leaves, leaves) for leaves, _, _ in shapes[:-1]], shapes)


IMAGE_MODELS: dict[str, Callable[..., list[Layer]]] = {"glow": glow, "nf": nf, "realnvp": realnvp}
