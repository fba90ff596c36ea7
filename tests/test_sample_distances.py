"""Distances of a flow's samples: by hand on the same images, what is chosen on which, what is left out; their tables."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from flowrepro.config.compose import compose
from flowrepro.data import ImageData, load_images
from flowrepro.data.dequantised import Images
from flowrepro.features import networks
from flowrepro.features.network import FeatureNetwork
from flowrepro.figures.across_dimensions import distances
from flowrepro.flows.models import build
from flowrepro.measures import sample_distances
from flowrepro.metrics.frechet import frechet_distance
from flowrepro.metrics.images import total_variation
from flowrepro.metrics.kernel_distance import kernel_distance

OPTIONS = {"networks": ["small"], "temperatures": [0.3, 1], "deviations": [0, 0.5, 1], "n": 40, "n_real": 60}


class Pooled(nn.Module):
    """Means of 4x4 pixels of the first channel, and how much neighbours differ in each row."""

    def forward(self, images):
        grey = images[:, 0] / 255
        means = nn.functional.avg_pool2d(grey, 4).flatten(1)
        return torch.cat([means, grey.diff(dim=2).abs().mean(2)], 1)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    network = FeatureNetwork("small", Pooled(), 12, "0" * 64, "none")
    monkeypatch.setitem(networks.NETWORKS, "small", lambda config: network)
    return network


def flow_and_data(model: str, seed: int = 0):
    config = compose([f"model={model}", "dataset=digits", "scale=smoke", f"seed={seed}"])
    data = load_images(config.dataset, torch.float32, seed)
    flow = build(config.model, data.shape, data.levels, torch.Generator().manual_seed(0), torch.float32)
    flow.init_from(data.initial)
    return flow.eval().requires_grad_(False), data


def measured(model: str, replicates: int = 0, **more):
    flow, data = flow_and_data(model)
    found = sample_distances.measure(flow, data, replicates=replicates, **OPTIONS | more)
    config = {"model.latent_dim": 3} if model == "nif" else {}
    return found, distances.rows([run(found, config)])


def run(found, config):
    told = {"state": "completed", "step": 5, "last_fifth_gain": 64 * np.log(2)}
    return {"case": "nif-3 digits", "seed": 0, "config": config, **told, **found}


def test_distances_are_those_of_the_features_by_hand(small):
    flow, data = flow_and_data("nif")
    frame = measured("nif")[1]
    samples = sample_distances.drawn(flow, data, 1, 0.5, 40, "cpu", True).images
    # 17 grey levels to 255
    real = (data.val.pixels[:60].double() * 255 / 16).round().to(torch.uint8)
    x, y = (small.features(images) for images in (real, samples))
    shown = frame[(frame.split == "test") & (frame.deviation == 0.5)].set_index("kind").value
    assert shown.frechet == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert shown.kernel == pytest.approx(kernel_distance(x, y), rel=1e-9)


def test_samples_are_the_flows_own_as_bytes_without_border():
    flow, data = flow_and_data("nif")
    fakes = sample_distances.drawn(flow, data, 0.7, 0, 10, "cpu", True)
    assert fakes.images.shape == (10, 8, 8, 1) and fakes.images.dtype == np.uint8
    assert set(np.unique(fakes.images)) <= {round(k * 255 / 16) for k in range(17)}


def distinct(n_train: int, n_val: int) -> ImageData:
    """Images that hold their number: no two are equal."""
    numbers = torch.arange(n_train + n_val)[:, None, None, None].expand(-1, 4, 4, 1).to(torch.uint8)
    return ImageData("digits", Images(numbers[:n_train]), Images(numbers[n_train:], split="val"), "", "")


def test_real_images_of_different_purposes_are_different_images():
    found = sample_distances.real_images(distinct(200, 50), n=60, n_real=70)
    kept = {name: set(images[:, 0, 0, 0].tolist()) for name, images in found.items() if name != "noisy"}
    # a third of 200 where more are wanted
    assert {k: len(v) for k, v in kept.items()} == {"train": 66, "others": 60, "base": 60, "test": 50}
    assert len(set.union(*kept.values())) == 66 + 60 + 60 + 50
    assert kept["test"] == set(range(200, 250))


def test_the_best_is_chosen_on_training_images_and_reported_on_held_out_ones():
    frame = measured("nif", replicates=3)[1]
    samples = frame[frame.of == "samples"]
    chosen = distances.tuned(frame)
    assert sorted(chosen.kind) == ["frechet", "kernel"]
    for kind in ("frechet", "kernel"):
        train = samples[(samples.split == "train") & (samples.kind == kind)]
        best = train.loc[train.value.idxmin()]
        row = chosen[chosen.kind == kind].iloc[0]
        assert (row.split, row.deviation) == ("test", best.deviation)
        assert best.tuned and train.tuned.sum() == 1
    with_interval = samples[samples.low.notna()]
    assert set(with_interval.split) == {"test"}
    assert set(with_interval.deviation) == {0, 1, *chosen.deviation}
    assert (with_interval.low < with_interval.value).all() and (
        with_interval.value < with_interval.high
    ).all()


def test_flows_without_a_manifold_are_sampled_at_temperatures_and_extra_pairs_are_not_chosen():
    frame = measured("nf", extra=[[1e-3, 0]])[1]
    samples = frame[(frame.of == "samples") & (frame.split == "train") & (frame.kind == "frechet")]
    assert list(zip(samples.temperature, samples.deviation, strict=True)) == [(0.3, 1), (1, 1), (1e-3, 0)]
    assert set(samples.temperature[samples.tuned]) <= {0.3, 1}
    assert measured("nf", temperatures=[0.3])[1].tuned.sum() == 4, "one for each kind and split"


def test_noise_takes_real_images_further_away_and_the_floor_is_that_of_others():
    frame = measured("nif")[1]
    by = frame[frame.of != "samples"].set_index(["of", "kind", "split"]).value
    for kind in ("frechet", "kernel"):
        for split in ("train", "test"):
            assert by["noisy real", kind, split] > by["real", kind, split]
    assert frame.groupby(["kind", "split"]).floor.nunique().eq(1).all() and frame.floor.notna().all()


def test_samples_that_are_not_finite_are_left_out_and_counted(monkeypatch):
    drawn = sample_distances.sample

    def broken(flow, n, temperature, seed, size, device, deviation):
        x = drawn(flow, n, temperature, seed, size, device, deviation)
        x[: {0: 40, 0.5: 7, 1: 0}[deviation]] = float("inf")
        return x

    monkeypatch.setattr(sample_distances, "sample", broken)
    found, frame = measured("nif", replicates=2)
    by = frame[frame.of == "samples"].groupby("deviation")
    assert by.left_out.unique().map(list).to_dict() == {0: [40], 0.5: [7], 1: [0]}
    assert by.n_fake.unique().map(list).to_dict() == {0: [0], 0.5: [33], 1: [40]}
    assert by.value.count().to_dict() == {0: 0, 0.5: 4, 1: 4}
    assert not frame[frame.deviation == 0].tuned.any()
    assert any(
        "7 of 40 fake images are not finite" in w
        for r in json.loads(found["distances_records"])
        for w in r["warnings"]
    )


def test_every_number_has_its_record():
    found, frame = measured("nif")
    records = json.loads(found["distances_records"])
    assert len(records) == len(frame)
    for record, row in zip(records, frame.itertuples(), strict=True):
        assert (record["split"], record["n_real"], record["network"]) == (row.split, row.n_real, row.network)
        assert record["deviation"] == (row.deviation if row.of == "samples" else None)
        assert record["seed"] == 0 and record["sha256"] and record["versions"]["torch"]


def test_rows_tell_model_set_and_what_training_still_gained():
    frame = measured("nif")[1]
    assert set(frame.model) == {"NIF-3"} and set(frame.dataset) == {"digits"} and set(frame.latent_dim) == {3}
    # 64 bits over 64 pixels
    assert frame.gain_bits.to_numpy() == pytest.approx(1)
    assert set(frame.label) == {"Fréchet (small)", "kernel distance (small)"}


def test_total_variation_is_that_of_neighbours():
    checkers = np.indices((6, 6)).sum(0)[None, ..., None] % 2
    assert total_variation(checkers.astype(float)) == 1
    ramp = np.broadcast_to(np.arange(6) / 10, (2, 6, 6))[..., None]
    assert total_variation(ramp) == pytest.approx(0.05)
