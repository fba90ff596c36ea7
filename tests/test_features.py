"""Feature networks: what goes in, digests of their weights, records of their distances; labels; supervised UMAP."""

import hashlib
import importlib.util
import pickle
from pathlib import Path

import lookalikes
import numpy as np
import pytest
import torch
from torch import nn

from flowrepro.config.compose import compose
from flowrepro.data.labels import labels
from flowrepro.errors import DataError, UsageError
from flowrepro.features import classifier as classifiers
from flowrepro.features import inception as inceptions
from flowrepro.features import lite0 as lites
from flowrepro.features.classifier import Recipe, classifier
from flowrepro.features.distances import Reference, finite
from flowrepro.features.network import FeatureNetwork, Standardised
from flowrepro.features.networks import feature_network
from flowrepro.features.weights import checked
from flowrepro.metrics.embedding import supervised_umap
from flowrepro.metrics.frechet import frechet_distance
from flowrepro.metrics.separability import nearest_neighbour_accuracy, silhouette


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data folder."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("FLOWREPRO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "data"


def dataset(*words):
    return compose(list(words)).dataset


def a_network(side: int = 12) -> FeatureNetwork:
    """Random convolutions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(
            Standardised(side, classifiers.MEAN, classifiers.STD),
            nn.Conv2d(3, 8, 5),
            nn.ReLU(),
            nn.Flatten(2),
        )
        return FeatureNetwork("classifier", nn.Sequential(body, Mean()), 8, "0" * 64, "bilinear")


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(2)


def bundled(n: int, start: int = 0) -> np.ndarray:
    from sklearn.datasets import load_digits

    return (load_digits().images[start : start + n, ..., None] * 15.9375).round().astype(np.uint8)


class TestImages:
    def test_grey_is_colour_with_three_equal_channels(self):
        grey, network = bundled(20), a_network()
        assert torch.equal(network.features(grey), network.features(np.repeat(grey, 3, -1)))

    def test_resizing_is_bilinear_between_pixel_centres_and_without_antialias(self):
        ramp = torch.arange(0, 256, 16, dtype=torch.uint8).repeat(16, 1).expand(1, 3, 16, 16)
        first = Standardised(4, (0.0,) * 3, (1.0,) * 3)
        # every fourth pair of neighbours: antialias would average four of them at the ends differently
        checker = (torch.arange(16) % 4 == 0).to(torch.uint8).mul(255).repeat(16, 1).expand(1, 3, 16, 16)
        assert torch.equal(first(ramp)[0, 0, 0], torch.tensor([24.0, 88.0, 152.0, 216.0]))
        assert torch.equal(first(checker), torch.zeros(1, 3, 4, 4))

    @pytest.mark.parametrize("wrong", [np.zeros((4, 8, 8, 1)), np.zeros((4, 8, 8, 2), np.uint8)])
    def test_other_images_are_refused(self, wrong):
        with pytest.raises(ValueError, match="uint8"):
            a_network().features(wrong)

    def test_distances_are_the_same_for_any_batch_size(self):
        network, real, fake = a_network(), bundled(101), bundled(97, 700)
        found = [
            frechet_distance(*(network.features(x, batch_size=b) for x in (real, fake)))
            for b in (1, 7, 64, 500)
        ]
        assert found == pytest.approx([found[0]] * 4, rel=1e-5)

    def test_torchmetrics_takes_our_networks(self):
        fid = pytest.importorskip("torchmetrics.image.fid")
        network, real, fake = a_network(), bundled(60), bundled(50, 700)
        theirs = fid.FrechetInceptionDistance(feature=network)
        for images, is_real in ((real, True), (fake, False)):
            theirs.update(torch.from_numpy(images).permute(0, 3, 1, 2).repeat(1, 3, 1, 1), real=is_real)
        ours = frechet_distance(network.features(real), network.features(fake))
        assert ours == pytest.approx(float(theirs.compute()), rel=1e-4)


class TestReference:
    def test_noise_is_further_than_other_real_images_are(self):
        noise = lookalikes.noise(80, 8, 8, 1)
        reference = Reference(a_network(), bundled(200), "val", others=bundled(150, 500))
        rows = [d.row() for d in reference.distances(noise, replicates=10)]
        assert [r["distance"] for r in rows] == ["Fréchet (classifier)", "kernel distance (classifier)"]
        for row in rows:
            assert row["low"] < row["value"] < row["high"]
            assert row["floor"] < row["low"]

    def test_the_floor_is_the_distance_of_as_many_other_real_images(self):
        network, real, others = a_network(), bundled(100), bundled(80, 500)
        reference = Reference(network, real, "val", others)
        found = reference.distances(bundled(50, 700), replicates=0)[0]
        assert found.floor == frechet_distance(network.features(real), network.features(others[:50]))
        assert np.isnan([found.low, found.high]).all()

    def test_every_number_carries_its_record(self):
        reference = Reference(a_network(), bundled(100), "val", bundled(30, 500))
        about = {"temperature": 0.7, "deviation": 0.25, "seed": 3}
        record = reference.distances(bundled(50, 700), left_out=2, replicates=0, **about)[0].record.as_dict()
        expected = {
            "n_real": 100,
            "n_fake": 50,
            "n_floor": 30,
            "left_out": 2,
            "split": "val",
            "resize": "bilinear",
        }
        expected |= {"network": "classifier", "sha256": "0" * 64, **about}
        assert {k: record[k] for k in expected} == expected
        assert record["versions"]["torch"] == torch.__version__ and "numpy" in record["versions"]
        few, fewer, floor, not_finite = record["warnings"]
        assert "100 real images, fewer than 2,048" in few and "50 fake" in fewer
        assert "30" in floor and "2 of 52" in not_finite

    def test_enough_finite_images_are_warned_of_by_nothing(self, monkeypatch):
        monkeypatch.setattr("flowrepro.features.record.FEW", 50)
        reference = Reference(a_network(), bundled(100), "val")
        assert reference.distances(bundled(50, 700), replicates=0)[0].record.warnings == []

    def test_one_image_is_refused(self):
        with pytest.raises(UsageError, match="at least two"):
            Reference(a_network(), bundled(10), "val").distances(bundled(1))

    def test_samples_that_are_not_finite_are_counted_and_left_out(self):
        x = torch.zeros(5, 1, 2, 2)
        x[1, 0, 0, 0], x[3, 0, 1, 1] = torch.nan, torch.inf
        kept, left_out = finite(x)
        assert kept.shape == (3, 1, 2, 2) and left_out == 2


class Bomb:
    """A pickle that leaves a file behind where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestWeights:
    def test_another_digest_is_refused(self, tmp_path):
        path = tmp_path / "weights.pth"
        path.write_bytes(b"abc")
        right = hashlib.sha256(b"abc").hexdigest()
        assert checked(path, right, "").read() == b"abc"
        with pytest.raises(DataError, match="SHA-256 .*; bring it"):
            checked(path, right[::-1], "bring it")
        with pytest.raises(DataError, match=r"cannot read .*; bring it"):
            checked(tmp_path / "none.pth", right, "bring it")

    def test_inceptions_digest_is_checked_before_anything_is_loaded(self, tmp_path, monkeypatch):
        (tmp_path / "weights.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "loaded")))
        monkeypatch.setenv("FLOWREPRO_INCEPTION", str(tmp_path / "weights.pth"))
        with pytest.raises(DataError, match="SHA-256"):
            feature_network("inception", dataset("dataset=digits"))
        assert not (tmp_path / "loaded").exists()

    def test_without_inceptions_weights_one_line_says_where_they_are(self, monkeypatch):
        monkeypatch.delenv("FLOWREPRO_INCEPTION", raising=False)
        with pytest.raises(DataError, match=r"^FID needs .*https://\S+ and set FLOWREPRO_INCEPTION") as error:
            feature_network("inception", dataset("dataset=digits"))
        assert "\n" not in str(error.value)

    def test_lite0s_digest_is_checked(self, monkeypatch):
        pytest.importorskip("efficientnet_lite_pytorch")
        monkeypatch.setattr(lites, "SHA256", "0" * 64)
        with pytest.raises(DataError, match="SHA-256"):
            lites.lite0()

    def test_an_unknown_network_is_answered_with_the_nearest(self):
        with pytest.raises(UsageError, match="lite0"):
            feature_network("lite1", dataset("dataset=digits"))


def test_lite0_gives_1280_features_of_any_image():
    pytest.importorskip("efficientnet_lite_pytorch")
    network = feature_network("lite0", dataset("dataset=digits"))
    assert network.features(bundled(3)).shape == (3, 1280) == (3, network.num_features)


def test_lite0_separates_the_classes_of_cifar10(real_data):
    """Neighbours on its features share their class far more often than neighbours in pixels do."""
    pytest.importorskip("efficientnet_lite_pytorch")
    from flowrepro.data import load_images

    config = dataset("dataset=cifar10", "dataset.n_val=200")
    images, found = load_images(config, torch.float32, 0).val.pixels, labels(config, "val")
    features = lites.lite0().features(images).numpy()
    by_pixels = nearest_neighbour_accuracy(images.flatten(1).float().numpy(), found)
    assert nearest_neighbour_accuracy(features, found) > by_pixels + 0.2


def test_inception_gives_2048_features_of_any_image(tmp_path, monkeypatch):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    network = fidelity.FeatureExtractorInceptionV3.__new__(fidelity.FeatureExtractorInceptionV3)
    monkeypatch.setattr(fidelity.torch, "load", lambda *words, **more: network.state_dict())
    network.__init__("inception-v3-compat", ["2048"], "random")
    monkeypatch.undo()
    torch.save(network.state_dict(), tmp_path / "random.pth")
    monkeypatch.setenv("FLOWREPRO_INCEPTION", str(tmp_path / "random.pth"))
    digest = hashlib.sha256((tmp_path / "random.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(inceptions, "SHA256", digest)
    found = inceptions.inception()
    grey = bundled(2)
    assert found.features(grey).shape == (2, 2048)
    theirs = network(torch.from_numpy(grey).permute(0, 3, 1, 2).repeat(1, 3, 1, 1))[0]
    torch.testing.assert_close(found.features(grey), theirs)


class TestClassifier:
    recipe = Recipe(steps=60, width=8)

    def test_it_learns_the_digits_and_is_stored_with_its_digest(self, root, monkeypatch):
        network = classifier(dataset("dataset=digits"), self.recipe)
        assert network.about["accuracy"] > 0.85 and network.about["n_held_out"] == 359
        assert network.features(bundled(3)).shape == (3, 32)
        (stored,) = root.glob("features/*.pt")
        assert hashlib.sha256(stored.read_bytes()).hexdigest() == network.sha256
        monkeypatch.setattr(classifiers, "train", None)
        again = classifier(dataset("dataset=digits", "dataset.n_train=100"), self.recipe)
        assert torch.equal(again.features(bundled(3)), network.features(bundled(3)))

    def test_it_is_a_function_of_its_seed_and_leaves_others_randomness_alone(self, root):
        state = torch.get_rng_state()
        first = classifier(dataset("dataset=digits"), Recipe(steps=3, width=8))
        assert torch.equal(torch.get_rng_state(), state)
        for path in root.glob("features/*"):
            path.unlink()
        assert classifier(dataset("dataset=digits"), Recipe(steps=3, width=8)).sha256 == first.sha256
        assert classifier(dataset("dataset=digits"), Recipe(steps=3, width=8, seed=1)).sha256 != first.sha256

    def test_a_damaged_file_is_named(self, root):
        classifier(dataset("dataset=digits"), Recipe(steps=1, width=8))
        (stored,) = root.glob("features/*.pt")
        stored.write_bytes(stored.read_bytes()[:-1])
        with pytest.raises(DataError, match=r"SHA-256 .*delete classifier-digits-\w+\.json"):
            classifier(dataset("dataset=digits"), Recipe(steps=1, width=8))


class TestLabels:
    def test_of_the_digits_are_in_their_order(self):
        from sklearn.datasets import load_digits

        found = load_digits()
        config = dataset("dataset=digits")
        assert np.array_equal(np.concatenate([labels(config, "train"), labels(config, "val")]), found.target)
        assert set(labels(dataset("dataset=digits2"), "train")) == {2}

    def test_of_idx_files(self, root, monkeypatch):
        lookalikes.mnist(root, monkeypatch, "FashionMNIST")
        config = dataset("dataset=fashion_mnist", "dataset.n_train=25")
        assert labels(config, "train").tolist() == [i % 10 for i in range(25)]
        assert labels(config, "val").tolist() == [i % 10 for i in range(12)]
        lookalikes.mnist(root, monkeypatch, "MNIST")
        assert labels(dataset("dataset=mnist2"), "train").tolist() == [2, 2, 2]

    @pytest.mark.parametrize("layout", [lookalikes.cifar10_batches, lookalikes.cifar10_archive])
    def test_of_official_cifar10(self, root, monkeypatch, layout):
        layout(root, monkeypatch)
        config = dataset("dataset=cifar10")
        assert labels(config, "train").tolist() == [i % 10 for i in range(20)]
        assert labels(config, "val").tolist() == [0, 1, 2, 3]

    def test_of_a_part_of_cifar10(self, root, monkeypatch):
        lookalikes.strips(root, monkeypatch, "CIFAR10/strips", {"test_000": 3, "train_000": 5}, 32)
        config = dataset("dataset=cifar10")
        with pytest.raises(DataError, match=r"labels\.npz"):
            labels(config, "train")
        np.savez(root / "CIFAR10/labels.npz", train=np.arange(10), test=np.arange(10)[::-1])
        assert labels(config, "train").tolist() == [0, 1, 2, 3, 4]
        assert labels(config, "val").tolist() == [9, 8, 7]

    def test_sets_without_classes_say_so(self):
        for name in ("faces64", "sine"):
            with pytest.raises(UsageError, match="no labels"):
                labels(dataset(f"dataset={name}"), "train")

    def test_of_real_data_are_balanced(self, real_data):
        assert np.bincount(labels(dataset("dataset=fashion_mnist"), "val")).tolist() == [1000] * 10


@pytest.mark.skipif(not importlib.util.find_spec("umap"), reason="needs umap-learn")
def test_supervised_umap_separates_what_it_is_told():
    """Labels by chance come apart too: it is no evidence by itself."""
    x = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    by_chance = np.arange(90) % 3
    points = supervised_umap(x, by_chance)
    assert points.shape == (90, 2) and np.isfinite(points).all()
    assert np.array_equal(points, supervised_umap(x, by_chance))
    assert silhouette(points, by_chance) > silhouette(x, by_chance) + 0.1
