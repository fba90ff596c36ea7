"""The results in README.md, between its two markers: papers by figures, and what stands out."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

from flowrepro.figures.claims import FAILS
from flowrepro.report.content import clearest, number, papers
from flowrepro.report.tally import SYMBOLS
from flowrepro.writing import write_text

BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"
FINDINGS = 5


def index(outputs: Path) -> str:
    """One Markdown row per paper with all its figures, then the findings that stand out."""
    shown = papers(outputs)
    legend = ", ".join(f"{symbol} {verdict}" for verdict, symbol in SYMBOLS.items())
    lines = [
        f"Claims of each figure: {legend}. A figure's name leads to its picture; `paper/name` is its key.",
        "",
        "| paper | figures | its claims |",
        "|---|---|---|",
        *(_row(entry) for entry in shown),
        "",
        "| what a paper says | paper | ours | |",
        "|---|---|---|---|",
        *(_finding(claim) for claim in findings(shown)),
    ]
    return "\n".join(lines) + "\n"


def _row(entry: dict[str, Any]) -> str:
    paper = entry["paper"]
    own, ours = ([_figure(f) for f in entry["figures"] if f["ours"] == mine] for mine in (False, True))
    figures = "<br>our own: ".join(" · ".join(group) for group in (own, ours) if group)
    name = f"[{paper.title}]({paper.link})" if paper.link else paper.title
    return f"| {name}<br>`{paper.key}` | {figures} | {_told(entry)} |"


def _figure(shown: dict[str, Any]) -> str:
    key, name = shown["spec"].key, shown["spec"].key.split("/")[1]
    if not shown["scales"]:
        return f"{name} (not evaluated)"
    counted = _marks(shown["verdicts"])
    return f"[{name}](outputs/figures/{key}/{shown['scale']}/figure.png)" + (f" {counted}" if counted else "")


def _marks(counted: dict[str, int]) -> str:
    return " ".join(f"{n}{SYMBOLS[verdict]}" for verdict, n in counted.items())


def _told(entry: dict[str, Any]) -> str:
    """How many of a paper's own claims have each verdict."""
    return ", ".join(f"{n} {verdict}" for verdict, n in entry["verdicts"].items()) or "none measured"


def findings(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper claims that stand out: those refuted, then of each paper those that hold with the most room."""
    claims = [[c for c in entry["claims"] if c["kind"] == "paper"] for entry in shown]
    refuted = [c for found in claims for c in found if c["verdict"] == FAILS]
    sure = [[c for c in clearest(found) if not c["mark"]] for found in claims]
    ranked = [c for place in zip_longest(*sure) for c in place if c]
    return (refuted + ranked)[:FINDINGS]


def _finding(claim: dict[str, Any]) -> str:
    ours = f"{number(claim['our_value'])} {claim['unit']}".strip()
    told = f"{claim['says']} ({claim['measured']}, {claim['threshold']})".replace("|", "\\|")
    verdict = f"{SYMBOLS[claim['verdict']]} {claim['verdict']}"
    return f"| {told} `{claim['figure']}` | {number(claim['paper_value']) or '–'} | {ours} | {verdict} |"


def write(outputs: Path) -> Path | None:
    """Write the results into the README next to `outputs`; None if that is not a checkout of flowrepro."""
    readme = outputs.resolve().parent / "README.md"
    text = readme.read_text() if readme.exists() else ""
    if BEGIN not in text or END not in text:
        return None
    head, rest = text.split(BEGIN, 1)
    new = head + BEGIN + index(outputs) + END + rest.split(END, 1)[1]
    if new != text:
        write_text(readme, new)
    return readme


def matrix(outputs: Path) -> str:
    """The same for a terminal: one line per figure, its verdicts, and how many claims of each paper have which."""
    lines = []
    for entry in papers(outputs):
        lines += ["", f"{entry['paper'].key}: {_told(entry)}"]
        lines += [
            f"    {f['spec'].key.split('/')[1]:16} {f['scale'] or '-':6} {_marks(f['verdicts']) or _nothing(f)}"
            for f in entry["figures"]
        ]
    return "\n".join([*lines[1:], "", "  ".join(f"{s} {v}" for v, s in SYMBOLS.items())])


def _nothing(shown: dict[str, Any]) -> str:
    return "no claims" if shown["scales"] else "not evaluated"
