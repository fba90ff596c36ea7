"""Image files: real ones where they are, look-alikes in the official layout, damage of every kind, downloads."""

import functools
import gzip
import hashlib
import math
import os
import struct
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import lookalikes
import pytest
import torch

from flowrepro.analysis.bounds import linear_baseline
from flowrepro.config.compose import compose
from flowrepro.data import check, files, load
from flowrepro.errors import DataError
from flowrepro.metrics.likelihood import bits_per_dim, summary


@pytest.fixture
def lookalike(tmp_path, monkeypatch):
    """A small MNIST in the official layout, whose digests are the expected ones."""
    lookalikes.mnist(tmp_path / "data", monkeypatch)
    monkeypatch.setenv("FLOWREPRO_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def mnist(*words):
    return load(compose(["dataset=mnist", *words]).dataset, torch.float32)


def test_the_official_layout_is_read(lookalike):
    data = mnist()
    assert (data.train.shape, data.val.shape) == ((30, 784), (12, 784))
    assert 0 <= data.train.min() and data.train.max() <= 1
    assert (data.image_shape, data.levels) == ((28, 28), 256)
    assert len(mnist("dataset.n_train=7").train) == 7
    twos = load(compose(["dataset=mnist2"]).dataset, torch.float32)
    assert torch.equal(twos.train, data.train[2::10]) and torch.equal(twos.val, data.val[2::10])
    assert "the official files" in check(compose(["dataset=mnist"]).dataset)


def test_a_missing_file_is_named_with_the_places_and_the_way(lookalike):
    (lookalike / "MNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    for call in (mnist, lambda: check(compose(["dataset=mnist"]).dataset)):
        with pytest.raises(DataError) as error:
            call()
        for word in ("t10k-labels-idx1-ubyte.gz", str(lookalike), "dataset.download=true"):
            assert word in str(error.value)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda b: bytes([*b[:50], b[50] ^ 1, *b[51:]]), "sha256"),
        (lambda b: b[:-20], "sha256"),
        (lambda b: b"<html>quota</html>", "web page"),
        (lambda b: b"", "sha256"),
    ],
)
def test_a_damaged_file_is_named(lookalike, damage, word):
    path = lookalike / "MNIST/raw/train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=word) as error:
        mnist()
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (struct.pack(">4i", 2049, 30, 28, 28), "not an idx file"),
        (struct.pack(">4i", 2051, 30, 28, 28) + bytes(100), "truncated"),
        (struct.pack(">4i", 2051, 1, 28, 28) + bytes(784), "1 images but 30 labels"),
        (b"ab", "not an idx file"),
    ],
)
def test_a_wrong_header_is_told(lookalike, monkeypatch, content, word):
    name = "MNIST/raw/train-images-idx3-ubyte.gz"
    (lookalike / name).write_bytes(gzip.compress(content))
    monkeypatch.setitem(files.DIGESTS, name, hashlib.sha256((lookalike / name).read_bytes()).hexdigest())
    with pytest.raises(DataError, match=word):
        mnist()


def test_unpacked_files_are_read_and_checked_too(lookalike, monkeypatch):
    name = "MNIST/raw/train-images-idx3-ubyte"
    packed = lookalike / f"{name}.gz"
    whole = mnist().train
    (lookalike / name).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    with pytest.raises(DataError, match="md5"):
        mnist()
    monkeypatch.setitem(
        files.UNPACKED_DIGESTS, name, hashlib.md5((lookalike / name).read_bytes()).hexdigest()
    )
    assert torch.equal(mnist().train, whole)


@pytest.fixture
def server(lookalike, tmp_path, monkeypatch):
    """A web server of the look-alike files, and an empty data folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(lookalike))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setenv("FLOWREPRO_MIRROR", f"http://127.0.0.1:{httpd.server_port}/")
        monkeypatch.setenv("FLOWREPRO_DATA", str(tmp_path / "empty"))
        yield lookalike
        httpd.shutdown()


def test_downloads_are_fetched_once_and_verified(server, tmp_path):
    half = tmp_path / "empty/MNIST/raw/tmpabcd1234"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    os.utime(half, (0, 0))
    data = mnist("dataset.download=true")
    assert data.train.shape == (30, 784)
    assert (tmp_path / "empty/MNIST/raw/t10k-labels-idx1-ubyte.gz").exists() and not half.exists()
    (server / "MNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    assert torch.equal(mnist().train, data.train)


def test_a_wrong_download_is_refused_and_leaves_nothing(server, tmp_path):
    (server / "MNIST/raw/train-images-idx3-ubyte.gz").write_bytes(b"<html>quota</html>")
    with pytest.raises(DataError, match="cannot download"):
        mnist("dataset.download=true")
    assert not (tmp_path / "empty/MNIST/raw/train-images-idx3-ubyte.gz").exists()


def test_a_server_that_is_not_there_is_told(server, monkeypatch):
    monkeypatch.setenv("FLOWREPRO_MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"cannot download.*download it manually"):
        mnist("dataset.download=true")


def test_no_secret_of_a_mirror_is_printed(server, monkeypatch, capfd):
    monkeypatch.setenv("FLOWREPRO_MIRROR", "http://someone:hush@127.0.0.1:9/files")
    with pytest.raises(DataError, match="cannot download") as refused:
        mnist("dataset.download=true")
    told = "".join([str(refused.value), *capfd.readouterr()])
    assert "hush" not in told and "http://127.0.0.1:9/files/MNIST" in told
    url = "https://someone:hush@host/a?token=abc"
    assert files.public(url) == "https://host/a"
    assert "abc" not in files.without_secrets(f"no answer from {url}", url)


def test_bundled_digits():
    digits = load(compose(["dataset=digits"]).dataset, torch.float32)
    twos = load(compose(["dataset=digits2"]).dataset, torch.float32)
    assert len(digits.train) + len(digits.val) == 1797
    assert (len(twos.train), len(twos.val)) == (142, 35)
    assert twos.train.max() <= 1 and twos.image_shape == (8, 8) and twos.levels == 17


def test_mnist_twos_are_the_papers(real_data):
    data = load(compose(["dataset=mnist2"]).dataset, torch.float64)
    assert (len(data.train), len(data.val)) == (5958, 1032)
    centred = data.train - data.train.mean(0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).flip(0)
    assert eigenvalues.sum().item() == pytest.approx(50.760, abs=1e-3)
    assert eigenvalues[:3].tolist() == pytest.approx([6.103, 4.049, 3.155], abs=1e-3)
    assert int((data.train.std(0) == 0).sum()) == 173


@pytest.mark.parametrize(
    ("alpha", "train", "val"),
    [
        (1e-5, 1680.6, 1450.4),
        (5e-5, 1505.3, 1430.9),
        (1e-4, 1424.4, 1375.9),
        (1e-3, 1116.6, 1103.6),
        (1e-2, 690.0, 688.6),
    ],
)
def test_the_closed_form_linear_baseline_has_the_known_values_in_nats(real_data, alpha, train, val):
    data = load(compose(["dataset=mnist2"]).dataset, torch.float32)
    for x, known in ((data.train, train), (data.val, val)):
        assert linear_baseline(data.train, x, alpha).mean().item() == pytest.approx(known, abs=0.06)
    if alpha == 5e-5:
        found = summary(linear_baseline(data.train, data.val, alpha))
        assert found["se"] == pytest.approx(27, abs=0.6)
        assert found["median"] == pytest.approx(1552.2, abs=0.6)
        assert found["worst"] == pytest.approx(-17_454, abs=2)


@pytest.mark.parametrize(("nats", "bits"), [(2111, -3.885), (2014, -3.706), (3265, -6.008), (-5659, 10.414)])
def test_bits_per_dim_of_the_papers_scores(nats, bits):
    assert bits_per_dim(nats, 784) == pytest.approx(bits, abs=1e-3)
    assert bits_per_dim(nats, 784, levels=256) == pytest.approx(bits + math.log2(255), abs=1e-3)


@pytest.mark.parametrize("name", ["digits", "digits2", "mnist2", "cifar10"])
def test_bits_of_grey_levels_know_the_step_between_pixels(name, request):
    if not name.startswith("digits"):
        request.getfixturevalue("real_data")
    data = load(
        compose([f"dataset={name}", "dataset.n_train=200", "dataset.n_val=50"]).dataset, torch.float64
    )
    step = float(data.train.unique().diff().min())
    assert bits_per_dim(0.0, data.dim, data.levels) == pytest.approx(-math.log2(step), abs=1e-9)


def test_bits_of_grey_levels_are_those_of_the_density_of_grey_levels():
    data = load(compose(["dataset=digits2"]).dataset, torch.float64)
    by_pixels = linear_baseline(data.train, data.val, 5e-5).mean()
    by_levels = linear_baseline(16 * data.train, 16 * data.val, 5e-5 * 16**2).mean()
    ours = bits_per_dim(float(by_pixels), data.dim, data.levels)
    assert ours == pytest.approx(bits_per_dim(float(by_levels), data.dim), abs=1e-9)


def test_the_linear_baseline_of_bundled_twos_in_bits_of_grey_levels():
    data = load(compose(["dataset=digits2"]).dataset, torch.float64)
    value = float(linear_baseline(data.train, data.val, 5e-5).mean())
    assert bits_per_dim(value, 64, data.levels) == pytest.approx(2.5087, abs=1e-4)


def test_fashion_mnist(real_data):
    data = load(compose(["dataset=fashion_mnist", "dataset.n_train=100"]).dataset, torch.float32)
    assert (len(data.train), len(data.val)) == (100, 10_000)
