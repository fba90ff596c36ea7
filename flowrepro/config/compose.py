"""Command-line arguments -> Config: Hydra composes; this module checks first and reports errors in one line."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

from flowrepro.config.keys import all_keys, nearest_key, options
from flowrepro.config.quoting import quoted
from flowrepro.config.reading import conf_dir, from_tree
from flowrepro.config.schema import GROUPS, Config
from flowrepro.errors import UsageError, nearest, ours

MOST_JOBS = 10_000


@contextmanager
def hydra_at(config_dirs: Iterable[Path] = ()) -> Iterator[Any]:
    """Hydra initialised on the conf folders; yields the Hydra object."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name="flowrepro", version_base="1.3"):
            yield GlobalHydra.instance().hydra
    finally:
        GlobalHydra.instance().clear()


def search_path(config_dirs: Iterable[Path]) -> list[str]:
    """The override that adds the user's own conf folders."""
    dirs = [str(Path(d).resolve()) for d in config_dirs]
    for folder in dirs:
        if not Path(folder).is_dir():
            raise UsageError(f"--config-dir {folder}: no such folder")
    return [f"hydra.searchpath=[{','.join(quoted('file://' + d) for d in dirs)}]"] if dirs else []


def check_words(words: list[str], config_dirs: Iterable[Path] = ()) -> list[str]:
    """The arguments as Hydra overrides, groups and keys checked; values are typed later. Raises UsageError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    known = all_keys()
    checked = []
    for word in words:
        if "=" not in word:
            raise UsageError(f"'{word}' is not key=value{nearest_key(word, words, config_dirs)}")
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise UsageError(f"'{word}' cannot be read: {' '.join(str(error).split())[:160]}") from error
        if override.is_delete():
            raise UsageError(f"'{word}': keys cannot be deleted; set the value instead")
        key = override.key_or_group
        if key in GROUPS:
            _check_options(key, override, config_dirs)
            checked.append(word.lstrip("+"))
        elif key in known or (key.rsplit(".", 1)[0] in known and not override.is_sweep_override()):
            checked.append("++" + word.lstrip("+"))
        elif key.startswith("hydra"):
            checked.append(word)
        else:
            raise UsageError(f"unknown key '{key}'{nearest_key(key, words, config_dirs)}")
    return checked


def _check_options(group: str, override: Any, config_dirs: Iterable[Path]) -> None:
    known = options(group, config_dirs)
    for name in swept(override, config_dirs) if override.is_sweep_override() else [override.value()]:
        if str(name) not in known:
            raise UsageError(f"{group} '{name}' is unknown{nearest(name, known)}")


def compose(words: list[str], config_dirs: Iterable[Path] = ()) -> Config:
    """The Config that these arguments select. Raises UsageError with one helpful line."""
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    config_dirs = list(config_dirs)
    # to Hydra conf/figure is a group of configs to merge; to us a figure is a name
    figure = next((w.partition("=")[2] for w in reversed(words) if w.startswith("figure=")), "")
    # a figure has no data set of its own: whether to fetch any is for its runs
    theirs = ("figure=", "dataset.download=") if figure else ("figure=",)
    checked = check_words([w for w in words if not w.lstrip("+").startswith(theirs)], config_dirs)
    with ours():
        with hydra_at(config_dirs):
            tree = hydra_compose("config", overrides=[*search_path(config_dirs), *checked])
        plain = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(plain, dict)
    return from_tree({**{str(k): v for k, v in plain.items()}, "figure": figure})


def expand(words: list[str], config_dirs: Iterable[Path] = ()) -> list[list[str]]:
    """The jobs of a sweep: one list of arguments per combination of the swept values, in Hydra's order."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    config_dirs = list(config_dirs)
    check_words(words, config_dirs)
    choices = []
    for word in words:
        override = OverridesParser.create().parse_override(word)
        if override.is_sweep_override():
            choices.append([f"{override.get_key_element()}={v}" for v in swept(override, config_dirs)])
        else:
            choices.append([word])
    if (count := prod(map(len, choices))) > MOST_JOBS:
        raise UsageError(f"a sweep of {count:,} jobs is too large; at most {MOST_JOBS:,}")
    return [list(job) for job in product(*choices)]


def swept(override: Any, config_dirs: Iterable[Path] = ()) -> list[str]:
    """The values of a sweep, as words. Raises UsageError for those that no grid can enumerate."""
    from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep

    values = override.value()
    if isinstance(values, RangeSweep):
        _check_range(override.input_line, values)
    if isinstance(values, IntervalSweep):
        raise UsageError(
            f"'{override.input_line}': no grid has every value of an interval; list some, or use range()"
        )
    if isinstance(values, Glob):
        if override.key_or_group not in GROUPS:
            raise UsageError(f"'{override.input_line}': glob() selects options of {', '.join(GROUPS)}")
        found = values.filter(list(options(override.key_or_group, config_dirs)))
    else:
        with ours(f"'{override.input_line}'"):
            found = list(override.sweep_string_iterator())
    if not found:
        raise UsageError(f"'{override.input_line}' has no values")
    return found


def _check_range(word: str, values: Any) -> None:
    """Refuse a range that has too many values, or, as with a step of zero, none to count."""
    try:
        count = sum(1 for _ in islice(values.range(), MOST_JOBS + 1))
    except (ValueError, ArithmeticError) as error:
        raise UsageError(f"'{word}': {error}") from error
    if count > MOST_JOBS:
        raise UsageError(f"'{word}' has more than {MOST_JOBS:,} values")
