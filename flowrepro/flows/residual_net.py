"""The residual network with channel-wise attention inside couplings (jacobian_determinant App. C)."""

import torch
from torch import Tensor, nn

from flowrepro.flows.conv_nets import Conv, Net, glorot_conv


class Attention(nn.Module):
    """Every channel times a factor between 0 and 1, from the means of all (squeeze and excitation, Hu et al. 2018)."""

    def __init__(
        self, channels: int, squeezed: int, generator: torch.Generator | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.squeeze = glorot_conv(channels, squeezed, 1, generator, dtype)
        self.excite = glorot_conv(squeezed, channels, 1, generator, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class ResNet(Net):
    """3x3 convolution, a bottleneck 1x1, 3x3, 1x1 with attention around which x passes, 1x1, attention, 1x1 from zero.

    Args:
        bottleneck: channels inside it.
        squeezed: channels inside the attentions.
    """

    def __init__(
        self,
        width_in: int,
        hidden: int,
        width_out: int,
        bottleneck: int,
        squeezed: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()

        def conv(width_in: int, width_out: int, size: int) -> Conv:
            return glorot_conv(width_in, width_out, size, generator, dtype)

        self.first = conv(width_in, hidden, 3)
        self.down, self.inner = conv(hidden, bottleneck, 1), conv(bottleneck, bottleneck, 3)
        self.up, self.gate = conv(bottleneck, hidden, 1), Attention(hidden, squeezed, generator, dtype)
        self.mix, self.outer_gate = conv(hidden, hidden, 1), Attention(hidden, squeezed, generator, dtype)
        self.last = Conv(torch.zeros(width_out, hidden, 1, 1), dtype)

    def through(self, x: Tensor) -> Tensor:
        x = self.first(x).relu_()
        inside = self.gate(self.up(self.inner(self.down(x).relu_()).relu_()))
        z: Tensor = self.last(self.outer_gate(self.mix((x + inside).relu_()).relu_()))
        return z
