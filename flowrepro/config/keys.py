"""The groups, their options, and the keys that can be set; read from the files and the schema, without Hydra."""

import dataclasses
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from flowrepro.config.identity import flatten
from flowrepro.config.options import default_of
from flowrepro.config.reading import conf_dir
from flowrepro.config.schema import GROUPS, SCHEMAS, Config, PhasesConfig, ScaleConfig
from flowrepro.errors import nearest, ours

Fields = dict[str, dataclasses.Field[Any]]
# groups with a single dataclass, whose options are only files
UNNAMED: dict[str, type] = {"phases": PhasesConfig, "scale": ScaleConfig}


def files(group: str, config_dirs: Iterable[Path] = ()) -> dict[str, Path]:
    """The file of every option of a config group, both ours and the user's."""
    folders = [folder / group for folder in (conf_dir(), *config_dirs)]
    return {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for folder in folders
        for file in sorted(folder.rglob("*.yaml"))
    }


def options(group: str, config_dirs: Iterable[Path] = ()) -> dict[str, str]:
    """The options of a config group, each described by its file's title (figures) or first comment."""
    return {name: _headline(file) for name, file in files(group, config_dirs).items()}


def _headline(file: Path) -> str:
    with ours(file):
        lines = file.read_text().splitlines()
    titles = [line.removeprefix("title:").strip(" \"'") for line in lines if line.startswith("title:")]
    comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
    return next(iter([*titles, *comments]), "")


def tree(file: Path) -> dict[str, Any]:
    """What a file sets, unresolved."""
    import yaml

    with ours(file):
        found = yaml.safe_load(file.read_text())
    return found if isinstance(found, dict) else {}


def values(group: str, file: Path) -> dict[str, Any]:
    """What the file of an option sets, as flat keys of the whole config."""
    own = {k: v for k, v in tree(file).items() if k not in ("defaults", "name")}
    found = flatten(own if "@package _global_" in file.read_text() else {group: own})
    return {k: v for k, v in found.items() if k != f"{group}.name"}


def chosen(words: Iterable[str], config_dirs: Iterable[Path] = ()) -> dict[str, str]:
    """The option chosen for each group, else the default one; a model may set its own default regularizer."""
    named = (word.lstrip("+").split("=", 1) for word in words if "=" in word)
    given = {group: option for group, option in named if group in GROUPS}
    found = {group: option for group, option in _defaults(conf_dir() / "config.yaml") if group in GROUPS}
    if model := files("model", config_dirs).get(given.get("model", found["model"])):
        brought = [option for entry, option in _defaults(model) if entry.startswith("override /regularizer")]
        found["regularizer"] = [found["regularizer"], *brought][-1]
    return found | given


def _defaults(file: Path) -> list[tuple[str, str]]:
    """The `group: option` entries of a file's defaults list."""
    entries = (entry for entry in tree(file).get("defaults", []) if isinstance(entry, dict))
    return [item for entry in entries for item in entry.items()]


def schema_of(group: str, option: str, config_dirs: Iterable[Path] = ()) -> type | None:
    """The dataclass of an option, None if unknown; for a user's option that of the `name` in its file."""
    if group in UNNAMED:
        return UNNAMED[group]
    file = files(group, config_dirs).get(option)
    return SCHEMAS[group].get(tree(file).get("name", option) if file else option)


def schemas(group: str) -> dict[type, list[str]]:
    """The dataclasses of a group, each with its options."""
    if group in UNNAMED:
        return {UNNAMED[group]: list(files(group))}
    found: dict[type, list[str]] = {}
    for option, schema in SCHEMAS[group].items():
        found.setdefault(schema, []).append(option)
    return found


def keys_of(schema: type, prefix: str = "") -> Fields:
    """The keys of a config dataclass."""
    return {f"{prefix}.{f.name}".lstrip("."): f for f in dataclasses.fields(schema) if f.name != "name"}


def general_keys() -> Fields:
    """The keys that belong to no group."""
    found: Fields = {}
    for field in dataclasses.fields(Config):
        if field.name in ("training", "evaluation"):
            found |= keys_of(type(default_of(field)), field.name)
        elif field.name not in GROUPS:
            found[field.name] = field
    return found


@cache
def all_keys() -> Fields:
    """Every key that some option has."""
    grouped = [keys_of(schema, group) for group in GROUPS for schema in schemas(group)]
    return {key: field for fields in grouped for key, field in fields.items()} | general_keys()


def keys(options: dict[str, str], config_dirs: Iterable[Path] = ()) -> Fields:
    """The keys of these options, without those of other options of their groups."""
    found: Fields = {}
    for group, option in options.items():
        if schema := schema_of(group, option, config_dirs):
            found |= keys_of(schema, group)
    return found | general_keys()


def nearest_key(key: str, words: list[str], config_dirs: Iterable[Path] = ()) -> str:
    """The end of the error line of an unknown key: what it may mean with the options that these words choose."""
    dirs = list(config_dirs)
    return nearest(key, [*GROUPS, *keys(chosen(words, dirs), dirs)])
