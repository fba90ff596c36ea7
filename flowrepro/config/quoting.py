"""Values that Hydra's grammar does not take as they are: paths with spaces, brackets, or letters beyond ASCII."""

import json
import shlex
from typing import Any

from flowrepro.config.identity import differences
from flowrepro.config.keys import all_keys
from flowrepro.config.schema import Phase


def quoted(text: str) -> str:
    """A value as Hydra's grammar takes it, whatever its characters."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${") + "'"


def place_of(output_dir: str) -> str:
    """What a printed command ends in for runs that are not in `outputs`, as a shell takes it."""
    return "" if output_dir == "outputs" else f" {shlex.quote(f'output_dir={output_dir}')}"


def as_word(value: Any) -> str:
    """A value as the command line takes it, numbers with six digits."""
    if isinstance(value, list):
        return f"[{','.join(map(as_word, value))}]"
    if isinstance(value, Phase):
        value = differences(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{as_word(v)}" for k, v in value.items()) + "}"
    return (
        value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
    )


def understood(words: list[str], multirun: bool) -> list[str]:
    """The arguments, with quotes around names and paths that the shell has handed over without theirs.

    In a sweep around each of the values between commas.
    """
    return [_understood(word, multirun) for word in words]


def _understood(word: str, multirun: bool) -> str:
    key, _, value = word.partition("=")
    field = all_keys().get(key.lstrip("+"))
    # choices are plain words, and numbers and lists are not to become text
    if field is None or field.type is not str or field.metadata["choices"] or not value:
        return word
    if key == "run" and "," in value and not value.startswith(("'", '"')):
        return f"{key}={quoted(value)}"  # several runs, and no sweep
    parts = value.split(",") if multirun else [value]
    # a function, or a comma between quotes
    if _read(word) and not all(_read(f"{key}={part}") for part in parts):
        return word
    return f"{key}=" + ",".join(part if _is_text(f"{key}={part}") else quoted(part) for part in parts)


def _read(word: str) -> Any:
    """An argument as Hydra reads it; None if it cannot."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _is_text(word: str) -> bool:
    """Whether an argument can be read, and not as a number."""
    override = _read(word)
    return bool(override) and (override.is_sweep_override() or not isinstance(override.value(), int | float))
