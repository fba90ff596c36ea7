"""Measures of the image figures of jacobian_determinant, on flows and images small enough to be taken apart by hand."""

import math

import numpy as np
import pytest
import torch

from flowrepro.analysis.quasi_linear import optimum
from flowrepro.config.compose import compose
from flowrepro.data import load_data
from flowrepro.flows.models import build
from flowrepro.measures import layer_sizes, level_resampling, optimum_readings, real_images

WORDS = [
    "dataset=digits",
    "model=qlf",
    "model.levels=2",
    "model.steps=1",
    "model.hidden=4",
    "model.net=convnet",
    "model.share=0.75",
]


@pytest.fixture(scope="module")
def flow_and_data():
    """A flow whose couplings are no identities, on 8x8 digits."""
    config = compose(WORDS)
    data = load_data(config.dataset, "float32", 0, images=True)
    flow = build(config.model, data.shape, data.levels, torch.Generator().manual_seed(0), torch.float32)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return flow.eval().requires_grad_(False), data


@pytest.fixture(scope="module")
def resampled(flow_and_data):
    flow, data = flow_and_data
    return level_resampling.measure(flow, data, n=3, n_measured=6, temperature=0.7, size=4)


def test_levels_are_those_of_the_multi_scale_layer(flow_and_data, resampled):
    flow, _ = flow_and_data
    assert resampled["level_dims"].tolist() == [48, 16]
    first, last = level_resampling.of_levels(flow)
    parts = flow.chain[-1].split(torch.arange(64.0)[None])
    assert first.nonzero()[:, 0].tolist() == parts[0].flatten().tolist()
    assert last.nonzero()[:, 0].tolist() == parts[1].flatten().tolist()


def test_nothing_drawn_gives_the_image_back_and_everything_a_sample(flow_and_data, resampled):
    flow, data = flow_and_data
    assert resampled["kept_error"] < 1e-3
    assert resampled["kept_first_distance"][-1] < 1e-8 < resampled["redrawn_first_distance"][-1]
    assert torch.equal(resampled["kept_first"][:, -1], resampled["originals"])
    assert resampled["originals"].tolist() == real_images.measure(flow, data, 3)["real"].tolist()


def test_with_two_levels_one_drawn_alone_is_one_kept_or_drawn_first(resampled):
    for kind in ("distance", "coarse"):
        alone, kept, drawn = (
            resampled[f"{name}_{kind}"] for name in ("alone", "kept_first", "redrawn_first")
        )
        assert alone[0] == drawn[0] and alone[1] == kept[0]


def test_distances_are_sums_over_pixels_of_shares_of_the_range(flow_and_data):
    _, data = flow_and_data
    x = data.val[:2]
    # one pixel changes by a quarter of the range; 8x8 digits are one coarse pixel
    made = x.clone().clamp(0, 0.7 * data.levels)
    true = made.clone()
    made[:, 0, 3, 3] += 0.25 * data.levels
    found = level_resampling.distances(data.val, made[None], true, 1)
    assert found.item() == pytest.approx(1 / 16, rel=1e-5)
    coarse = level_resampling.distances(data.val, made[None], true, 8)
    assert coarse.item() == pytest.approx(64 * (0.25 / 64) ** 2, rel=1e-5)


def test_random_pixels_are_as_many_as_said_and_keep_the_others(flow_and_data):
    _, data = flow_and_data
    x = data.val[:50]
    made = level_resampling.random_pixels(x, 20, 0.5, 0)
    changed = (made != x).flatten(1)
    assert (changed.sum(1) == 20).all() and (changed == changed[0]).all()
    drawn = made.flatten(1)[:, changed[0]]
    assert drawn.std() == pytest.approx(0.5 * float(x.std()), rel=0.1)
    assert drawn.mean() == pytest.approx(float(x.mean()), abs=0.1 * float(x.std()))


def test_large_images_are_averaged_to_be_shown(flow_and_data):
    _, data = flow_and_data
    shown = level_resampling.small(data.val, data.val[:2][None], side=4)
    assert shown.shape == (2, 1, 4, 4, 1)


def test_sizes_of_layers_are_those_of_what_they_give(flow_and_data):
    flow, data = flow_and_data
    found = layer_sizes.measure(flow, data)
    by_name = dict(zip(found["layer_names"].tolist(), found["layer_dims"].tolist(), strict=True))
    assert by_name["0.Rescale"] == by_name["1.level1.0.0.InvertibleConv"] == 64
    assert by_name["1.level1.leaves"] == 48 and by_name["1.level2.0.0.InvertibleConv"] == 16
    assert found["parameters"] == sum(p.numel() for p in flow.parameters()) and found["dim"] == 64


def test_equation_6_is_that_of_each_image_with_the_noise_averaged(flow_and_data):
    flow, data = flow_and_data
    found = optimum_readings.measure(flow, data, 4)
    x = (data.val.pixels[:4].double() + 0.5 - data.levels / 2).flatten(1)
    moments = x[:, :, None] * x[:, None] + torch.eye(64, dtype=torch.float64) / 12
    bits = np.mean([-float(optimum(moment)) / (64 * math.log(2)) for moment in moments])
    assert found["eq6_noise_averaged"] == pytest.approx(bits, rel=1e-6)
    assert found["eq6"] == -math.inf and math.isfinite(found["eq6_pseudo_determinant"])
