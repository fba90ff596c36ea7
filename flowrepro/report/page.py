"""outputs/report/index.html: the papers, figures and claims on one static page that needs no server and no network."""

import base64
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from flowrepro.report import tally
from flowrepro.report.content import minutes, number, papers
from flowrepro.report.tally import SYMBOLS, counts
from flowrepro.writing import write_text

Link = Callable[[Path], str]
# of pictures inside a single file
SINGLE_WIDTH, SINGLE_QUALITY = 1400, 72


def build(outputs: Path, single: bool = False) -> Path:
    """Write the page from what is stored under `outputs`; returns its path.

    `single` writes flowrepro.html instead, one file with its pictures and tables inside.
    """
    path = outputs / "report" / ("flowrepro.html" if single else "index.html")
    beside: Link = lambda target: os.path.relpath(target, path.parent)  # noqa: E731
    write_text(path, render(outputs, inside if single else beside))
    return path


def render(outputs: Path, link: Link) -> str:
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
    }
    shown = papers(outputs)
    claims, figures = ([x for entry in shown for x in entry[part]] for part in ("claims", "figures"))
    return environment.get_template("template.html").render(
        papers=shown,
        counts=counts(claims),
        shifts=tally.shifts(claims),
        scales=sorted({f["scale"] for f in figures if f["scale"]}),
        measured=sum(bool(f["scales"]) for f in figures),
        figures=len(figures),
        single=link is inside,
        symbols=SYMBOLS,
    )


def doubled(values: Iterable[str]) -> list[tuple[str, str]]:
    """(value, text) of options that read as they are."""
    return [(value, value) for value in values]


def css(verdict: str) -> str:
    """The class of a verdict: its words joined, `does-not-hold`."""
    return verdict.replace(" ", "-").split("-at-")[0]


def inside(file: Path) -> str:
    """A file as an address that holds its content; a PNG becomes a smaller WebP."""
    kinds = {
        ".csv": "text/csv",
        ".json": "application/json",
        ".svg": "image/svg+xml",
        ".pdf": "application/pdf",
    }
    kind, content = kinds.get(file.suffix, ""), file.read_bytes()
    if file.suffix == ".png":
        kind, content = "image/webp", _small(content)
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _small(picture: bytes) -> bytes:
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((SINGLE_WIDTH, 10 * SINGLE_WIDTH))
    written = io.BytesIO()
    image.save(written, "webp", quality=SINGLE_QUALITY, method=4)
    return written.getvalue()
