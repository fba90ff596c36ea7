"""What every feature network is: bytes of images in, one vector of features an image out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

BATCH = 32


class FeatureNetwork(nn.Module):
    """Features of images, with what a number made of them must say.

    Args:
        name: `inception`, `lite0` or `classifier`: with it distances are labelled.
        body: colour images (n, 3, H, W) of uint8 to features (n, num_features); never trained further.
        num_features: d.
        sha256: of the file of its weights.
        resize: how images are brought to its size, in words.
        about: what else is known about it, such as its accuracy.
    """

    def __init__(
        self,
        name: str,
        body: nn.Module,
        num_features: int,
        sha256: str,
        resize: str,
        about: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.num_features, self.sha256, self.resize = name, num_features, sha256, resize
        self.about = about or {}
        self.body = body.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, d) of colour images (n, 3, H, W) of uint8: what torchmetrics asks of its `feature=`."""
        return self.body(images)

    @torch.inference_mode()
    def features(self, images: np.ndarray | Tensor, batch_size: int = BATCH, device: str = "cpu") -> Tensor:
        """Features (n, d) float32, on the CPU, of images (n, H, W, C) of uint8; grey ones (C = 1) become colour."""
        network = self.to(device)
        return torch.cat(
            [
                network(colour(part).to(device)).float().cpu()
                for part in torch.as_tensor(images).split(batch_size)
            ]
        )


class Standardised(nn.Module):
    """Bytes (n, 3, H, W) to (x - mean) / std at side x side pixels, bilinear without antialias.

    Antialiasing would hide the noise of samples: published distances are without.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, side: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    @property
    def told(self) -> str:
        """The resizing in words."""
        return f"bilinear to {self.side}x{self.side}, no antialias"

    def forward(self, images: Tensor) -> Tensor:
        size = (self.side, self.side)
        x = interpolate(images.float(), size, mode="bilinear", align_corners=False, antialias=False)
        # the layout in which small convolutions are fastest on CPUs
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def colour(images: Tensor) -> Tensor:
    """Images (n, H, W, C) as (n, 3, H, W); the one channel of grey images is repeated.

    Raises:
        ValueError: they are not uint8, or have neither one nor three channels.
    """
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images are (n, H, W, 1 or 3) of uint8, not {tuple(images.shape)} of {images.dtype}"
        )
    return images.permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
