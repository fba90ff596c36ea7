"""Plain trees -> Config and back; the folder of YAML files."""

import dataclasses
from pathlib import Path
from typing import Any

from flowrepro.config.checks import problems
from flowrepro.config.schema import SCHEMAS, Config, ImageConfig
from flowrepro.errors import UsageError, nearest, ours


def conf_dir() -> Path:
    """The folder of YAML files: inside the installed package, or next to it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"


def from_tree(tree: dict[str, Any]) -> Config:
    """A Config from a plain nested dict; unknown keys and wrong types raise UsageError, all problems at once."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for group in SCHEMAS:
        if not isinstance(tree.get(group), dict):
            raise UsageError(f"{group}={tree.get(group)} is not an option of {group}, nor a group of keys")
    groups = {group: dict(tree[group]) for group in SCHEMAS}
    for group, node in groups.items():
        if node.get("name") not in SCHEMAS[group]:
            raise UsageError(
                f"{group}.name={node.get('name')} is unknown{nearest(node.get('name'), SCHEMAS[group])}"
            )
        check_keys(group, node)
    with ours():
        try:
            schema = OmegaConf.structured(
                Config(**{g: SCHEMAS[g][n["name"]](name=n["name"]) for g, n in groups.items()})
            )
            config = OmegaConf.to_object(OmegaConf.merge(schema, tree))
        except OmegaConfBaseException as error:
            raise UsageError(f"config key {error.full_key or '?'}: {str(error).splitlines()[0]}") from error
    assert isinstance(config, Config)
    _settle(config)
    if found := problems(config):
        raise UsageError("; ".join(found))
    return config


def check_keys(group: str, node: dict[str, Any]) -> None:
    """Raise UsageError if the option of a group has no such key."""
    known = [f.name for f in dataclasses.fields(SCHEMAS[group][node["name"]])]
    if unknown := [key for key in node if key not in known]:
        raise UsageError(
            f"{group}={node['name']} has no key '{unknown[0]}'{nearest(unknown[0], set(known) - {'name'})}"
        )


def _settle(config: Config) -> None:
    """Resolve the values from which others are computed."""
    if config.training.steps_per_layer:
        config.training.steps = config.training.steps_per_layer * getattr(config.model, "layers", 1)
    if config.dtype == "auto":
        images = isinstance(config.dataset, ImageConfig) or config.model.takes_images
        config.dtype = "float32" if images else "float64"


def saved_tree(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree that a run saved, converted to the current keys.

    `realnvp` with `levels` above 0 took images, before `realnvp_images` did so: its `layers` were steps of flow, its
    `hidden` two equal widths, its `batch_norm` ActNorm, and the keys it no longer has had no effect. Such a run is loaded,
    evaluated and plotted as one of `realnvp_images`; that model's own runs have other names, and do not resume it.
    """
    model = dict(tree.get("model") or {})
    if model.get("name") != "realnvp" or "levels" not in model:
        return tree
    if not (levels := model.pop("levels")):
        return {**tree, "model": model}
    images = {
        "name": "realnvp_images",
        "levels": levels,
        "steps": model["layers"],
        "hidden": model["hidden"][0],
        "scale": model["scale"],
        "act_norm": model["batch_norm"],
    }
    # steps_per_layer has become steps already
    return {**tree, "model": images, "training": {**tree["training"], "steps_per_layer": 0}}


def to_tree(config: Config) -> dict[str, Any]:
    """The plain nested dict of a Config: the inverse of `from_tree`."""
    return dataclasses.asdict(config)
