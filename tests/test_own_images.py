"""A user's own images: a folder, or an array of 4 dimensions, for every model that takes images."""

import json
import shutil
from pathlib import Path

import lookalikes
import numpy as np
import pytest
import torch
from PIL import Image

from flowrepro.config.compose import compose
from flowrepro.data import load, load_images
from flowrepro.data.own_images import grey_levels
from flowrepro.data.pixels import pixels
from flowrepro.errors import DataError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of 12 coloured images of 8x8 pixels, some in a subfolder, beside an empty data folder."""
    monkeypatch.setenv("FLOWREPRO_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    folder = tmp_path / "mine"
    (folder / "more").mkdir(parents=True)
    for i, noise in enumerate(lookalikes.noise(12, 8, 8, 3)):
        name = f"more/{i}.webp" if i % 2 else f"{i}.PNG"
        Image.fromarray(noise).save(folder / name, lossless=True)
    (folder / "._0.PNG").write_bytes(b"what a Mac leaves")
    (folder / "readme.txt").write_text("not an image")
    return folder


def images_of(place, *words):
    return load_images(
        compose(["dataset=images", f"dataset.path='{place}'", *words]).dataset, torch.float32, 0
    )


def test_a_trial_writes_nothing(place):
    config = compose(["dataset=images", f"dataset.path='{place}'"]).dataset
    assert pixels(config, trial=3).shape == (8, 8, 3)
    assert not list((place.parent / "data").iterdir())


def as_set(images):
    return {image.tobytes() for image in np.asarray(images)}


def test_every_image_of_a_folder_is_in_one_part(place):
    data = images_of(place, "dataset.val_fraction=0.25")
    assert (len(data.train), len(data.val), data.shape) == (9, 3, (3, 8, 8))
    found = as_set(data.train.pixels) | as_set(data.val.pixels)
    assert found == as_set(lookalikes.noise(12, 8, 8, 3))
    assert as_set(images_of(place, "dataset.seed=1").val.pixels) != as_set(images_of(place).val.pixels)
    vectors = load(compose(["dataset=images", f"dataset.path='{place}'"]).dataset, torch.float32)
    assert vectors.train.shape == (11, 192) and vectors.image_shape == (8, 8, 3)


def test_sizes_are_checked_and_changed_on_demand(place):
    Image.new("RGB", (16, 8)).save(place / "wide.png")
    with pytest.raises(DataError, match=r"wide\.png has 16x8 pixels, not 8x8; dataset\.size=8"):
        images_of(place)
    assert images_of(place, "dataset.size=4").shape == (3, 4, 4)


def test_a_folder_moved_is_the_same_run_and_one_changed_another(place):
    def name(folder):
        return compose(["dataset=images", f"dataset.path='{folder}'", "model=glow"]).run_name

    before = name(place)
    moved = place.rename(place.parent / "moved")
    assert name(moved) == before
    (moved / "0.PNG").write_bytes((moved / "2.PNG").read_bytes())
    assert name(moved) != before


def colour(path):
    Image.new("RGB", (8, 8), "red").save(path)


def transparent(path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path)


def deep(path):
    path.write_bytes(lookalikes.png_of_16_bits(np.full((8, 8, 1), 40_000)))


def damaged(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n and no more")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [(colour, "in colour"), (transparent, "transparent"), (deep, "8 bits"), (damaged, "as an image")],
)
def test_what_cannot_be_used_is_named(tmp_path, monkeypatch, spoil, word):
    monkeypatch.setenv("FLOWREPRO_DATA", str(tmp_path))
    (tmp_path / "grey").mkdir()
    for i, noise in enumerate(lookalikes.noise(12, 8, 8)):
        Image.fromarray(noise).save(tmp_path / f"grey/{i:02d}.png")
    assert images_of(tmp_path / "grey").shape == (1, 8, 8)
    spoil(tmp_path / "grey/zz.png")
    with pytest.raises(DataError, match=rf"zz\.png.*{word}"):
        images_of(tmp_path / "grey")


def test_photographs_are_turned_upright(place):
    for path in place.rglob("*.*"):
        path.unlink()
    wide = np.zeros((4, 8, 3), np.uint8)
    for i in range(10):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(wide).save(place / f"{i}.jpg", exif=exif)
    assert images_of(place).shape == (3, 8, 4)


@pytest.mark.parametrize("path", ["", "nowhere", "file"])
def test_a_folder_that_is_none_is_named(tmp_path, path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="dataset.path"):
        images_of(tmp_path / path if path else "")
    with pytest.raises(DataError, match="at least 10"):
        images_of(tmp_path)


def test_arrays_have_their_channels_first_or_last_or_none():
    images = lookalikes.noise(12, 8, 6, 3)
    assert np.array_equal(grey_levels(images, "a.npy"), images)
    assert np.array_equal(grey_levels(np.moveaxis(images, -1, 1).astype(int), "a.npy"), images)
    assert np.array_equal(grey_levels(images[..., 0], "a.npy"), images[..., :1])


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((12, 8, 8, 2), np.uint8), r"\(12, 8, 8, 2\)"),
        (np.zeros((12, 3, 8, 3), np.uint8), r"\(12, 3, 8, 3\)"),
        (np.zeros((40, 3)), r"\(40, 3\)"),
        (np.full((12, 8, 8), 40_000, np.uint16), "uint16 from 40000 to 40000"),
        (np.full((12, 8, 8), 0.5), "float64 from 0.5 to 0.5"),
        (np.full((12, 8, 8), -1), "from -1"),
        (np.zeros((3, 8, 8), np.uint8), "at least 10"),
    ],
)
def test_other_arrays_are_no_images(array, word):
    with pytest.raises(DataError, match=word):
        grey_levels(array, "a.npy")


TINY = ["scale=smoke", "training.steps=3", "model.levels=1", "model.steps=1", "model.hidden=4", "threads=1"]


def test_a_folder_leads_to_samples(flowrepro, place, tmp_path_factory):
    words = ["model=glow", "dataset=images", f"dataset.path={place}", *TINY]
    trained = flowrepro("train", *words)
    assert trained.code == 0 and "8x8 pixels, colour" in trained.out
    assert flowrepro("evaluate", "run=latest", "evaluation.n_samples=4").code == 0
    decoy = place.parent / "decoy"
    shutil.copytree(place, decoy)
    (decoy / "0.PNG").write_bytes((decoy / "2.PNG").read_bytes())
    renamed = place.rename(place.parent / "renamed")
    told = flowrepro("evaluate", "run=latest", "evaluation.n_samples=4")
    assert told.code == 0, "found by its content beside where it was"
    assert json.loads(Path("outputs/runs/latest/manifest.json").read_text())["file"]["path"] == str(renamed)
    moved = renamed.rename(tmp_path_factory.mktemp("elsewhere") / "moved")
    lost = flowrepro("evaluate", "run=latest")
    assert lost.code == 3 and "dataset.path=" in lost.err
    told = ["dataset=images", f"dataset.path={moved}"]
    assert flowrepro("evaluate", "run=latest", *told, "evaluation.n_samples=4").code == 0


@pytest.mark.parametrize("model", ["glow", "realnvp_images", "qlf", "nf", "nif", "nif_deep"])
def test_an_array_of_images_trains_every_image_model(flowrepro, workdir, model):
    np.save(workdir / "images.npy", lookalikes.noise(20, 8, 8, 1))
    words = [f"model={model}", "dataset=array", "dataset.path=images.npy", *TINY]
    words += ["model.latent_dim=4"] if model.startswith("nif") else []
    answer = flowrepro("train", *words)
    assert answer.code == 0, answer.err
    assert "8x8 pixels" in answer.out
