"""outputs/report/index.html: the papers, figures and claims on one static page that needs no server and no network."""

import os
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import pandas as pd

from flowrepro.figures.claims import FAILS
from flowrepro.report import tally
from flowrepro.report.content import clearest, minutes, number, papers, told
from flowrepro.report.making import hours
from flowrepro.report.single import LEFT_OUT, Link, one_file
from flowrepro.report.tally import SYMBOLS, counts
from flowrepro.writing import write_text


def build(outputs: Path, single: bool = False) -> Path:
    """Write the page from what is stored under `outputs`; returns its path.

    `single` writes flowrepro.html instead, one file with its pictures and tables inside.
    """
    path = outputs / "report" / ("flowrepro.html" if single else "index.html")
    shown = papers(outputs)
    if single:
        pictures = [figure["picture"] for entry in shown for figure in entry["figures"] if figure["picture"]]
        text = one_file(pictures, lambda link: render(shown, link, single=True))
    else:
        text = render(shown, lambda target: os.path.relpath(target, path.parent))
    write_text(path, text)
    return path


def render(shown: list[dict[str, Any]], link: Link, single: bool = False) -> str:
    """The text of the page; `link` makes the address of a file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("flowrepro.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "number": number,
        "link": link,
        "css": css,
        "minutes": minutes,
        "doubled": doubled,
        "table": table,
        "told": told,
        "marked": marked,
        "hours": hours,
    }
    claims, figures = ([x for entry in shown for x in entry[part]] for part in ("claims", "figures"))
    return environment.get_template("template.html").render(
        papers=shown,
        counts=counts(claims),
        all=tally.verdicts([c for c in claims if c["kind"] == "paper"]),
        shifts=tally.shifts(claims),
        reasons=tally.reasons(claims),
        remedies=tally.remedies(shown),
        refuted=[c for c in claims if c["kind"] == "paper" and c["verdict"] == FAILS],
        clearest=[c for entry in shown for c in clearest(entry["claims"])[:1]],
        scales=sorted({f["scale"] for f in figures if f["scale"]}),
        measured=sum(bool(f["scales"]) for f in figures),
        figures=len(figures),
        reduced=sum(bool(f["scales"] and f["reduced"] and not f["spec"].unknown) for f in figures),
        unknown=sum(bool(f["scales"] and f["spec"].unknown) for f in figures),
        clone=repository(),
        single=single,
        left_out=LEFT_OUT if single else (),
        symbols=SYMBOLS,
    )


def repository() -> str:
    """The address to clone from, as the project's metadata have it; empty if they have none."""
    try:
        named = metadata("flowrepro").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    found = dict(entry.split(", ", 1) for entry in named)
    return next((url for name, url in found.items() if name.lower() in ("repository", "source")), "")


def doubled(values: Iterable[str]) -> list[tuple[str, str]]:
    """(value, text) of options that read as they are."""
    return [(value, value) for value in values]


def css(verdict: str) -> str:
    """The class of a verdict: its words joined, `does-not-hold`."""
    return verdict.replace(" ", "-").split("-at-")[0]


def marked(text: str) -> str:
    """A text whose words in backticks, names of columns, are set as code.

    >>> marked("`a` < 1")
    Markup('<code>a</code> &lt; 1')
    """
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def table(frame: pd.DataFrame) -> str:
    """A table as HTML, without the end tags that HTML does not need."""
    written = frame.to_html(index=False, border=0, float_format="%.4g", na_rep="–")
    return re.sub(r"</t[dhr]>|(?<=>)\s+(?=<)", "", written)
