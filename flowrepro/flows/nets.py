"""The networks inside couplings."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


def mlp(
    sizes: Sequence[int],
    generator: torch.Generator | None = None,
    activation: str = "relu",
    zero_last: bool = False,
    dtype: torch.dtype | None = None,
    init: str = "glorot",
    first: float = 1.0,
) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between them, (B, sizes[0]) -> (B, sizes[-1]).

    `init` glorot: weights are Glorot-uniform and biases zero, as in the TensorFlow code of linear_systems; fan_in:
    torch's own, which spreads the kinks of the first layer, and `first` multiplies its weights and biases. `zero_last` makes
    the output zero at first.
    """
    layers: list[nn.Module] = []
    for i, (width_in, width_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers += [ACTIVATIONS[activation]()] if i else []
        layers.append(INITS[init](width_in, width_out, generator, dtype))
    if first != 1.0:
        with torch.no_grad():
            for parameter in layers[0].parameters():
                parameter.mul_(first)
    if zero_last:
        nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def linear(
    width_in: int, width_out: int, generator: torch.Generator | None, dtype: torch.dtype | None
) -> nn.Linear:
    """A linear layer with Glorot-uniform weights and zero bias, drawn in float64 from the generator."""
    # torch would initialise from its global generator first
    layer = nn.utils.skip_init(nn.Linear, width_in, width_out, dtype=dtype or torch.get_default_dtype())
    with torch.no_grad():
        layer.weight.copy_(glorot_uniform((width_out, width_in), width_in + width_out, generator))
        layer.bias.zero_()
    return layer


def fan_in_linear(
    width_in: int, width_out: int, generator: torch.Generator | None, dtype: torch.dtype | None
) -> nn.Linear:
    """A linear layer with weights and biases uniform on +-1 / sqrt(width_in), drawn in float64."""
    layer = nn.utils.skip_init(nn.Linear, width_in, width_out, dtype=dtype or torch.get_default_dtype())
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            unit = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((2 * unit - 1) / math.sqrt(width_in))
    return layer


INITS = {"glorot": linear, "fan_in": fan_in_linear}


class Scaled(nn.Module):
    """The input times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def glorot_uniform(shape: tuple[int, ...], fans: int, generator: torch.Generator | None) -> Tensor:
    """Uniform on +-sqrt(6 / fans), in float64; `fans` is the sum of fan-in and fan-out."""
    return (2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1) * math.sqrt(6 / fans)
