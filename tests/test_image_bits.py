"""Bits/dim of image flows: against sums by hand, the NF under an empty NIF, and the misprint of Eq. 41."""

import math

import pytest
import torch
from torch import Tensor

from flowrepro.config.schema import NFConfig, NIFConfig
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.flows.injective_bases import GaussianNIF
from flowrepro.flows.models import build
from flowrepro.measures.image_bits import measure, printed_log_prob


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, seed: int, border: int = 0) -> Images:
    pixels = torch.randint(0, 256, (n, 8 - 2 * border, 8 - 2 * border, 3), generator=seeded(seed))
    return Images(pixels.to(torch.uint8), 16, 16, border, split=f"{seed}")


def data(border: int = 0) -> ImageData:
    return ImageData("noise", images(12, 0, border), images(9, 1, border), "noise", "")


def flow_of(config, scale: float = 0.3):
    """Untrained, but with an A, Σ and b of its own."""
    flow = build(config, (3, 8, 8), 16, seeded(), torch.float32).eval()
    flow.init_from(data().train[:])
    with torch.no_grad():
        for name, parameter in flow.base.named_parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=seeded(len(name))))
    return flow


def nif(latent_dim: int = 5):
    return flow_of(NIFConfig("nif", 2, 1, 4, latent_dim=latent_dim))


def log_probs(flow, x: Tensor) -> Tensor:
    with torch.no_grad():
        return flow.log_prob(x)


def test_bits_are_those_of_the_likelihood_over_draws_of_the_noise():
    flow, sets = nif(), data(border=1)
    found = measure(flow, sets, n=7, draws=2)
    draws = torch.stack([log_probs(flow, sets.val.take(torch.arange(7), draw)) for draw in range(2)])
    bits = -draws.double() / (108 * math.log(2))
    assert found["bits_per_dim"] == pytest.approx(float(bits.mean()), rel=1e-6)
    torch.testing.assert_close(found["bits_of_images"].double(), bits.mean(0), rtol=1e-6, atol=0)
    assert found["bits_se"] == pytest.approx(float(bits.mean(0).std()) / math.sqrt(7), rel=1e-5)
    assert found["bits_se_draws"] == pytest.approx(float(bits.mean(1).std()) / math.sqrt(2), rel=1e-3)
    assert found["bits_per_padded_dim"] == pytest.approx(found["bits_per_dim"] * 108 / 192)
    assert (found["dim"], found["padded_dim"], found["levels"], found["latent_dim"]) == (108, 192, 16, 5)
    on_train = -log_probs(flow, sets.train[:7]).mean() / (108 * math.log(2))
    assert found["train_bits_per_dim"] == pytest.approx(float(on_train), rel=1e-6)


def test_the_nf_is_a_nif_without_a_manifold():
    found = measure(flow_of(NFConfig("nf", 2, 1, 4)), data(), n=9, draws=1)
    assert 0 <= found["as_nif_difference"] < 1e-5 and "eq41_excess" not in found


@pytest.mark.parametrize("latent_dim", [1, 5, 40])
def test_the_printed_formula_is_too_large_by_a_constant(latent_dim):
    found = measure(nif(latent_dim), data(), n=9, draws=1)
    expected = latent_dim / 2 * math.log2(2 * math.pi) / 192
    assert found["eq41_excess"] == pytest.approx(expected, rel=1e-9)
    assert "as_nif_difference" not in found


def test_the_printed_formula_is_no_density():
    """Of one dimension on one: the integral on a grid is the root of 2 pi, not 1."""
    base = GaussianNIF(1, 1, seeded(), dtype=torch.float64)
    with torch.no_grad():
        base.injection.noise.log_var.fill_(0.3)
        grid = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
        density = printed_log_prob(base, grid[:, None]).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(math.sqrt(2 * math.pi), rel=1e-6)


def test_a_learned_diagonal_has_neither():
    found = measure(nif(0), data(), n=9, draws=1)
    assert not {"as_nif_difference", "eq41_excess"} & found.keys()
