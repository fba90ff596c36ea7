"""Bits/dim of an image flow, of every held-out image too, and its likelihood beside what it must equal by algebra."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from flowrepro.data import ImageData
from flowrepro.device import device_of
from flowrepro.flows.bases import LOG_2PI, StandardNormal
from flowrepro.flows.core import Flow
from flowrepro.flows.injective_bases import GaussianNIF
from flowrepro.measures.image_flow import bits_of, in_batches, log_probs_of_draws

BATCH = 250
# dimensions of the manifold under the NF, whose A is zero
EMPTY = 64


def measure(flow: Flow, data: ImageData, n: int, draws: int) -> dict[str, Any]:
    """Bits/dim of n images of both sets; of the held-out ones over `draws` draws of their noise.

    `bits_of_images` (n,) are those of single held-out images, so that flows can be compared image by image. The NF has
    `as_nif_difference`, a Gaussian NIF `eq41_excess`, both in bits/dim.
    """
    device = device_of(flow)
    train, val = (images.first(n) for images in data.reported.values())
    values = log_probs_of_draws(flow, val, draws, BATCH, device)
    found = {k: float(v) for k, v in bits_of(values, data).items()}
    on_train = bits_of(log_probs_of_draws(flow, train, 1, BATCH, device), data)
    sizes = {"dim": data.dim, "padded_dim": data.padded_dim, "levels": data.levels}
    return {
        "source": data.source,
        **{
            k: found[k]
            for k in ("bits_per_dim", "bits_se", "bits_se_draws", "bits_per_padded_dim", "non_finite")
        },
        "train_bits_per_dim": on_train["bits_per_dim"],
        "train_bits_se": on_train["bits_se"],
        **{k: float(v) for k, v in sizes.items()},
        "latent_dim": float(flow.base.latent_dim),
        "parameters": float(sum(p.numel() for p in flow.parameters())),
        "bits_of_images": (-values.mean(0) / (data.dim * math.log(2))).float(),
        **agreement(flow, val[:BATCH].to(device), data.dim),
    }


def agreement(flow: Flow, x: Tensor, dim: int) -> dict[str, float]:
    """What differs in bits/dim of images x (B, C, H, W) where two formulas are held side by side; one number or none."""
    base = flow.base
    if not isinstance(base, StandardNormal | GaussianNIF):
        return {}
    z = in_batches(flow.latents, x, BATCH)
    if isinstance(base, StandardNormal):
        difference = (without_manifold(base, z) - base.log_prob(z)).abs().max()
        return {"as_nif_difference": float(difference) / (dim * math.log(2))}
    exact = copy.deepcopy(base).double()
    with torch.no_grad():
        excess = printed_log_prob(exact, z.double()) - exact.log_prob(z.double())
    return {"eq41_excess": float(excess.mean()) / (dim * math.log(2))}


def without_manifold(base: StandardNormal, z: Tensor) -> Tensor:
    """log p(z) under a Gaussian NIF with A = 0 and Σ = I, which is N(0, I), (B, N) -> (B,)."""
    nif = GaussianNIF(base.dim, min(EMPTY, base.dim), torch.Generator(), gain=0.0, dtype=z.dtype).to(z.device)
    with torch.no_grad():
        return nif.log_prob(z)


def printed_log_prob(nif: GaussianNIF, z: Tensor) -> Tensor:
    """log p(z) as across_dimensions Eq. 41 prints it, log Ẑ_z - log Z_x, (B, N) -> (B,)."""
    bias, log_var = nif.injection.noise(None)
    a, precision, shifted = (
        nif.injection.operator(torch.eye(nif.latent_dim).to(z)).mT,
        (-log_var).exp(),
        z - bias,
    )
    u = (precision * shifted) @ a
    capacitance = torch.eye(nif.latent_dim).to(z) + a.mT @ (precision[:, None] * a)
    square = (u * torch.linalg.solve(capacitance, u.mT).mT).sum(-1)
    log_z_z = 0.5 * (square - torch.linalg.slogdet(capacitance)[1] + nif.latent_dim * LOG_2PI)
    log_z_x = 0.5 * ((precision * shifted.square()).sum(-1) + log_var.sum() + nif.dim * LOG_2PI)
    return log_z_z - log_z_x
