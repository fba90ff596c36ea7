"""The identity of a run: what of its config makes it this run, and the name that follows from it."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from flowrepro.config.schema import GROUPS, ArrayConfig, Config, ImageConfig


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def resolved_dtype(config: Config) -> str:
    """`auto` resolved: images train in float32, vectors in float64."""
    if config.dtype != "auto":
        return config.dtype
    return "float32" if isinstance(config.dataset, ImageConfig) else "float64"


def identity(config: Config) -> dict[str, Any]:
    """What makes a run this run: group names, seed, dtype and every value that differs from its typed default."""
    tree: dict[str, Any] = {
        group: {"name": getattr(config, group).name, **_differences(getattr(config, group))}
        for group in GROUPS
    }
    tree["training"] = _differences(config.training)
    if isinstance(config.dataset, ArrayConfig):
        tree["dataset"]["content"] = _content(config.dataset.path)
    return {**tree, "seed": config.seed, "dtype": resolved_dtype(config)}


def _differences(node: Any) -> dict[str, Any]:
    """The fields of a dataclass that count for identity and differ from their defaults; nested phases as dicts."""
    differing = {}
    for f in dataclasses.fields(node):
        if f.name == "name" or not f.metadata.get("identity", True):
            continue
        default = f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[operator]
        value = getattr(node, f.name)
        if value != default:
            differing[f.name] = [_differences(v) for v in value] if f.name == "sequence" else value
    return differing


def _content(path: str) -> str:
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else "missing"


def run_name(config: Config) -> str:
    """`<dataset>-<model>-<regularizer>-<hash>`: the same config always gives the same name."""
    digest = hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:8]
    return f"{config.dataset.name}-{config.model.name}-{config.regularizer.name}-{digest}"
