"""What each level of a multi-scale flow knows of an image: its latents are replaced by noise, level by level."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.flows.reshape import MultiScale
from flowrepro.measures.image_flow import in_batches, pixels
from flowrepro.randomness import generator

# images are compared at an eighth of their size too, where single pixels no longer count
COARSE = 8


@torch.no_grad()
def measure(
    flow: Flow,
    data: ImageData,
    n: int,
    n_measured: int,
    temperature: float,
    side: int = 64,
    size: int = 16,
    seed: int = 0,
) -> dict[str, Any]:
    """n_measured held-out images with the latents of some of the L levels drawn anew, those that leave first in level 1.

    Args:
        n: images that are shown, at `side` pixels.
        temperature: of what is drawn.
        size: images at once.

    Returns:
        `originals` (n, H, W, C) as bytes; `kept_first` and `redrawn_first` (n, L, H, W, C): the first k levels kept and
        the others drawn, or the other way round. Sums of squared differences of pixels in [0, 1] from the image itself,
        means over images, (L,): `kept_first_distance` and `redrawn_first_distance`; `alone_distance`, one level drawn;
        `pixels_distance`, as many random pixels drawn as that level has dimensions; `..._coarse`, the same of images at
        an eighth of their size, times 64, the pixels that a coarse one stands for. `level_dims` (L,). `kept_error`:
        the largest difference from an image of which nothing is drawn, in grey levels.
    """
    device = device_of(flow)
    x = data.val[:n_measured].to(device)
    z, noise = in_batches(flow.latents, x, size), generator(seed, "level resampling", device=device)
    drawn, mixed = flow.base.sample(len(x), temperature, 1.0, noise), of_levels(flow)
    dims = [int(mask.sum()) for mask in mixed]
    ready = flow.prepared().chain

    def images_of(redrawn: Iterable[Tensor]) -> Tensor:
        """(L, n_measured, C, H, W)."""
        return torch.stack(
            [in_batches(ready.inverse, torch.where(mask, drawn, z), size).cpu() for mask in redrawn]
        )

    first = torch.stack(mixed).cumsum(0).bool()
    made = {
        "kept_first": images_of(~first),
        "redrawn_first": images_of(first),
        "alone": images_of(mixed),
        "pixels": torch.stack([random_pixels(x.cpu(), k, temperature, seed) for k in dims]),
    }
    again, x = in_batches(ready.inverse, z, size).cpu(), x.cpu()
    shown = {name: small(data.val, made[name][:, :n], side) for name in ("kept_first", "redrawn_first")}
    return {
        "source": data.source,
        "levels": len(dims),
        "resampled_at": temperature,
        "level_dims": torch.tensor(dims),
        "originals": small(data.val, x[None, :n], side)[:, 0],
        **shown,
        **{f"{name}_distance": distances(data.val, images, x, 1) for name, images in made.items()},
        **{f"{name}_coarse": distances(data.val, images, x, COARSE) for name, images in made.items()},
        "kept_error": float((again - x).abs().max()),
    }


def of_levels(flow: Flow) -> list[Tensor]:
    """Which of the latents (D,) leave each level of the flow's multi-scale layer, as masks."""
    (layer,) = (layer for layer in flow.chain if isinstance(layer, MultiScale))
    sizes = torch.tensor([c * h * w for c, h, w in layer.latent_shapes], device=device_of(flow))
    level = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    return [level == k for k in range(len(sizes))]


def random_pixels(x: Tensor, count: int, temperature: float, seed: int) -> Tensor:
    """Images x (B, C, H, W) with `count` of their values, anywhere, drawn from the normal distribution of all values."""
    source = generator(seed, "random pixels", count)
    chosen = torch.randperm(x[0].numel(), generator=source)[:count]
    noise = torch.randn(len(x), count, generator=source, dtype=x.dtype)
    return x.flatten(1).index_copy(1, chosen, x.mean() + temperature * x.std() * noise).reshape(x.shape)


def distances(images: Images, made: Tensor, x: Tensor, factor: int) -> Tensor:
    """Sums over pixels of (made - x)^2, (L, B, C, H, W) against (B, C, H, W): means over images (L,).

    Pixels are shares of the range, and cut to it; with a factor, means over squares of so many pixels a side.
    """
    shares = [(part / images.levels).nan_to_num(0, 0, 0).clamp(0, 1).double() for part in (*made, x)]
    *changed, true = (avg_pool2d(part, factor) for part in shares)
    return torch.stack([(part - true).square().flatten(1).sum(1).mean() * factor**2 for part in changed])


def small(images: Images, x: Tensor, side: int) -> Tensor:
    """Images (L, n, C, H, W) in grey levels as bytes (n, L, h, w, C), averaged until they have at most `side` pixels."""
    factor = max(1, x.shape[-1] // side)
    shown = torch.stack([torch.from_numpy(pixels(images, avg_pool2d(part, factor))) for part in x])
    return shown.swapaxes(0, 1)
