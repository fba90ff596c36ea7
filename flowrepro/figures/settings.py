"""In what the settings of a figure at a scale differ from the paper's."""

import dataclasses
from typing import Any

from flowrepro.config.identity import counting, differences, flatten
from flowrepro.figures.catalogue import FigureSpec, PlannedRun

GROUPS = ("dataset", "model", "regularizer", "phases", "training")
MAX_LINES = 20


def reductions(spec: FigureSpec, scale: str) -> list[str]:
    """One line per setting, e.g. `training.steps 6000 (paper: 100000)`; empty where nothing differs, or is unknown."""
    if spec.unknown:
        return [f"the paper does not give {spec.unknown}: ours are our own choice, also at paper scale"]
    if not spec.reduced(scale):
        return []
    if "paper" not in spec.seeds:
        return ["the paper's own settings are not configured"]
    found = [*_seeds(spec, scale), *_runs(spec, scale), *_options(spec, scale)]
    more = len(found) - MAX_LINES
    return found[:MAX_LINES] + ([f"and {more} more"] if more > 0 else [])


def _seeds(spec: FigureSpec, scale: str) -> list[str]:
    ours, theirs = spec.seeds[scale], spec.seeds["paper"]
    found = [] if ours == theirs else [f"seeds {_told([ours])} (paper: {_told([theirs])})"]
    more, most = (spec.more_seeds.get(s, {}) for s in (scale, "paper"))
    return found + ([] if more == most else [f"more seeds {_told([more])} (paper: {_told([most])})"])


def _runs(spec: FigureSpec, scale: str) -> list[str]:
    ours, theirs = _first(spec, scale), _first(spec, "paper")
    if len(ours) != len(theirs):
        return [f"{len(ours)} runs per seed (paper: {len(theirs)})"]
    pairs = [(_values(one), _values(other)) for one, other in zip(ours, theirs, strict=True)]
    keys = sorted({k for one, other in pairs for k in one | other if one.get(k) != other.get(k)})
    return [_line(k, [one.get(k) for one, _ in pairs], [other.get(k) for _, other in pairs]) for k in keys]


def _first(spec: FigureSpec, scale: str) -> list[PlannedRun]:
    return [p for p in spec.planned(scale) if p.seed == spec.seeds[scale][0]]


def _values(planned: PlannedRun) -> dict[str, Any]:
    """The settings of a run that its results depend on, all of them."""
    found = {
        f"{group}.{k}": v for group in GROUPS for k, v in counting(getattr(planned.config, group)).items()
    }
    return {k: v for k, v in found.items() if not k.startswith("training.validate")}


def _options(spec: FigureSpec, scale: str) -> list[str]:
    ours, theirs = (
        flatten({**spec.options.get(s, {}), **spec.measures.get(s, {})}) for s in (scale, "paper")
    )
    keys = sorted(k for k in ours | theirs if ours.get(k) != theirs.get(k))
    return [_line(k, [ours.get(k)], [theirs.get(k)]) for k in keys]


def _line(key: str, ours: list[Any], theirs: list[Any]) -> str:
    return f"{key} {_told(ours)} (paper: {_told(theirs)})"


def _told(values: list[Any]) -> str:
    """Different values, each once, in their order."""
    words = [_word(v) for v in values]
    return " or ".join(dict.fromkeys(words))


def _word(value: Any) -> str:
    if isinstance(value, list):
        shown = [_word(v) for v in value]
        return ", ".join(shown) if len(shown) <= 6 else f"{shown[0]} to {shown[-1]} ({len(shown)} values)"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return " ".join(f"{k} {_word(v)}" for k, v in differences(value).items()) or "as it stands"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
