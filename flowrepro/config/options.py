"""A config key: its default, its line of help and its allowed values, all in one place."""

import dataclasses
from collections.abc import Iterator
from typing import Any

# kind of bound -> its wording, and the test
BOUNDS = {
    "low": ("at least", lambda value, bound: value >= bound),
    "above": ("above", lambda value, bound: value > bound),
    "high": ("at most", lambda value, bound: value <= bound),
    "below": ("below", lambda value, bound: value < bound),
}

# an integer of torch and numpy is below
LARGEST = 2**63


def option(
    default: Any, help: str, *, identity: bool = True, choices: tuple[str, ...] = (), **bounds: float
) -> Any:
    """A field of a config dataclass.

    Args:
        default: the typed default.
        help: one line.
        identity: whether the value is part of the run's hash.
        choices: the allowed values of a string.
        bounds: `low` and `high` (inclusive), `above` and `below` (exclusive) of a number, or of each in a list.
    """
    assert bounds.keys() <= BOUNDS.keys(), bounds
    metadata = {"help": help, "identity": identity, "choices": choices, "bounds": bounds}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a field; None if it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def allowed(field: dataclasses.Field[Any]) -> str:
    """The allowed values of a key, in words: `one of adam, adamw, adamax`, `at least 0 and below 1`, or nothing."""
    if choices := field.metadata.get("choices"):
        return f"one of {', '.join(choices)}"
    bounds = field.metadata.get("bounds", {})
    return " and ".join(f"{BOUNDS[kind][0]} {bound:g}" for kind, bound in bounds.items())


def faults(node: Any, key: str = "") -> Iterator[str]:
    """One line per value of a config that its key does not allow; `key` is the node's own, with its dot."""
    for field in dataclasses.fields(node):
        value, name = getattr(node, field.name), key + field.name
        parts = value if isinstance(value, list) else [value]
        for i, part in enumerate(parts):
            if dataclasses.is_dataclass(part):
                yield from faults(part, f"{name}[{i}]." if parts is value else f"{name}.")
        if any(isinstance(part, list | dict) for part in parts):
            yield f"{name}={value} must be a list of single values"
        elif any(isinstance(part, int) and abs(part) >= LARGEST for part in parts):
            yield f"{name}={value} does not fit into 64 bits"
        elif not all(_fits(part, field) for part in parts):
            yield f"{name}={value} must be {allowed(field)}"


def _fits(value: Any, field: dataclasses.Field[Any]) -> bool:
    """Whether a key allows a value; an unset value is allowed."""
    choices, bounds = field.metadata.get("choices"), field.metadata.get("bounds", {})
    if value is None:
        return True
    return (not choices or value in choices) and all(BOUNDS[k][1](value, b) for k, b in bounds.items())
