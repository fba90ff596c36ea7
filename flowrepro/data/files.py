"""Finding, verifying and downloading the files of official data sets."""

import gzip
import hashlib
import os
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from flowrepro.data.reading import reading
from flowrepro.errors import DataError

# a download that has not written for this long has ended: its connection would have timed out
IDLE_SECONDS = 60
# MNIST is served by several mirrors of the original site, Fashion-MNIST by its authors
SOURCES = {
    "MNIST": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "FashionMNIST": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    "CIFAR10": ("https://www.cs.toronto.edu/~kriz/",),
}

# SHA-256 of the official .gz files
DIGESTS = {
    "MNIST/raw/train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "MNIST/raw/train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "MNIST/raw/t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "MNIST/raw/t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    "FashionMNIST/raw/train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "FashionMNIST/raw/train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "FashionMNIST/raw/t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    "CIFAR10/cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
}

# MD5 of the same files unpacked, as torchvision leaves them next to the .gz
UNPACKED_DIGESTS = {
    "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
}


def data_folders() -> list[Path]:
    """The folders searched, in order; downloads go to the first."""
    own = os.environ.get("FLOWREPRO_DATA")
    return [Path(own)] if own else [Path.home() / ".cache" / "flowrepro"]


def read(name: str, download: bool) -> bytes:
    """The unpacked bytes of an official file such as `MNIST/raw/train-images-idx3-ubyte.gz`, verified.

    Raises:
        DataError: missing (the message says where it was looked for and how to get it) or damaged.
    """
    path = find(name) or (fetch(name) if download else None)
    if path is None:
        raise DataError(missing(name))
    content = path.read_bytes()
    if path.suffix != ".gz":
        return verified(path, content, "md5", UNPACKED_DIGESTS.get(name.removesuffix(".gz")))
    verified(path, content, "sha256", DIGESTS[name])
    with reading(path, "the official file", _replace(path)):
        return gzip.decompress(content)


def find(name: str) -> Path | None:
    """The path of a file, compressed or not; None if it is in no folder."""
    for folder in data_folders():
        for candidate in (folder / name, folder / name.removesuffix(".gz")):
            if candidate.is_file():
                return candidate
    return None


def find_folder(*names: str) -> Path | None:
    """The first of these folders that exists in a data folder."""
    candidates = [folder / name for folder in data_folders() for name in names]
    return next((path for path in candidates if path.is_dir()), None)


def missing(name: str, way: str = "download it with dataset.download=true or manually") -> str:
    """The message: what is missing, where it was looked for, and how to get it."""
    places = ", ".join(str(folder / name) for folder in data_folders())
    return f"missing: {name}; looked for {places} (FLOWREPRO_DATA sets the folder); {way}"


def fetch(name: str) -> Path:
    """Download and verify a file into the data folder; FLOWREPRO_MIRROR=URL replaces the official servers.

    Raises:
        DataError: no server returned the right bytes.
    """
    import pooch

    # pooch would print the whole address
    pooch.get_logger().setLevel("WARNING")
    target = data_folders()[0] / name
    _remove_halves(target.parent)
    mirror = os.environ.get("FLOWREPRO_MIRROR")
    official = [base + target.name for base in SOURCES[name.split("/")[0]]]
    urls = [f"{mirror.rstrip('/')}/{name}"] if mirror else official
    failures = []
    for url in urls:
        try:
            print(f"downloading {public(url)}", flush=True)
            found = pooch.retrieve(
                url,
                f"sha256:{DIGESTS[name]}",
                fname=target.name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
            )
            return Path(found)
        except (
            OSError,
            ValueError,
        ) as error:  # requests' errors are OSErrors; a wrong digest is a ValueError
            failures.append(f"{public(url)}: {' '.join(without_secrets(str(error), url).split())[:150]}")
    raise DataError(f"cannot download {name}: {'; '.join(failures)}; download it manually to {target}")


def _remove_halves(folder: Path) -> None:
    """Delete what downloads that were killed left in a folder, under the names of temporary files."""
    for file in folder.glob("tmp????????"):
        if file.is_file() and time.time() - file.stat().st_mtime > IDLE_SECONDS:
            file.unlink(missing_ok=True)


def public(url: str) -> str:
    """A URL without user, password, query and fragment, which may be secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_secrets(text: str, url: str) -> str:
    """A message of a library with what `public` leaves out of the URL replaced by asterisks."""
    parts = urlsplit(url)
    secrets = (parts.netloc.rpartition("@")[0], parts.password, parts.query, parts.fragment)
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def verified(path: Path, content: bytes, algorithm: str, expected: str | None) -> bytes:
    """The content itself. Raises DataError if it is a web page, or its digest is not the expected one."""
    if content.lstrip()[:1] == b"<":
        raise DataError(f"{path} is a web page, not data; {_replace(path)}")
    if expected is not None and hashlib.new(algorithm, content).hexdigest() != expected:
        raise DataError(f"{path} is damaged: its {algorithm} is not the official one; {_replace(path)}")
    return content


def _replace(path: Path) -> str:
    return "delete it, then use dataset.download=true or download it manually"
