"""What is measured of quasi-linear flows on toys: densities, blocks taken apart, latents as points of a square."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from flowrepro.config.schema import QLFConfig, QLFVectorsConfig
from flowrepro.data import Data, ImageData
from flowrepro.data.dequantised import Images
from flowrepro.data.pinwheel import log_density_of, pinwheel_log_density
from flowrepro.data.toy import TOYS
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.flows.quasilinear import Block
from flowrepro.measures import blocks, deformations, uniform_latents


def drawn(name: str, n: int, seed: int = 0) -> Tensor:
    return TOYS[name].sample(n, torch.Generator().manual_seed(seed))[0]


@torch.no_grad()
def shaken(flow: Flow, size: float) -> Flow:
    generator = torch.Generator().manual_seed(1)
    for parameter in flow.parameters():
        parameter.add_(
            size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
        )
    return flow


def toy(name: str = "pinwheel", n: int = 2000, size: float = 0.15) -> tuple[Flow, Data]:
    x = drawn(name, n)
    flow = build(
        QLFVectorsConfig("qlf_vectors", layers=3, hidden=[8]), (2,), None, torch.Generator(), torch.float64
    ).eval()
    flow.init_from(x)
    return shaken(flow, size), Data(name, x, x, "drawn", "")


class TestPinwheel:
    def test_the_density_integrates_to_one(self) -> None:
        side = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 * 12 - 6
        mass = pinwheel_log_density(torch.cartesian_prod(side, side)).exp().sum() * (12 / 400) ** 2
        assert float(mass) == pytest.approx(1, abs=2e-3)

    def test_it_is_that_of_the_sampler(self) -> None:
        """Cell by cell, against a histogram of half a million points."""
        n, cells = 500_000, 24
        x = drawn("pinwheel", n).numpy()
        edges = np.linspace(-4, 4, cells + 1)
        counts = np.histogram2d(*x.T, bins=(edges, edges))[0]
        fine = 10
        side = torch.from_numpy((np.arange(cells * fine) + 0.5) / (cells * fine) * 8 - 4)
        density = pinwheel_log_density(torch.cartesian_prod(side, side)).exp()
        expected = (
            density.reshape(cells, fine, cells, fine).sum((1, 3)).numpy() * (8 / (cells * fine)) ** 2 * n
        )
        there = expected > 50
        errors = (counts - expected)[there] / np.sqrt(expected[there])
        assert there.sum() > 100 and abs(errors).max() < 5 and errors.std() == pytest.approx(1, abs=0.2)

    def test_densities_are_found_by_name(self) -> None:
        assert log_density_of("rings") is TOYS["rings"].log_density
        with pytest.raises(KeyError):
            log_density_of("sine")


class TestBlocks:
    def test_an_untrained_flow_stretches_by_as_much_as_it_compresses(self) -> None:
        flow, data = toy(size=0.0)
        found = blocks.measure(flow, data, n=100)
        expected = torch.full((3,), -math.log(0.7), dtype=torch.float64)
        torch.testing.assert_close(found["expansion"], expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(found["compression"], -expected, rtol=0, atol=1e-9)
        assert found["moved"].max() < 1e-12 and found["expansion_spread"].max() < 1e-12

    def test_blocks_add_up_to_the_flow(self) -> None:
        flow, data = toy()
        found = blocks.measure(flow, data, n=200)
        before = flow.chain[:2](data.val[:200])[1]
        whole = (flow.chain(data.val[:200])[1] - before).mean() / 2
        torch.testing.assert_close((found["expansion"] + found["compression"]).sum(), whole)
        assert (found["expansion_spread"] > 0).all() and found["dim"] == 2
        parts = blocks.at_blocks(flow, data.val[:200])
        torch.testing.assert_close(parts[-1][1].z, flow.chain(data.val[:200])[0])
        torch.testing.assert_close(
            found["moved"][0], (parts[0][1].z - parts[0][1].x).square().sum(1).mean() / 2
        )

    def test_on_images_the_inserted_activation_belongs_to_the_compression(self) -> None:
        config = QLFConfig("qlf", levels=2, steps=2, hidden=4, bottleneck=2, squeezed=2, insert="cdf")
        grey = torch.randint(
            0, 256, (6, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
        )
        data = ImageData("noise", Images(grey), Images(grey), "noise", "")
        flow = shaken(build(config, (3, 8, 8), 256, torch.Generator(), torch.float32).eval(), 0.02)
        found = blocks.measure(flow, data, n=6)
        whole = flow.double().chain[1:](flow.chain[0](data.val[:6].double())[0])[1].mean()
        dims = torch.tensor([192, 192, 96, 96], dtype=torch.float64)
        torch.testing.assert_close(((found["expansion"] + found["compression"]) * dims).sum(), whole)
        inner = next(part for part in flow.modules() if isinstance(part, Block))
        assert len(inner) == 5 and len(found["expansion"]) == 4
        x = flow.chain[0](data.val[:6].double())[0]
        parts = blocks.taken_apart(inner, x)
        torch.testing.assert_close(parts.stretched, inner[:3](x)[0])


def test_deformations_end_in_the_flows_latents_and_know_the_distance_from_the_truth() -> None:
    flow, data = toy("8gaussians")
    found = deformations.measure(flow, data, cells=80, n=50)
    assert found["points"].shape == (7, 50, 2) and found["domains"][0] == 1
    latents = flow.latents(data.val).detach()
    torch.testing.assert_close(found["points"][-1], latents[:50].float())
    truth = TOYS["8gaussians"].log_density
    assert truth is not None
    expected = (truth(data.val) - flow.log_prob(data.val).detach()).mean()
    assert found["kl"] == pytest.approx(float(expected)) and found["truth"] == pytest.approx(-2.83, abs=0.03)
    half = found["domains"] * data.val.abs().amax(1).quantile(0.999)
    inside = (latents.abs().amax(1) <= half[-1]).double().mean()
    assert float(inside) == pytest.approx(0.999, abs=1e-3)
    assert found["mass"] == pytest.approx(1, abs=0.02)
    assert found["density"].shape == found["true_density"].shape == (len(found["edges"]) - 1,) * 2


class TestUniformLatents:
    def test_distances_are_those_of_scipy(self) -> None:
        u = torch.rand(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 1.3
        found = uniform_latents.kolmogorov(u)
        expected = [stats.kstest(column, "uniform").statistic for column in u.T.numpy()]
        assert found.tolist() == pytest.approx(expected)

    def test_both_coordinates_together_tell_what_each_alone_does_not(self) -> None:
        u = torch.rand(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        same = torch.stack([u, u], 1)
        assert uniform_latents.kolmogorov(same).max() < 0.02
        assert uniform_latents.joint(same) == pytest.approx(0.25, abs=0.01)
        apart = torch.stack([u, u.flip(0)], 1)
        assert uniform_latents.joint(apart) < 0.02

    def test_samples_of_a_flow_are_uniform_for_it_and_lines_return_to_lines(self) -> None:
        flow, data = toy()
        x = flow.sample(5000, generator=torch.Generator().manual_seed(0))
        found = uniform_latents.measure(flow, Data("pinwheel", x, x, "drawn", ""), n=20)
        assert found["ks"].max() < 0.03 and found["joint"] < 0.03 and found["round_trip"] < 1e-9
        assert max(uniform_latents.measure(flow, data, n=20)["start_ks"]) > 0.03
        back = uniform_latents.to_square(flow.chain(found["lines"][0, 4].double())[0])
        torch.testing.assert_close(back[:, 0], torch.full_like(back[:, 0], 0.5), rtol=0, atol=1e-3)
