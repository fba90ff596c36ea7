"""The index of figures in README.md, between its two markers."""

from pathlib import Path
from typing import Any

from flowrepro.figures.catalogue import keys
from flowrepro.figures.claims import HOLDS, ONE_SEED, UNSETTLED
from flowrepro.report.page import figure, minutes
from flowrepro.writing import write_text

BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"


def index(outputs: Path) -> str:
    """A Markdown table with one row per figure: key, what it shows, time at cpu scale, the paper's claims."""
    lines = ["| figure | what | code | cpu time | claims |", "|---|---|---|---|---|"]
    for key in keys():
        shown = figure(outputs, key)
        claims = shown["claims"]
        held = f"{verdicts(claims)} ({shown['scale']})" if claims else "not evaluated"
        picture = f"outputs/figures/{key}/{shown['scale']}/figure.png" if claims else ""
        name = f"[`{key}`]({picture})" if picture else f"`{key}`"
        code = f"[module](flowrepro/figures/{key}.py), [config](conf/figure/{key}.yaml)"
        lines.append(
            f"| {name} | {shown['spec'].title} | {code} | {minutes(shown['spec'], 'cpu')} | {held} |"
        )
    return "\n".join(lines) + "\n"


def verdicts(claims: list[dict[str, Any]]) -> str:
    """How many of the paper's claims hold or are not settled; for a figure without any, of those beyond the paper."""
    own = [c for c in claims if c["kind"] == "paper"]
    counted = own or [c for c in claims if c["kind"] == "beyond"]
    found = [c["verdict"] for c in counted]
    parts = [f"{'' if own else 'beyond the paper: '}{found.count(HOLDS)} of {len(found)} hold"]
    if UNSETTLED in found:
        parts.append(f"{found.count(UNSETTLED)} not settled")
    if any(c["mark"] for c in counted):
        parts.append(ONE_SEED)
    return ", ".join(parts)


def write(outputs: Path) -> Path | None:
    """Write the index into the README next to `outputs`; None if that is not a checkout of flowrepro."""
    readme = outputs.resolve().parent / "README.md"
    text = readme.read_text() if readme.exists() else ""
    if BEGIN not in text or END not in text:
        return None
    head, rest = text.split(BEGIN, 1)
    new = head + BEGIN + index(outputs) + END + rest.split(END, 1)[1]
    if new != text:
        write_text(readme, new)
    return readme
