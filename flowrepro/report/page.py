"""outputs/report/index.html: every figure with its picture, table, commands and claims; failed claims come first."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from flowrepro.figures import store
from flowrepro.figures.catalogue import FigureSpec, keys, load_spec
from flowrepro.figures.claims import (
    FAILS,
    HOLDS,
    MIXED,
    ONE_SEED,
    UNMEASURED,
    UNSETTLED,
    judge,
    tally,
)
from flowrepro.writing import write_text

ORDER = (FAILS, MIXED, UNSETTLED, HOLDS, UNMEASURED)
KINDS = ("paper", "beyond", "check")


@dataclass(frozen=True)
class Paper:
    """One of the four papers."""

    key: str
    title: str
    authors: str
    year: int


PAPERS = (
    Paper("linear_systems", "A Linear Systems Theory of Normalizing Flows", "Feinman & Parthasarathy", 2020),
    Paper("across_dimensions", "Normalizing Flows Across Dimensions", "Cunningham et al.", 2020),
    Paper("jacobian_determinant", "Jacobian Determinant of Normalizing Flows", "Liao & He", 2021),
    Paper(
        "single_coupling",
        "Characterizing the Role of a Single Coupling Layer in Affine Normalizing Flows",
        "Draxler et al.",
        2020,
    ),
)


def build(outputs: Path) -> Path:
    """Write the page from what is stored under `outputs`; returns its path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("flowrepro.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"number": number, "singles": singles}
    page = environment.get_template("template.html").render(papers=papers(outputs), counts=counts(outputs))
    path = outputs / "report" / "index.html"
    write_text(path, page)
    return path


def papers(outputs: Path) -> list[dict[str, Any]]:
    """Every paper with its figures."""
    return [
        {"paper": paper, "figures": [figure(outputs, k) for k in keys() if k.startswith(paper.key + "/")]}
        for paper in PAPERS
    ]


def figure(outputs: Path, key: str) -> dict[str, Any]:
    """What the page shows of one figure: its largest scale, and the names of the others."""
    spec, scales = load_spec(key), store.scales_there(outputs, key)
    shown: dict[str, Any] = {"spec": spec, "scales": scales, "claims": [], "table": None, "picture": None}
    if not scales:
        return shown
    folder = store.folder_of(outputs, key, scales[0])
    stored = store.load_evaluation(folder, key, scales[0])
    return shown | {
        "scale": scales[0],
        "reduced": spec.reduced(scales[0]),
        "claims": claims(spec, stored.table, scales[0]),
        "table": stored.table,
        "picture": os.path.relpath(folder / "figure.png", outputs / "report")
        if (folder / "figure.png").exists()
        else None,
        "provenance": stored.provenance,
    }


def claims(spec: FigureSpec, table: pd.DataFrame, scale: str) -> list[dict[str, Any]]:
    """The stored table judged by the current claims: the paper's first, and within each kind those that fail."""
    judged = judge(spec.module.CLAIMS, table, scale).to_dict("records")
    return sorted(judged, key=lambda c: (KINDS.index(c["kind"]), ORDER.index(c["verdict"])))


def counts(outputs: Path) -> dict[str, dict[str, int]]:
    """How many claims have each verdict, over all figures at their largest scale.

    Those of the papers, and separately those with fewer than three seeds, checks, and claims beyond the papers.
    """
    rows = [row for entry in papers(outputs) for shown in entry["figures"] for row in shown["claims"]]
    if not rows:
        return {}
    found = pd.DataFrame(rows)
    groups = {
        "paper": tally(found),
        ONE_SEED: tally(found, mark=ONE_SEED),
        "beyond the papers": _both(found, "beyond"),
        "checks": _both(found, "check"),
    }
    shown = {name: {v: group[v] for v in ORDER if group[v]} for name, group in groups.items()}
    return {name: group for name, group in shown.items() if group or name == "paper"}


def _both(found: pd.DataFrame, kind: str) -> dict[str, int]:
    return Counter(tally(found, kind)) + Counter(tally(found, kind, ONE_SEED))


def singles(values: str) -> str:
    """The single values of a claim, one per seed, as shown next to their mean; empty for a single one."""
    found = [number(float(value.split(":")[-1])) for value in values.split()]
    return ", ".join(found) if len(found) > 1 else ""


def minutes(spec: FigureSpec, scale: str) -> str:
    """The expected time of a figure, in words."""
    expected = spec.minutes.get(scale)
    if expected is None:
        return "not known"
    return "seconds" if expected < 1 else f"{expected:g} min"


def number(value: Any) -> str:
    """A number formatted for readers; words stay unchanged, and nan becomes a dash."""
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return str(value)
