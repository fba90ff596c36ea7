"""How a caller's images are laid out, and how a flow takes them: (C, H, W), with the black border of some sizes."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """The shape of one image as a caller gave it, (H, W, C), (C, H, W) or (H, W), beside that of the flow, (C, H, W)."""

    given: tuple[int, ...]
    flow: tuple[int, ...]

    def to_flow(self, x: np.ndarray) -> np.ndarray:
        """Images in the caller's layout, one or more, as (..., C, H, W) with border; others as they are."""
        if x.shape[-len(self.given) :] != self.given or self.given == self.flow:
            return x
        images = x[..., None, :, :] if len(self.given) == 2 else np.moveaxis(x, -1, -3) if self._last else x
        edge = (self._border, self._border)
        return np.pad(images, [(0, 0)] * (images.ndim - 2) + [edge, edge])

    def from_flow(self, x: np.ndarray) -> np.ndarray:
        """Images (N, C, H, W) of the flow in the caller's layout, without border."""
        inner = slice(self._border, x.shape[-1] - self._border)
        images = x[..., inner, inner] if self._border else x
        if len(self.given) == 2:
            return images[..., 0, :, :]
        return np.moveaxis(images, -3, -1) if self._last else images

    @property
    def _last(self) -> bool:
        """Whether the channels are the last axis."""
        return len(self.given) == 3 and self.given[0] != self.flow[0]

    @property
    def _border(self) -> int:
        width = self.given[-2] if self._last else self.given[-1]
        return (self.flow[-1] - width) // 2
