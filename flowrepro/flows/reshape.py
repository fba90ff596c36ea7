"""Layers that move pixels: squeeze, and the multi-scale arrangement whose latents leave level by level."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flowrepro.flows.convolution import from_patches, patches
from flowrepro.flows.core import Chain, Layer
from flowrepro.flows.coupling import soft_clamp

Shape = tuple[int, int, int]
# e^5 is the ratio of the spread of pixels to that of the dequantisation noise on a black border
PRIOR_LIMIT = 5.0


class Squeeze(Layer):
    """Every 2x2 pixels become four channels, (B, C, H, W) -> (B, 4 C, H/2, W/2), one channel's four together."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return patches(x, 2), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return from_patches(z, 2)


class SplitPrior(nn.Module):
    """What leaves a level is whitened given what stays: z = (x - m) e^-s, with (m, s) from a network of what stays.

    In other words, what leaves has the prior N(m, e^2s), as in Glow.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def moments(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """(m, s) of what leaves."""
        mean, raw = self.net(stays).chunk(2, 1)
        return mean, soft_clamp(raw, PRIOR_LIMIT)

    def whiten(self, leaves: Tensor, stays: Tensor) -> tuple[Tensor, Tensor]:
        """(z, dlogp)."""
        mean, log_std = self.moments(stays)
        return (leaves - mean) * (-log_std).exp(), -log_std.flatten(1).sum(1)

    def colour(self, z: Tensor, stays: Tensor) -> Tensor:
        """What leaves, from its latent."""
        mean, log_std = self.moments(stays)
        return z * log_std.exp() + mean


class NoPrior(nn.Module):
    """What leaves a level is a latent as it is."""

    def whiten(self, leaves: Tensor, stays: Tensor) -> tuple[Tensor, Tensor]:
        """(z, dlogp)."""
        return leaves, leaves.new_zeros(leaves.shape[0])

    def colour(self, z: Tensor, stays: Tensor) -> Tensor:
        """What leaves, from its latent."""
        return z


class MultiScale(Layer):
    """Levels one after another; after each but the last the later channels leave, and the rest goes deeper.

    (B, C, H, W) -> (B, C H W): the latents of all levels in one vector, those that leave first in front.

    Args:
        levels: the chain of each level.
        priors: a SplitPrior or NoPrior for each level but the last.
        latent_shapes: (C, H, W) of what leaves each level; at the last, of all that is left.
    """

    def __init__(
        self, levels: Sequence[Chain], priors: Sequence[nn.Module], latent_shapes: Sequence[Shape]
    ) -> None:
        super().__init__()
        self.levels: Any = nn.ModuleList(levels)
        self.priors: Any = nn.ModuleList(priors)
        self.latent_shapes: list[Shape] = [(c, h, w) for c, h, w in latent_shapes]

    @property
    def data_dependent(self) -> bool:
        return any(level.data_dependent for level in self.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total, latents = x.new_zeros(x.shape[0]), []
        for i, level in enumerate(self.levels):
            x, dlogp = level(x)
            z, x, change = self._leave(i, x)
            latents.append(z.flatten(1))
            total = total + dlogp + change
        return torch.cat(latents, 1), total

    def _leave(self, i: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The latent that leaves after level i, what stays (nothing after the last), and dlogp."""
        stays, leaves = x.tensor_split([x.shape[1] - self.latent_shapes[i][0]], 1)
        if i == len(self.priors):
            return leaves, stays, x.new_zeros(x.shape[0])
        z, dlogp = self.priors[i].whiten(leaves, stays)
        return z, stays, dlogp

    def inverse(self, z: Tensor) -> Tensor:
        latents = self.split(z)
        x = self.levels[-1].inverse(latents[-1])
        for level, prior, latent in zip(
            reversed(self.levels[:-1]), reversed(self.priors), reversed(latents[:-1]), strict=True
        ):
            x = level.inverse(torch.cat([x, prior.colour(latent, x)], 1))
        return x

    def prepared(self) -> "MultiScale":
        return MultiScale([level.prepared() for level in self.levels], self.priors, self.latent_shapes)

    def split(self, z: Tensor) -> list[Tensor]:
        """The latents of the levels (B, C, H, W), taken out of the vector (B, D)."""
        sizes = [c * h * w for c, h, w in self.latent_shapes]
        return [
            part.unflatten(1, shape)
            for part, shape in zip(z.split(sizes, 1), self.latent_shapes, strict=True)
        ]

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        for i, level in enumerate(self.levels):
            level.init_from(x)
            x = self._leave(i, level(x)[0])[1]

    def trace(self, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name, z, dlogp) after every layer of every level, and what leaves after it."""
        for i, level in enumerate(self.levels):
            for name, z, dlogp in level.trace(x):
                yield f"level{i + 1}.{name}", z, dlogp
                x = z
            z, x, dlogp = self._leave(i, x)
            yield f"level{i + 1}.leaves", z, dlogp


def latent_shapes(shape: Shape, levels: int, share: float = 1 / 2) -> list[Shape]:
    """(C, H, W) of what leaves each level, where each begins with a squeeze, and this share of its channels leaves.

    >>> latent_shapes((3, 32, 32), 3)
    [(6, 16, 16), (12, 8, 8), (48, 4, 4)]
    >>> latent_shapes((3, 32, 32), 3, share=3 / 4)
    [(9, 16, 16), (9, 8, 8), (12, 4, 4)]
    """
    (channels, height, width), found = shape, []
    for level in range(levels):
        channels, height, width = 4 * channels, height // 2, width // 2
        leaves = round(share * channels) if level < levels - 1 else channels
        found.append((leaves, height, width))
        channels -= leaves
    return found
