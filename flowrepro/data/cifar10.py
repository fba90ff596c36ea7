"""CIFAR-10: the official Python batches, in their folder or archive, or lossless strips of a part of it."""

import io
import pickle
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flowrepro.config.schema import ImageConfig
from flowrepro.data import files
from flowrepro.data.source import Chunks, Source
from flowrepro.data.strips import cifar10_part
from flowrepro.errors import DataError

SHAPE = (32, 32, 3)
FOLDERS = ("CIFAR10/cifar-10-batches-py", "cifar-10-batches-py")
ARCHIVE = "CIFAR10/cifar-10-python.tar.gz"
TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
VAL = ["test_batch"]

# MD5 of the official batches
BATCH_DIGESTS = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def cifar10(config: ImageConfig) -> Source:
    """The whole set if the official files are found, else the part in strips.

    Raises:
        DataError: nothing is found, or a batch or a strip is missing.
    """
    note = "CIFAR-10, the official batches"
    if folder := files.find_folder(*FOLDERS):
        paths = [folder / name for name in [*TRAIN, *VAL]]
        for path in paths:
            if not path.is_file():
                raise DataError(f"missing: {path.name} in {folder}; restore all official batches")
        reader: Callable[[list[str]], Chunks] = partial(from_folder, folder)
        return Source(paths, note, SHAPE, partial(reader, TRAIN), partial(reader, VAL))
    strips = files.find_folder("CIFAR10/strips")
    archive = files.find(ARCHIVE)
    if archive is None and strips and not config.download and (part := cifar10_part(strips)):
        return part
    if archive is None and not config.download:
        raise DataError(files.missing(ARCHIVE))
    archive = archive or files.fetch(ARCHIVE)
    return Source([archive], note, SHAPE, partial(from_archive, TRAIN), partial(from_archive, VAL))


def absent() -> list[str]:
    """The official archive, if neither it nor the folder is found."""
    return [] if files.find_folder(*FOLDERS) or files.find(ARCHIVE) else [ARCHIVE]


def from_folder(folder: Path, names: list[str]) -> Chunks:
    """The images (10,000, 32, 32, 3) of each of these batches."""
    for content, path in in_folder(folder, names):
        yield batch(content, path)


def from_archive(names: list[str]) -> Chunks:
    """The images (10,000, 32, 32, 3) of each of these batches in the official archive."""
    for content, path in in_archive(names):
        yield batch(content, path)


def labels(names: list[str]) -> Iterator[np.ndarray]:
    """The classes (10,000,) of each of these official batches, in their folder or in the archive."""
    folder = files.find_folder(*FOLDERS)
    for content, path in in_folder(folder, names) if folder else in_archive(names):
        yield _parsed(content, path, lambda found: np.asarray(found["labels"]))


def in_folder(folder: Path, names: list[str]) -> Iterator[tuple[bytes, Path]]:
    """The bytes of each of these batches, and where they are from."""
    for name in names:
        yield (folder / name).read_bytes(), folder / name


def in_archive(names: list[str]) -> Iterator[tuple[bytes, Path]]:
    """The same of the official archive. Raises DataError where it is damaged."""
    try:
        with tarfile.open(fileobj=io.BytesIO(files.read(ARCHIVE, download=False))) as archive:
            for name in names:
                member = archive.extractfile(f"cifar-10-batches-py/{name}")
                if member is None:
                    raise KeyError(f"{name} is not a file")
                yield member.read(), Path(ARCHIVE) / name
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise DataError(f"{ARCHIVE} is damaged ({error}); download the official file again") from error


def batch(content: bytes, path: Path) -> np.ndarray:
    """The images (n, 32, 32, 3) of an official batch. Raises DataError if it is not one."""
    return _parsed(
        content,
        path,
        lambda found: np.asarray(found["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
    )


def _parsed(content: bytes, path: Path, parse: Callable[[dict[str, Any]], np.ndarray]) -> np.ndarray:
    files.verified(path, content, "md5", BATCH_DIGESTS[path.name])
    try:
        return parse(BatchUnpickler(io.BytesIO(content), encoding="latin1").load())
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a batch of CIFAR-10 ({error}); download the official file again"
        ) from error


class BatchUnpickler(pickle.Unpickler):
    """Unpickles only arrays of bytes: a pickle could call any function."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            "_reconstruct": np.empty(0).__reduce__()[0],
            "ndarray": np.ndarray,
            "dtype": np.dtype,
            "encode": str.encode,
        }
        if name not in allowed or not (module.startswith("numpy") or module == "_codecs"):
            raise pickle.UnpicklingError(f"it needs {module}.{name}")
        return allowed[name]
