"""Which figures are the paper's own, what they are called, and in which order they come: all of it from their keys."""

import re

from flowrepro.figures.catalogue import keys

# what a paper numbers; other figures are ours, and come after these
NAMES = {"fig": "Figure", "table": "Table", "lemma": "Lemma", "theorem": "Theorem"}
NUMBERED = re.compile(rf"({'|'.join(NAMES)})(\d+)(?:_(\w+))?")


def in_order(paper: str) -> list[str]:
    """The keys of a paper's figures: figures by number, tables, what else it numbers, then those of our own."""
    return sorted((k for k in keys() if k.startswith(paper + "/")), key=_place)


def ours(key: str) -> bool:
    """Whether a figure asks a question of our own: the paper has no such number."""
    return _numbered(key) is None


def title(key: str) -> str:
    """`linear_systems/fig3` -> `Figure 3`, `fig6_rotations` -> `Figure 6, rotations`; the name of what has no number."""
    numbered = _numbered(key)
    if not numbered:
        return _name(key).replace("_", " ")
    part = f", {numbered[3].replace('_', ' ')}" if numbered[3] else ""
    return f"{NAMES[numbered[1]]} {numbered[2]}{part}"


def _place(key: str) -> tuple[int, int, str]:
    numbered = _numbered(key)
    place = (list(NAMES).index(numbered[1]), int(numbered[2])) if numbered else (len(NAMES), 0)
    return *place, _name(key)


def _numbered(key: str) -> re.Match[str] | None:
    return NUMBERED.fullmatch(_name(key))


def _name(key: str) -> str:
    return key.split("/")[1]
