"""What identifies a run: the config values that differ from their defaults, and the content of a data file."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from flowrepro.config.options import default_of

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def counting(node: Any) -> dict[str, Any]:
    """The values of a config dataclass that a run's results depend on, including its name."""
    return {
        f.name: getattr(node, f.name) for f in dataclasses.fields(node) if f.metadata.get("identity", True)
    }


def differences(node: Any) -> dict[str, Any]:
    """Those of them that differ from their typed defaults; nested phases as dicts."""
    defaults = {f.name: default_of(f) for f in dataclasses.fields(node)}
    differing = {k: v for k, v in counting(node).items() if k != "name" and v != defaults[k]}
    return {
        k: [differences(v) for v in value] if k == "sequence" else value for k, value in differing.items()
    }


def content(path: str) -> str:
    """A digest of a file's bytes, or of a folder of images; or that it is missing."""
    place = Path(path).expanduser()
    if path and place.is_dir():
        return _folder_content(place)
    if not place.is_file():
        return "missing"
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, in the order of their names; hidden files are left out."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")
    return sorted(found, key=lambda p: p.relative_to(folder).as_posix())


def _folder_content(folder: Path) -> str:
    """Over the sizes of all images and the beginning of each: reading whole ones would take minutes."""
    digest = hashlib.sha256()
    for path in image_files(folder):
        with open(path, "rb") as file:
            digest.update(f"{path.stat().st_size}\n".encode() + file.read(4096))
    return digest.hexdigest()[:16]
