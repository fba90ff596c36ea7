"""All runs below a folder as a table, from their small files alone."""

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flowrepro.config.compose import compose
from flowrepro.config.identity import flatten
from flowrepro.config.keys import UNNAMED
from flowrepro.config.options import default_of
from flowrepro.config.quoting import as_word
from flowrepro.config.reading import saved_tree, to_tree
from flowrepro.config.schema import GROUPS, SCHEMAS, ImageConfig, TrainingConfig
from flowrepro.errors import FlowreproError
from flowrepro.runs.folder import Run, runs_folder, settled

COLUMNS = [
    *("run", "state", "data", "model", "regularizer", "differs"),
    *("val", "se", "bits_per_dim", "step", "steps", "age", "size"),
]
# what the best of comes first
DESCENDING = ("val", "step", "size")


def table(output_dir: str | Path = "outputs", wanted: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row per run, newest first.

    run: its name. state: as in its status; a run that was killed is interrupted. data, model, regularizer: the options.
    differs: the values that `train` would not take by itself. val, se: held-out log-likelihood in nats per sample with its
    standard error, at the last step of a run that has ended, else at its last validation. bits_per_dim: of runs on images.
    age: time since it was last written. size: of its folder, in MB.

    Args:
        output_dir: where `runs/` is.
        wanted: only runs with these values, as the command line has them, of several with commas any.
    """
    rows = []
    for file in runs_folder(output_dir).glob("*/config.yaml"):
        if not file.parent.is_symlink() and (tree := _tree(settled(file.parent))) is not None:
            if all(_is(flatten(tree), key, text) for key, text in (wanted or {}).items()):
                rows.append(_row(Run(file.parent), tree))
    return in_order(pd.DataFrame(rows, columns=COLUMNS), "age")


def in_order(runs: pd.DataFrame, by: str) -> pd.DataFrame:
    """The runs sorted by a column: the best, the largest or the newest first."""
    return runs.sort_values([by, "run"], ascending=[by not in DESCENDING, True], ignore_index=True)


def differing(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a saved config that `train` would not take for its data, model and scale, by their keys.

    Phases and scale by their names; of a user's own data all values that differ from the typed defaults.
    """
    named = [group for group in GROUPS if group != "phases"]
    own, usual = _by_hand(tree), _usual(*(f"{group}={tree[group]['name']}" for group in named))
    if not usual:
        return own
    flat, there = flatten(dict(tree)), flatten(usual)
    kept = {
        k: v for k, v in own.items() if k == "scale" or there.get(f"{k}.name" if k == "phases" else k) != v
    }
    # a setting of the scale that was set back
    return kept | {k: flat[k] for k in _by_hand(usual) if k in flat and k not in own and flat[k] != there[k]}


@functools.cache
def _usual(*words: str) -> dict[str, Any]:
    """The config that `train` composes of these words; empty if it needs more of them."""
    try:
        return to_tree(compose(list(words)))
    except FlowreproError:
        return {}


def _by_hand(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a saved config that differ from the typed defaults, by their keys; phases and scale by their names."""
    data = SCHEMAS["dataset"][tree["dataset"]["name"]]
    usual = "float32" if issubclass(data, ImageConfig) or takes_images(tree) else "float64"
    found = {k: tree[k] for k, v in (("seed", 0), ("dtype", usual)) if tree[k] != v}
    for group, options in SCHEMAS.items():
        found |= _changed(group, options[tree[group]["name"]], tree[group])
    for group, schema in UNNAMED.items():
        found |= {group: tree[group]["name"]} if tree[group]["name"] != schema().name else {}
    found |= _changed("training", TrainingConfig, tree["training"])
    path = tree["dataset"].get("path")
    return {"dataset.path": path, **found} if path else found


def takes_images(tree: Mapping[str, Any]) -> bool:
    """Whether the model of a saved config is one on images."""
    model: Any = SCHEMAS["model"][tree["model"]["name"]]
    return bool(model.takes_images)


def shown(values: Mapping[str, Any]) -> str:
    """Values as the command line has them."""
    return " ".join(f"{key}={as_word(value)}" for key, value in values.items())


def distinguished(runs: Sequence[Run]) -> list[str]:
    """For each of several runs its values of the keys and groups in which they differ from each other."""
    trees = [_tree(run.path) or {} for run in runs]
    flat = [{**flatten(tree), **{g: tree[g]["name"] for g in (*SCHEMAS, *UNNAMED) if tree}} for tree in trees]
    keys = dict.fromkeys([*SCHEMAS, *(key for tree in trees if tree for key in differing(tree))])
    varying = [key for key in keys if len({as_word(values.get(key)) for values in flat}) > 1]
    return [shown({key: values[key] for key in varying if key in values}) for values in flat]


def _is(values: Mapping[str, Any], key: str, text: str) -> bool:
    """Whether a key, or the option of a group, has a value, or one of several between commas."""
    value = values.get(key, values.get(f"{key}.name"))
    return any(_equal(value, part) for part in ([text] if text.startswith("[") else text.split(",")))


def _equal(value: Any, text: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return as_word(value) == text.replace(" ", "")


def _changed(prefix: str, schema: type, node: Mapping[str, Any]) -> dict[str, Any]:
    fields = [f for f in dataclasses.fields(schema) if f.name in node and f.name != "name"]
    counting = [f for f in fields if f.metadata.get("identity", True)]
    return {f"{prefix}.{f.name}": node[f.name] for f in counting if node[f.name] != default_of(f)}


def _tree(folder: Path) -> dict[str, Any] | None:
    """The saved config of a run; None if it cannot be read."""
    import yaml

    # reading a hundred of them as typed configs would take seconds
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = saved_tree(yaml.load((folder / "config.yaml").read_text(), loader))
        _by_hand(found)  # whether all that a row needs is there
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None
    return found


def _last(run: Run) -> dict[str, Any]:
    """The last validation of a run; empty if there is none yet."""
    return next(reversed(run.history()), {})


def _row(run: Run, tree: dict[str, Any]) -> dict[str, Any]:
    status = run.status
    state = status.get("state", "new")
    result = status.get("result") or _last(run)
    files = [file.stat() for file in run.path.rglob("*") if file.is_file() and not file.is_symlink()]
    written = status.get("heartbeat") or (run.path / "config.yaml").stat().st_mtime
    return {
        "run": run.name,
        "state": "interrupted" if state == "running" and not run.in_use else state,
        **{
            column: tree[group]["name"]
            for column, group in zip(("data", "model", "regularizer"), GROUPS, strict=False)
        },
        "differs": shown(differing(tree)),
        "val": result.get("val_log_prob", np.nan),
        "se": result.get("val_se", np.nan),
        "bits_per_dim": result.get("val_bits_per_dim", np.nan) if takes_images(tree) else np.nan,
        "step": status.get("step", 0),
        "steps": tree["training"]["steps"],
        "age": pd.Timedelta(seconds=round(max(0.0, time.time() - written))),
        "size": round(sum(file.st_size for file in files) / 1e6, 1),
    }
