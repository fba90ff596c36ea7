"""Small look-alikes of image data sets in their official layouts."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from flowrepro.data import celeba as faces
from flowrepro.data import cifar10, files, imagenet32
from flowrepro.data import strips as strips_of


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def mnist(root: Path, patch, folder: str = "MNIST", parts: tuple[int, int] = (30, 12)) -> None:
    """idx files whose digests are the expected ones."""
    (root / folder / "raw").mkdir(parents=True)
    digests = dict(files.DIGESTS)
    for part, n in zip(("train", "t10k"), parts, strict=True):
        contents = {
            "images-idx3": struct.pack(">4i", 2051, n, 28, 28) + noise(n, 28, 28, seed=n).tobytes(),
            "labels-idx1": struct.pack(">2i", 2049, n) + (np.arange(n) % 10).astype(np.uint8).tobytes(),
        }
        for kind, content in contents.items():
            name = f"{folder}/raw/{part}-{kind}-ubyte.gz"
            (root / name).write_bytes(gzip.compress(content, mtime=0))
            digests[name] = hashlib.sha256((root / name).read_bytes()).hexdigest()
    patch.setattr(files, "DIGESTS", digests)


def cifar10_batches(root: Path, patch, each: int = 4) -> np.ndarray:
    """The official folder of python batches; returns all images (n, 32, 32, 3), the test images last."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = noise(6 * each, 32, 32, 3)
    for k, (name, some) in enumerate(zip([*cifar10.TRAIN, *cifar10.VAL], np.split(images, 6), strict=True)):
        classes = range(each) if name in cifar10.VAL else range(k * each, (k + 1) * each)
        rows = np.ascontiguousarray(some.transpose(0, 3, 1, 2)).reshape(each, -1)
        content = pickle.dumps({"data": rows, "labels": [i % 10 for i in classes]}, protocol=2)
        (folder / name).write_bytes(content)
        patch.setitem(cifar10.BATCH_DIGESTS, name, hashlib.md5(content).hexdigest())
    return images


def cifar10_archive(root: Path, patch) -> np.ndarray:
    """The official archive of the same batches."""
    images = cifar10_batches(root / "unpacked", patch)
    (root / "CIFAR10").mkdir(parents=True)
    with tarfile.open(root / cifar10.ARCHIVE, "w:gz") as archive:
        archive.add(root / "unpacked" / "cifar-10-batches-py", "cifar-10-batches-py")
    digest = hashlib.sha256((root / cifar10.ARCHIVE).read_bytes()).hexdigest()
    patch.setitem(files.DIGESTS, cifar10.ARCHIVE, digest)
    return images


def strips(
    root: Path, patch, folder: str, names: dict[str, int], side: int, n_val: int | None = None
) -> np.ndarray:
    """Lossless strips of so many images each, the test ones or the last n_val held out; returns them in this order."""
    total = sum(names.values())
    n_val = sum(n for name, n in names.items() if "test" in name) if n_val is None else n_val
    patch.setitem(strips_of.COUNTS, folder.split("/")[0].lower(), (total - n_val, n_val))
    (root / folder).mkdir(parents=True)
    images = noise(total, side, side, 3)
    start = 0
    for name, n in names.items():
        strip = Image.fromarray(images[start : start + n].reshape(-1, side, 3))
        strip.save(root / folder / f"{name}.webp", lossless=True)
        start += n
    return images


def celeba(root: Path, patch, parts: str, zipped: bool) -> np.ndarray:
    """Aligned JPEGs in a folder or an archive, and the partition file; returns the decoded images."""
    patch.setattr(faces, "COUNTS", (parts.count("0"), parts.count("2")))
    (root / "celeba").mkdir(parents=True)
    lines, contents = [], {}
    for i, part in enumerate(parts):
        jpeg = io.BytesIO()
        Image.fromarray(noise(218, 178, 3, seed=i)).save(jpeg, format="jpeg")
        contents[f"{i + 1:06d}.jpg"] = jpeg.getvalue()
        lines.append(f"{i + 1:06d}.jpg {part}")
    (root / "celeba/list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    if zipped:
        with zipfile.ZipFile(root / "celeba/img_align_celeba.zip", "w") as archive:
            for name, content in contents.items():
                archive.writestr(f"img_align_celeba/{name}", content)
    else:
        (root / "celeba/img_align_celeba").mkdir()
        for name, content in contents.items():
            (root / "celeba/img_align_celeba" / name).write_bytes(content)
    return np.stack([np.asarray(Image.open(io.BytesIO(c)).convert("RGB")) for c in contents.values()])


def imagenet32_batches(root: Path, patch, version: str, n_val: int = 5) -> np.ndarray:
    """npz batches of a version, told by its number of held-out images; returns all images."""
    patch.setattr(imagenet32, "VERSIONS", {n_val: (version, 8), n_val + 1: ("another", 8)})
    (root / "imagenet32").mkdir(parents=True)
    images = noise(8 + n_val, 32, 32, 3)
    names = ["train_data_batch_1", "train_data_batch_2", "val_data"]
    for name, some in zip(names, np.split(images, [4, 8]), strict=True):
        rows = some.transpose(0, 3, 1, 2).reshape(len(some), -1)
        np.savez(root / "imagenet32" / f"{name}.npz", data=rows, labels=np.ones(len(some)))
    return images


def imagenet32_images(root: Path, patch, version: str, n_val: int = 5) -> np.ndarray:
    """Folders of .png images of a version; returns all images."""
    patch.setattr(imagenet32, "VERSIONS", {n_val: (version, 8)})
    images = noise(8 + n_val, 32, 32, 3)
    for folder, some in zip(imagenet32.FOLDERS, np.split(images, [8]), strict=True):
        (root / "imagenet32" / folder).mkdir(parents=True)
        for i, image in enumerate(some):
            Image.fromarray(image).save(root / "imagenet32" / folder / f"{i:07d}.png")
    return images


def celeba_hq(root: Path, n: int = 20, side: int = 64) -> np.ndarray:
    """A folder of square .png images."""
    (root / "celeba_hq").mkdir(parents=True)
    images = noise(n, side, side, 3)
    for i, image in enumerate(images):
        Image.fromarray(image).save(root / "celeba_hq" / f"{i:05d}.png")
    return images


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """A .png of 16 bits per value, grey (H, W, 1) or coloured (H, W, 3), which Pillow does not write itself."""
    height, width, channels = pixels.shape
    colour_type = {1: 0, 3: 2}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = {
        b"IHDR": struct.pack(">2I5B", width, height, 16, colour_type, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
