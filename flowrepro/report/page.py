"""outputs/report/index.html: every figure with its picture, table, commands and claims; what does not hold comes first."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowrepro.figures import store
from flowrepro.figures.catalogue import FigureSpec, keys, load_spec
from flowrepro.figures.claims import FAILS, HOLDS, MIXED
from flowrepro.writing import write_text

ORDER = {FAILS: 0, MIXED: 1, HOLDS: 2}


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
    """Write the page from what is stored below `outputs`; its path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("flowrepro.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["number"] = number
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
    """What the page shows of one figure: the largest scale that exists, the others named."""
    spec, scales = load_spec(key), store.scales_there(outputs, key)
    shown: dict[str, Any] = {"spec": spec, "scales": scales, "claims": [], "table": None, "picture": None}
    if not scales:
        return shown
    folder = store.folder_of(outputs, key, scales[0])
    stored = store.load_evaluation(folder, key, scales[0])
    claims = stored.claims.to_dict("records")
    return shown | {
        "scale": scales[0],
        "reduced": spec.reduced(scales[0]),
        "claims": sorted(claims, key=lambda c: ORDER.get(c["verdict"], 3)),
        "table": stored.table,
        "picture": os.path.relpath(folder / "figure.png", outputs / "report")
        if (folder / "figure.png").exists()
        else None,
        "provenance": stored.provenance,
    }


def counts(outputs: Path) -> dict[str, int]:
    """How many claims have each verdict, over all figures at their largest scale."""
    verdicts = [
        claim["verdict"]
        for paper in papers(outputs)
        for shown in paper["figures"]
        for claim in shown["claims"]
    ]
    return {verdict: verdicts.count(verdict) for verdict in (HOLDS, MIXED, FAILS) if verdicts.count(verdict)}


def minutes(spec: FigureSpec, scale: str) -> str:
    """The expected time of a figure, in words."""
    expected = spec.minutes.get(scale)
    if expected is None:
        return "not known"
    return "seconds" if expected < 1 else f"{expected:g} min"


def number(value: Any) -> str:
    """A number as a reader wants it; words stay words, and nan is a dash."""
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return str(value)
