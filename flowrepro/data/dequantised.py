"""Images for image flows: grey levels q with uniform noise, x = q + u with u in [0, 1)."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from flowrepro.randomness import stream

# float32 rounds 255 + u up to 256 if u is closer to 1 than this
BELOW_ONE = 1 - 2**-16


class Images:
    """Dequantised images (N, C, H, W), computed on access.

    The noise of an image is a function of (seed, split, draw, image): the same in any batch, and different for each
    draw. Training uses draw 1 + epoch; slices use the fixed draw 0.

    Args:
        pixels: (N, H, W, C) uint8 grey levels.
        levels: the number of grey levels, after merging every `step` of them (2^(8 - bits)).
        border: black pixels added on every side, dequantised like the others.
    """

    def __init__(
        self,
        pixels: Tensor,
        levels: int = 256,
        step: int = 1,
        border: int = 0,
        seed: int = 0,
        split: str = "train",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.pixels, self.levels, self.step, self.border = pixels, levels, step, border
        self.seed, self.name, self.dtype = seed, split, dtype

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) of the dequantised images, including their border."""
        n, height, width, channels = self.pixels.shape
        return n, channels, height + 2 * self.border, width + 2 * self.border

    def take(self, indices: Tensor, draw: int) -> Tensor:
        """The images of these indices (B, C, H, W) with the noise of a draw, channels last in memory."""
        grey = pad(self.pixels[indices] // self.step, (0, 0, *4 * [self.border]))
        x = torch.stack([self._noise(grey.shape[1:], draw, i) for i in indices.tolist()]).add_(grey)
        return x.permute(0, 3, 1, 2)

    def _noise(self, shape: torch.Size, draw: int, image: int) -> Tensor:
        generator = torch.Generator().manual_seed(stream(self.seed, "noise", self.name, draw, image))
        return torch.rand(shape, generator=generator, dtype=self.dtype).mul_(BELOW_ONE)

    def __getitem__(self, key: slice) -> Tensor:
        """These images with the fixed noise."""
        return self.take(torch.arange(len(self))[key], draw=0)

    def split(self, size: int, draw: int = 0) -> Iterator[Tensor]:
        """All images in batches of `size`, with the noise of a draw."""
        for indices in torch.arange(len(self)).split(size):
            yield self.take(indices, draw)

    def first(self, n: int | None) -> "Images":
        """The first n of them (all of them for None), with the same noise."""
        kept = self.pixels[:n]
        return Images(kept, self.levels, self.step, self.border, self.seed, self.name, self.dtype)

    def interior(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) without the border, as (B, H, W, C)."""
        inner = x[..., self.border : x.shape[-2] - self.border, self.border : x.shape[-1] - self.border]
        return inner.permute(0, 2, 3, 1)
