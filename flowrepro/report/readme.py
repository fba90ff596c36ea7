"""The index of figures in README.md, between its two markers."""

from pathlib import Path

from flowrepro.figures.catalogue import keys
from flowrepro.report.page import figure, minutes
from flowrepro.writing import write_text

BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"


def index(outputs: Path) -> str:
    """A Markdown table with one row a figure: key, what it shows, time at cpu scale, verdicts."""
    lines = ["| figure | what | code | cpu time | claims |", "|---|---|---|---|---|"]
    for key in keys():
        shown = figure(outputs, key)
        verdicts = [claim["verdict"] for claim in shown["claims"]]
        held = (
            f"{verdicts.count('holds')} of {len(verdicts)} hold ({shown['scale']})"
            if verdicts
            else "not evaluated"
        )
        picture = f"outputs/figures/{key}/{shown['scale']}/figure.png" if verdicts else ""
        name = f"[`{key}`]({picture})" if picture else f"`{key}`"
        code = f"[module](flowrepro/figures/{key}.py), [config](conf/figure/{key}.yaml)"
        lines.append(
            f"| {name} | {shown['spec'].title} | {code} | {minutes(shown['spec'], 'cpu')} | {held} |"
        )
    return "\n".join(lines) + "\n"


def write(outputs: Path) -> Path | None:
    """Put the index into the README beside `outputs`; None where that is no checkout of flowrepro."""
    readme = outputs.resolve().parent / "README.md"
    text = readme.read_text() if readme.exists() else ""
    if BEGIN not in text or END not in text:
        return None
    head, rest = text.split(BEGIN, 1)
    new = head + BEGIN + index(outputs) + END + rest.split(END, 1)[1]
    if new != text:
        write_text(readme, new)
    return readme
