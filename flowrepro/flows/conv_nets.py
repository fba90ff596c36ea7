"""The convolutional networks inside couplings on images, (B, C, H, W) -> (B, C', H, W)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from flowrepro.flows.nets import glorot_uniform

# Glow's code: scales are e^(3 logs), so that they learn faster than the weights
LOGSCALE_FACTOR = 3.0
GLOW_STD, EPS = 0.05, 1e-6


class Net(nn.Module):
    """With `bf16` training multiplies in bfloat16; evaluation and sampling never do, so that inverses stay exact."""

    bf16 = False

    def forward(self, x: Tensor) -> Tensor:
        if not (self.bf16 and self.training):
            return self.through(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.through(x).to(x.dtype)

    def through(self, x: Tensor) -> Tensor:
        """What the network computes."""
        raise NotImplementedError


class ConvNet(Net, nn.Sequential):
    """3x3 convolution, ReLU, 1x1 convolution, ReLU, 3x3 convolution that starts at zero."""

    def through(self, x: Tensor) -> Tensor:
        first, second, last = self
        z: Tensor = last(second(first(x).relu_()).relu_())
        return z

    def prepared(self) -> "ConvNet":
        """The same network as it is now, with its weights in force computed once; it never multiplies in bfloat16."""
        return ConvNet(*(cast(Conv, layer).prepared() for layer in self))

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Normalise the outputs of the normalised convolutions, given inputs (N, C, H, W)."""
        for layer in list(self)[:-1]:
            if isinstance(layer, NormalisedConv):
                layer.init_from(x)
            x = layer(x).relu_()


class Conv(nn.Module):
    """A convolution by weights (C', C, k, k) that keeps height and width, with a bias that starts at zero."""

    def __init__(self, weight: Tensor, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.to(dtype or torch.get_default_dtype()))
        self.bias = nn.Parameter(self.weight.new_zeros(len(weight)))

    def effective(self) -> tuple[Tensor, Tensor]:
        """Weight and bias in force."""
        return self.weight, self.bias

    @torch.no_grad()
    def prepared(self) -> "Conv":
        """The same convolution as it is now, its weight and bias in force computed once."""
        weight, bias = self.effective()
        plain = Conv(weight.clone(), weight.dtype)
        plain.bias.copy_(bias)
        return plain

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, *self.effective(), padding=self.weight.shape[-1] // 2)


class ScaledConv(Conv):
    """(conv(x) + bias) e^(3 logs) for every output channel, as the last convolution in Glow's networks."""

    def __init__(self, weight: Tensor, dtype: torch.dtype | None = None) -> None:
        super().__init__(weight, dtype)
        self.logs = nn.Parameter(torch.zeros_like(self.bias))

    def effective(self) -> tuple[Tensor, Tensor]:
        # on the weights, of which there are fewer than pixels
        scale = (LOGSCALE_FACTOR * self.logs).exp()
        return self.weight * scale.view(-1, 1, 1, 1), self.bias * scale


class NormalisedConv(ScaledConv):
    """The same, with bias and logs that make the first data zero-mean with unit variance: an ActNorm behind it."""

    def init_from(self, x: Tensor) -> None:
        """Set bias and logs from inputs (N, C, H, W)."""
        values = (
            conv2d(x, self.weight, padding=self.weight.shape[-1] // 2).double().transpose(0, 1).flatten(1)
        )
        self.bias.copy_(-values.mean(1))
        self.logs.copy_(-(values.std(1, correction=0) + EPS).log() / LOGSCALE_FACTOR)


def glow_net(
    width_in: int,
    hidden: int,
    width_out: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> ConvNet:
    """Glow's network: normal weights of std 0.05, normalised by the first data."""

    def normal(*shape: int) -> Tensor:
        return GLOW_STD * torch.randn(*shape, generator=generator, dtype=torch.float64)

    return ConvNet(
        NormalisedConv(normal(hidden, width_in, 3, 3), dtype),
        NormalisedConv(normal(hidden, hidden, 1, 1), dtype),
        ScaledConv(torch.zeros(width_out, hidden, 3, 3), dtype),
    )


def plain_net(
    width_in: int,
    hidden: int,
    width_out: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> ConvNet:
    """The network of across_dimensions' authors: Glorot weights and biases, nothing else."""

    return ConvNet(
        glorot_conv(width_in, hidden, 3, generator, dtype),
        glorot_conv(hidden, hidden, 1, generator, dtype),
        Conv(torch.zeros(width_out, hidden, 3, 3), dtype),
    )


def glorot_conv(
    width_in: int, width_out: int, size: int, generator: torch.Generator | None, dtype: torch.dtype | None
) -> Conv:
    """A convolution with Glorot-uniform weights."""
    fans = size**2 * (width_in + width_out)
    return Conv(glorot_uniform((width_out, width_in, size, size), fans, generator), dtype)


def set_bf16(flow: nn.Module, bf16: bool) -> None:
    """Let all networks of a flow train in bfloat16, or not."""
    for module in flow.modules():
        if isinstance(module, Net):
            module.bf16 = bf16


def to_channels_last(flow: nn.Module) -> None:
    """Lay the weights of 3x3 convolutions out with channels last, as they are fastest; 1x1 ones are as they are."""
    for parameter in flow.parameters():
        if parameter.ndim == 4 and parameter.shape[-1] > 1:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def zero_conv(width_in: int, width_out: int, dtype: torch.dtype | None = None) -> ScaledConv:
    """A single 3x3 convolution that starts at zero: the network of Glow's split prior."""
    return ScaledConv(torch.zeros(width_out, width_in, 3, 3), dtype)
