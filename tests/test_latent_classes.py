"""Classes in latents: what is found must be in the latents, and controls must find nothing."""

import numpy as np
import pytest
import torch

from flowrepro.config.schema import NIFConfig
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.errors import UsageError
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Chain, Flow
from flowrepro.flows.models import build
from flowrepro.flows.preprocess import Rescale
from flowrepro.flows.reshape import MultiScale
from flowrepro.measures import latent_classes

N, CLASSES = 200, np.arange(200) % 4


@pytest.fixture
def shades(monkeypatch) -> ImageData:
    """Four classes of images, each with a shade of its own, and their labels."""
    monkeypatch.setattr(latent_classes, "labels", lambda config, split: np.append(CLASSES, 0))
    noise = torch.randint(0, 20, (N, 4, 4, 3), generator=torch.Generator().manual_seed(0))
    pixels = (noise + 60 * torch.from_numpy(CLASSES)[:, None, None, None]).to(torch.uint8)
    images = Images(pixels, split="val")
    return ImageData("cifar10", images, images, "shades", "")


def identity() -> Flow:
    levels = MultiScale([Chain()], [], [(3, 4, 4)])
    return Flow(Chain(Rescale(256), levels), StandardNormal(48), (3, 4, 4))


def test_classes_are_found_in_latents_and_not_in_shuffled_labels(shades):
    found = latent_classes.measure(identity(), shades, n=N, umap=False)
    assert found["nearest_neighbour"] == found["linear_probe"] == 1
    assert found["nearest_hits"].all() and found["probe_hits"].all()
    assert found["nearest_neighbour_shuffled"] < 0.4 and found["linear_probe_shuffled"] < 0.4
    assert found["silhouette_latents"] > 0.5 and found["silhouette_map"] > 0.9
    assert found["silhouette_map_shuffled"] < 0.3 and found["silhouette_map_noise"] < 0.3
    assert found["coordinates"].shape == found["coordinates_noise"].shape == (N, 2)
    assert sorted(found["labels_shuffled"]) == sorted(CLASSES) and (found["labels"] == CLASSES).all()
    assert (found["map"], found["embedded_dim"], found["dim"]) == ("LDA", 48, 48)


def test_a_manifold_is_shown_by_its_own_coordinates(shades):
    flow = build(
        NIFConfig("nif", 1, 1, 4, latent_dim=3),
        (3, 4, 4),
        256,
        torch.Generator().manual_seed(0),
        torch.float32,
    )
    flow.init_from(shades.train[:])
    x = shades.val.first(N)
    for by in ("pseudo_inverse", "posterior_mean"):
        latents = latent_classes.embedded(flow.eval(), x, by)
        assert latents.shape == (N, 3)
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(latents), flow.embed(x[:], by))
    found = latent_classes.measure(flow, shades, n=N, umap=False)
    assert found["embedded_dim"] == 3 and found["coordinates_noise"].shape == (N, 2)


def test_without_umap_the_map_says_that_it_is_another(shades, monkeypatch):
    monkeypatch.setattr(latent_classes, "find_spec", lambda name: None)
    found = latent_classes.measure(identity(), shades, n=N, umap=True)
    assert found["map"] == "LDA" and found["map_versions"] == ""


def test_sets_without_labels_are_refused():
    images = Images(torch.zeros(8, 4, 4, 3, dtype=torch.uint8), split="val")
    with pytest.raises(UsageError, match="no labels"):
        latent_classes.measure(identity(), ImageData("faces64", images, images, "", ""), n=8, umap=False)
