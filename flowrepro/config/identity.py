"""What identifies a run: the config values that differ from their defaults, and the content of a data file."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from flowrepro.config.options import default_of


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
    """A digest of a file's bytes, or that it is missing."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else "missing"
