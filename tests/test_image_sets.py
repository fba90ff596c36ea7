"""Image data sets for image flows: every official layout, the cache, dequantisation, damage of every kind."""

import fcntl
import functools
import os
import pickle

import lookalikes
import numpy as np
import pytest
import torch

from flowrepro.config.compose import compose
from flowrepro.data import cifar10, imagenet32, load, load_images
from flowrepro.data.cache import cache_folder
from flowrepro.data.celeba import center, stride2
from flowrepro.data.dequantised import Images
from flowrepro.data.pixels import SETS, pixels
from flowrepro.data.source import decode
from flowrepro.errors import DataError, UsageError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data folder."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("FLOWREPRO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "data"


def images_of(*words, seed=0):
    return load_images(compose(list(words)).dataset, torch.float32, seed)


def bytes_of(data):
    return np.concatenate([data.train.pixels.numpy(), data.val.pixels.numpy()])


def test_cifar10_from_the_official_folder(root, monkeypatch):
    expected = lookalikes.cifar10_batches(root, monkeypatch)
    data = images_of("dataset=cifar10")
    assert (len(data.train), len(data.val), data.shape, data.dim) == (20, 4, (3, 32, 32), 3072)
    assert np.array_equal(bytes_of(data), expected) and "official" in data.source


def test_cifar10_from_the_official_archive(root, monkeypatch):
    expected = lookalikes.cifar10_archive(root, monkeypatch)
    data = images_of("dataset=cifar10")
    assert np.array_equal(bytes_of(data), expected)


def test_cifar10_from_strips_is_called_a_part(root, monkeypatch):
    expected = lookalikes.strips(
        root, monkeypatch, "CIFAR10/strips", {"test_000": 3, "train_000": 5, "train_001": 2}, 32
    )
    data = images_of("dataset=cifar10")
    assert np.array_equal(bytes_of(data), np.concatenate([expected[3:], expected[:3]]))
    assert "a part of CIFAR-10" in data.source


def test_a_pickle_that_wants_to_call_something_is_refused(root, monkeypatch):
    lookalikes.cifar10_batches(root, monkeypatch)
    path = root / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps({"data": functools.partial(os.system, "true")}))
    monkeypatch.setitem(cifar10.BATCH_DIGESTS, "test_batch", None)
    with pytest.raises(DataError, match="not a batch of CIFAR-10.*it needs"):
        images_of("dataset=cifar10")


def test_faces64_are_called_a_stand_in(root, monkeypatch):
    names = {"faces64_000": 4, "faces64_001": 3}
    expected = lookalikes.strips(root, monkeypatch, "faces64", names, 64, n_val=2)
    data = images_of("dataset=faces64")
    assert (len(data.train), len(data.val)) == (5, 2)
    assert np.array_equal(bytes_of(data), expected)
    assert "not CelebA" in data.source


@pytest.mark.parametrize("zipped", [False, True])
def test_celeba_takes_the_official_parts_and_the_authors_crop(root, monkeypatch, zipped):
    whole = lookalikes.celeba(root, monkeypatch, "00120", zipped)
    data = images_of("dataset=celeba")
    assert np.array_equal(data.train.pixels, whole[[0, 1, 4]][:, 52:180:2, 24:152:2])
    assert np.array_equal(data.val.pixels, whole[[3]][:, 52:180:2, 24:152:2])
    other = images_of("dataset=celeba", "dataset.crop=center")
    assert other.train.shape == (3, 3, 64, 64) and other.fingerprint != data.fingerprint


def test_crops_keep_the_middle():
    aligned = np.zeros((218, 178, 3), np.uint8)
    aligned[107:111, 87:91] = 255
    for crop in (stride2, center):
        light = np.argwhere(crop(aligned)[..., 0] > 99)
        assert crop(aligned).shape == (64, 64, 3)
        assert np.abs(light.mean(0) - 31.5).max() < 4


@pytest.mark.parametrize("layout", [lookalikes.imagenet32_batches, lookalikes.imagenet32_images])
def test_imagenet32_says_which_version_it_is(root, monkeypatch, layout):
    expected = layout(root, monkeypatch, "oord")
    data = images_of("dataset=imagenet32")
    assert np.array_equal(bytes_of(data), expected) and (len(data.train), len(data.val)) == (8, 5)
    assert "version oord" in data.source


def test_an_unknown_version_of_imagenet32_is_refused(root, monkeypatch):
    versions = imagenet32.VERSIONS
    lookalikes.imagenet32_batches(root, monkeypatch, "oord")
    monkeypatch.setattr(imagenet32, "VERSIONS", versions)
    with pytest.raises(DataError, match="5 held-out images.*49,999 .oord."):
        images_of("dataset=imagenet32")


def test_celeba_hq_holds_out_a_tenth_and_has_five_bits(root):
    expected = lookalikes.celeba_hq(root)
    data = images_of("dataset=celeba_hq")
    assert np.array_equal(bytes_of(data), expected) and (len(data.train), len(data.val)) == (18, 2)
    assert data.levels == 32 and int(data.train[:18].max()) == 31
    assert "a part: 20 of its 30,000 images" in data.source


def test_a_cut_list_of_celeba_is_told(root, monkeypatch):
    lookalikes.celeba(root, monkeypatch, "00222", zipped=False)
    listed = root / "celeba/list_eval_partition.txt"
    lines = listed.read_text().splitlines()
    for content, told in (
        ("\n".join(lines[:-1]), "2 of 3 images of the val split"),
        ("1.jpg 12", "not the official"),
    ):
        listed.write_text(content)
        with pytest.raises(DataError, match=told):
            images_of("dataset=celeba")


def test_celeba_hq_is_in_the_order_of_its_numbers(root):
    expected = lookalikes.celeba_hq(root)
    for i in range(20):
        (root / f"celeba_hq/{i:05d}.png").rename(root / f"celeba_hq/{i}.png")
    assert np.array_equal(bytes_of(images_of("dataset=celeba_hq")), expected)


def test_mnist_is_padded_with_black_for_image_flows(root, monkeypatch):
    lookalikes.mnist(root, monkeypatch)
    data = images_of("dataset=mnist")
    assert (data.shape, data.dim, data.padded_dim) == ((1, 32, 32), 784, 1024)
    x = data.train[:3]
    border = x.clone()
    border[:, :, 2:-2, 2:-2] = 0
    assert border.max() < 1 and border.mean() > 0
    assert np.array_equal(data.train.interior(x).floor().numpy(), data.train.pixels[:3].numpy())


def test_digits_have_levels_of_their_own():
    data = images_of("dataset=digits")
    assert (data.levels, data.shape) == (17, (1, 8, 8))
    with pytest.raises(UsageError, match="17 grey levels"):
        images_of("dataset=digits", "dataset.bits=5")


def test_a_data_set_without_images_is_told():
    with pytest.raises(UsageError, match="needs image data, which dataset=sine is not"):
        images_of("dataset=sine")


def test_new_sets_are_vectors_for_the_other_models(root, monkeypatch):
    expected = lookalikes.strips(root, monkeypatch, "CIFAR10/strips", {"test_000": 2, "train_000": 3}, 32)
    data = load(compose(["dataset=cifar10", "dataset.n_train=2"]).dataset, torch.float64)
    assert data.train.shape == (2, 3072) and data.image_shape == (32, 32, 3)
    assert np.array_equal(data.train.numpy() * 255, expected[2:4].reshape(2, -1))


@pytest.mark.parametrize("name", ["digits", "digits2", "mnist", "mnist2", "faces64"])
def test_vectors_and_images_of_a_set_are_the_same_pixels(root, monkeypatch, name):
    lookalikes.mnist(root, monkeypatch)
    lookalikes.strips(root, monkeypatch, "faces64", {"faces64_000": 5}, 64, n_val=2)
    images, vectors = images_of(f"dataset={name}"), load(compose([f"dataset={name}"]).dataset, torch.float64)
    assert vectors.levels == images.levels
    for x, image in ((vectors.train, images.train), (vectors.val, images.val)):
        torch.testing.assert_close(x * (images.levels - 1), image.pixels.flatten(1).double())


def test_a_trial_reads_and_writes_nothing_and_has_the_shapes_of_the_set(root, monkeypatch):
    config = {name: compose([f"dataset={name}"]).dataset for name in SETS}
    trials = {name: pixels(config[name], trial=3) for name, known in SETS.items() if known.shape}
    assert not list(root.iterdir())
    lookalikes.mnist(root, monkeypatch)
    lookalikes.mnist(root, monkeypatch, "FashionMNIST")
    lookalikes.cifar10_batches(root, monkeypatch)
    lookalikes.strips(root, monkeypatch, "faces64", {"faces64_000": 4}, 64, n_val=2)
    lookalikes.celeba(root, monkeypatch, "0022", zipped=False)
    lookalikes.imagenet32_batches(root, monkeypatch, "oord")
    for name, trial in trials.items():
        assert (trial.shape, trial.levels) == (pixels(config[name]).shape, pixels(config[name]).levels), name


# The cache


def test_images_are_prepared_once_and_again_when_the_files_change(root, monkeypatch):
    lookalikes.celeba_hq(root)
    first = images_of("dataset=celeba_hq")
    stamps = {p: p.stat().st_mtime_ns for p in (root / "prepared").rglob("*.u8")}
    assert len(stamps) == 2
    assert images_of("dataset=celeba_hq").fingerprint == first.fingerprint
    assert all(p.stat().st_mtime_ns == t for p, t in stamps.items())
    (root / "celeba_hq" / "00003.png").write_bytes((root / "celeba_hq" / "00004.png").read_bytes())
    again = images_of("dataset=celeba_hq")
    assert again.fingerprint != first.fingerprint
    assert torch.equal(again.train.pixels[3], again.train.pixels[4])


def test_the_fingerprint_tells_what_is_used(root):
    lookalikes.celeba_hq(root)
    words = ([], ["dataset.n_train=5"], ["dataset.n_val=1"], ["dataset.bits=3"])
    assert len({images_of("dataset=celeba_hq", *w).fingerprint for w in words}) == len(words)


def test_what_a_killed_preparation_left_is_removed(root):
    lookalikes.celeba_hq(root)
    old, new = (root / "prepared" / "celeba_hq" / f".train.u8.{pid}.tmp" for pid in (1, 2))
    old.parent.mkdir(parents=True)
    for path in (old, new):
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    with open(new, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        images_of("dataset=celeba_hq")
    assert not old.exists() and new.exists(), "another process still writes to the new one"


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_cache_is_named(root, damage):
    lookalikes.celeba_hq(root)
    images_of("dataset=celeba_hq")
    path = root / "prepared" / "celeba_hq" / "val.u8"
    content = path.read_bytes()
    path.unlink()
    if damage != "remove":
        path.write_bytes(bytes([content[0] ^ 1, *content[1:]]) if damage == "flip" else content[:-1])
    with pytest.raises(DataError, match="damaged; delete") as error:
        images_of("dataset=celeba_hq")
    assert "prepared/celeba_hq" in str(error.value)


def test_a_folder_without_the_write_bit_stays_as_it_is(root, tmp_path):
    lookalikes.celeba_hq(root)
    root.chmod(0o555)
    try:
        images_of("dataset=celeba_hq")
        assert cache_folder() == tmp_path / "home/.cache/flowrepro/prepared"
        assert not (root / "prepared").exists()
        assert (tmp_path / "home/.cache/flowrepro/prepared/celeba_hq/cache.json").exists()
    finally:
        root.chmod(0o755)


# Missing and damaged files


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cifar10", "dataset.download=true"),
        ("faces64", "faces64_000.webp"),
        ("celeba", "mmlab.ie.cuhk.edu.hk"),
        ("imagenet32", "val_data.npz"),
        ("celeba_hq", "celeba_hq/"),
        ("fashion_mnist", "dataset.download=true"),
    ],
)
def test_a_missing_set_is_named_with_the_place_and_the_way(root, name, word):
    with pytest.raises(DataError, match="missing: ") as error:
        images_of(f"dataset={name}")
    assert word in str(error.value) and str(root) in str(error.value)


def test_a_missing_batch_strip_or_image_is_named(root, monkeypatch):
    lookalikes.cifar10_batches(root, monkeypatch)
    (root / "cifar-10-batches-py/data_batch_3").unlink()
    lookalikes.strips(root, monkeypatch, "faces64", {"faces64_000": 2, "faces64_002": 2}, 64)
    lookalikes.celeba(root, monkeypatch, "0022", zipped=False)
    (root / "celeba/img_align_celeba/000003.jpg").unlink()
    lookalikes.imagenet32_batches(root, monkeypatch, "oord")
    (root / "imagenet32/train_data_batch_1.npz").unlink()
    for name, missing in (
        ("cifar10", "data_batch_3"),
        ("faces64", "faces64_001.webp"),
        ("celeba", "000003.jpg"),
        ("imagenet32", "train_data_batch_1.npz"),
    ):
        with pytest.raises(DataError, match=f"missing: .*{missing}"):
            images_of(f"dataset={name}")


def test_damaged_files_are_named(root, monkeypatch):
    lookalikes.cifar10_batches(root, monkeypatch)
    lookalikes.celeba(root, monkeypatch, "0022", zipped=True)
    lookalikes.imagenet32_batches(root, monkeypatch, "oord")
    lookalikes.celeba_hq(root)
    lookalikes.strips(root, monkeypatch, "faces64", {"faces64_000": 2}, 64)
    for name, path, content, word in (
        ("cifar10", "cifar-10-batches-py/data_batch_2", b"x", "md5 is not the official one"),
        ("celeba", "celeba/img_align_celeba.zip", b"<html>quota exceeded", "web page"),
        (
            "celeba",
            "celeba/img_align_celeba.zip",
            b"PK not an archive",
            "cannot be read as the official archive",
        ),
        ("celeba", "celeba/list_eval_partition.txt", b"<html>", "not the official list"),
        ("imagenet32", "imagenet32/train_data_batch_2.npz", b"PK", "cannot be read as a batch of ImageNet32"),
        ("celeba_hq", "celeba_hq/00007.png", b"\x89PNG", "cannot be read as an image"),
        ("faces64", "faces64/faces64_000.webp", b"RIFF", "cannot be read as an image"),
    ):
        (root / path).write_bytes(content)
        with pytest.raises(DataError, match=word) as error:
            images_of(f"dataset={name}")
        assert path.rpartition("/")[2] in str(error.value) and "\n" not in str(error.value)
    assert not list((root / "prepared").rglob("cache.json")), "a half-read set must not look prepared"
    assert not list((root / "prepared").rglob("*.tmp"))


def test_an_image_of_another_size_is_named(root):
    lookalikes.celeba_hq(root)
    from PIL import Image

    Image.new("RGB", (32, 64)).save(root / "celeba_hq/00009.png")
    with pytest.raises(DataError, match=r"00009.png has 32x64 pixels, not 64x64"):
        images_of("dataset=celeba_hq")


# Dequantisation


def whole(levels=256, step=1, border=0, seed=0, split="train"):
    pixels = torch.arange(10 * 16, dtype=torch.uint8).view(10, 4, 4, 1)
    return Images(pixels, levels, step, border, seed, split)


def test_noise_is_uniform_and_leaves_the_grey_level():
    pixels = torch.full((40, 32, 32, 3), 100, dtype=torch.uint8)
    noise = Images(pixels)[:] - 100
    assert noise.min() >= 0 and noise.max() < 1
    assert abs(float(noise.mean()) - 0.5) < 0.005 and abs(float(noise.var()) - 1 / 12) < 0.001


def test_noise_depends_on_seed_split_draw_and_image_and_on_nothing_else():
    some = whole().take(torch.tensor([7, 2]), draw=3)
    assert torch.equal(some[1], whole().take(torch.tensor([1, 2, 3]), draw=3)[1])
    assert torch.equal(whole().first(5)[2:3], whole()[2:3])
    batches = [torch.cat(list(whole().split(size))) for size in (3, 4, 10)]
    assert torch.equal(batches[0], batches[1]) and torch.equal(batches[0], batches[2])
    others = [whole(seed=1), whole(split="val")]
    noises = [x.take(torch.tensor([2]), draw=3) for x in others]
    noises += [whole().take(torch.tensor([2]), draw=4), some[1:]]
    assert len({float(x.sum()) for x in noises}) == 4


def test_an_epoch_of_training_has_noise_of_its_own():
    data = images_of("dataset=digits")
    indices = torch.tensor([0, 1])
    first, second = (data.training_batch(indices, epoch) for epoch in (0, 1))
    assert torch.equal(first.floor(), second.floor()) and not torch.equal(first, second)
    assert not torch.equal(first, data.train[:2])


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_quantisation_cuts_the_lowest_bits(root, monkeypatch, bits):
    lookalikes.mnist(root, monkeypatch)
    data = images_of("dataset=mnist", f"dataset.bits={bits}")
    grey = data.train.interior(data.train[:]).floor()
    assert data.levels == 2**bits
    assert np.array_equal(grey.numpy(), data.train.pixels.numpy() // (256 / 2**bits))


def test_real_sets_are_what_they_should_be(real_data):
    fashion, cifar = images_of("dataset=fashion_mnist"), images_of("dataset=cifar10")
    assert (len(fashion.train), len(fashion.val)) == (60_000, 10_000)
    assert float(fashion.train.pixels.float().mean() / 255) == pytest.approx(0.2860, abs=1e-4)
    if "a part" in cifar.source:
        assert (len(cifar.train), len(cifar.val)) == (8_000, 2_000)
        means = cifar.train.pixels.float().mean((0, 1, 2)) / 255
        assert means.tolist() == pytest.approx([0.4918, 0.4816, 0.4452], abs=1e-4)
    faces = images_of("dataset=faces64")
    assert (len(faces.train), len(faces.val), faces.shape) == (700, 119, (3, 64, 64))


def test_a_flipped_byte_of_an_archive_is_named(root, monkeypatch):
    lookalikes.celeba(root, monkeypatch, "0022", zipped=True)
    path = root / "celeba" / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    for place in range(200, len(content) // 2, 50):
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError):
        images_of("dataset=celeba")


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 3072)), np.zeros((4, 64 * 64 * 3), np.uint8), np.zeros(3072, np.uint8)]
)
def test_a_batch_of_other_numbers_is_refused(root, monkeypatch, wrong):
    lookalikes.imagenet32_batches(root, monkeypatch, "oord")
    np.savez(root / "imagenet32" / "train_data_batch_1.npz", data=wrong)
    with pytest.raises(DataError, match="not uint8 of shape"):
        images_of("dataset=imagenet32")


def test_a_split_without_images_is_told(root, monkeypatch):
    lookalikes.strips(root, monkeypatch, "faces64", {"faces64_000": 2}, 64)
    with pytest.raises(DataError, match="no images of the val split"):
        images_of("dataset=faces64")


def test_a_missing_last_strip_or_image_is_told(root, monkeypatch):
    lookalikes.strips(
        root, monkeypatch, "CIFAR10/strips", {"test_000": 2, "train_000": 4, "train_001": 3}, 32
    )
    (root / "CIFAR10/strips/train_001.webp").unlink()
    lookalikes.imagenet32_images(root, monkeypatch, "oord")
    (root / "imagenet32/train_32x32/0000003.png").unlink()
    for name, told in (("cifar10", "4 of 7 images of the train split"), ("imagenet32", "7 of 8 images")):
        with pytest.raises(DataError, match=told):
            images_of(f"dataset={name}")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_16_bits_are_refused(tmp_path, channels):
    """Pillow would clip the grey ones to white, and cut the coloured ones to 8 bits."""
    path = tmp_path / "deep.png"
    path.write_bytes(lookalikes.png_of_16_bits(np.full((4, 4, channels), 40_000)))
    with pytest.raises(DataError, match=r"deep\.png has more than 8 bits"):
        decode(path, str(path))
