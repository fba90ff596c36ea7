"""What the report shows, from what is stored under `outputs`: papers, their figures, and the figures' claims."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from flowrepro.config.reading import conf_dir
from flowrepro.figures import curves, store
from flowrepro.figures.catalogue import FigureSpec, load_spec
from flowrepro.figures.claims import FAILS, HOLDS, MIXED, UNSETTLED, Claim, judge
from flowrepro.report.curves import panels
from flowrepro.report.making import command, planned
from flowrepro.report.missing import missing
from flowrepro.report.order import in_order, ours, title
from flowrepro.report.papers import known
from flowrepro.report.strip import strip
from flowrepro.report.tally import ORDER, own, verdicts

KINDS = ("paper", "beyond", "check")
CALCULATED = "calculated"
FILES = ("figure.svg", "figure.pdf", "table.csv", "claims.csv", "arrays.npz", "curves.csv", "provenance.json")


def papers(outputs: Path) -> list[dict[str, Any]]:
    """Every paper with its figures in the paper's order, its claims, and what was found."""
    found = []
    for paper in known():
        figures = [figure(outputs, key) for key in in_order(paper.key)]
        claims = [c for shown in figures for c in shown["claims"]]
        found.append({"paper": paper, "figures": figures, "claims": claims, "found": findings(claims)})
        found[-1]["verdicts"] = verdicts([c for c in claims if c["kind"] == "paper"])
    return found


def figure(outputs: Path, key: str) -> dict[str, Any]:
    """What is shown of one figure: its largest scale, and the names of the others."""
    spec, scales = load_spec(key), store.scales_there(outputs, key)
    shown: dict[str, Any] = {
        "spec": spec,
        "title": title(key),
        "ours": ours(key),
        "scales": scales,
        "scale": "",
        "claims": [],
        "verdicts": {},
        "picture": None,
        "size": None,
    }
    if not scales:
        return shown
    folder = store.folder_of(outputs, key, scales[0])
    stored = store.load_evaluation(folder, key, scales[0])
    reduced = stored.provenance["reduced"]
    found = claims(spec, stored.table, scales[0], len(reduced))
    picture = folder / "figure.png"
    return shown | {
        "scale": scales[0],
        "reduced": reduced,
        "command": command(spec, scales[0]),
        "claims": found,
        "verdicts": verdicts(own(found)),
        "alt": f"{spec.title}. {sentence(own(found))}",
        "table": stored.table,
        "picture": picture if picture.exists() else None,
        "size": pixels(picture) if picture.exists() else None,
        "files": [folder / name for name in FILES if (folder / name).exists()],
        "provenance": stored.provenance,
        "curves": panels(curves.stored(folder)),
        "trainings": trainings(spec, scales[0]),
        "code": source(f"flowrepro/figures/{key}.py", Path(spec.module.__file__)),
        "config": source(f"conf/figure/{key}.yaml", conf_dir() / "figure" / f"{key}.yaml"),
    }


def pixels(picture: Path) -> tuple[int, int]:
    """Width and height, so that a page reserves the picture's room before it is loaded."""
    with Image.open(picture) as opened:
        return opened.size


def trainings(spec: FigureSpec, scale: str) -> list[str]:
    """The command that trains each case of a figure, with its first seed."""
    runs = planned(spec.key, scale)
    first = {run.case: run for run in reversed(runs)}
    return [
        f"flowrepro train {' '.join(first[case].words)}    # {case}"
        for case in dict.fromkeys(run.case for run in runs)
    ]


def source(name: str, path: Path) -> dict[str, str]:
    """A file of the project: its path there, and its text."""
    return {"name": name, "text": path.read_text()}


def claims(spec: FigureSpec, table: pd.DataFrame, scale: str, differing: int) -> list[dict[str, Any]]:
    """The stored table judged by the current claims: the paper's first, and within each kind those that fail.

    `differing` is how many of the figure's settings are not the paper's.
    """
    rows = judge(spec.module.CLAIMS, table, scale).to_dict("records")
    found = [
        shown(row | {"scale": scale}, claim, spec, differing)
        for row, claim in zip(rows, spec.module.CLAIMS, strict=True)
    ]
    return sorted(found, key=lambda c: (KINDS.index(c["kind"]), ORDER.index(c["verdict"])))


def shown(row: dict[str, Any], claim: Claim, spec: FigureSpec, differing: int) -> dict[str, Any]:
    """A judged claim with what the page tells beside it."""
    found = row | {
        "id": f"{spec.key}/{claim.key}",
        "figure": spec.key,
        "strip": strip(values(row["values"]), claim.threshold),
        "strength": strength(row),
        "missing": missing(row, claim, spec, differing > 0),
        # nothing is trained, and more seeds would make it no surer
        "rests_on": CALCULATED if claim.closed_form and row["seeds"] else row["mark"],
    }
    return found | {"conditions": conditions(found, differing)}


def conditions(claim: dict[str, Any], differing: int) -> str:
    """What a verdict rests on, and how many of its figure's settings differ from the paper's."""
    seeds = "one seed" if claim["seeds"] == 1 else f"{claim['seeds']} seeds"
    if claim["rests_on"] == CALCULATED:
        # the same number for every seed, or one for each
        seeds = CALCULATED if len(set(values(claim["values"]))) == 1 else f"{CALCULATED} for {seeds}"
    others = "one setting differs" if differing == 1 else f"{differing} settings differ"
    return seeds + (f", {others} from the paper’s" if differing else "")


def values(stored: str) -> list[float]:
    """The single values of a claim, as `0:0.99 1:0.98` stores them by seed."""
    return [float(value.split(":")[-1]) for value in stored.split()]


def strength(claim: dict[str, Any]) -> str:
    """How far a verdict is from turning, in words; empty for one that is not settled."""
    parts = []
    if math.isfinite(claim["turns_at"]):
        parts.append(f"turns if the threshold moves by {share(claim['turns_at'])}")
    if math.isfinite(claim["spreads"]):
        parts.append(f"{claim['spreads']:.2g} spreads over seeds away from it")
    return "; ".join(parts)


def share(fraction: float) -> str:
    """0.123 -> 12 %; from tenfold on as a multiple."""
    if fraction >= 10:
        return f"{fraction:.2g} times its size" if fraction < 100 else "more than 100 times its size"
    return f"{fraction:.0%}".replace("%", " %")


def findings(found: list[dict[str, Any]]) -> list[str]:
    """What was found about a paper, in at most three sentences, computed from its claims, or from ours if it has none."""
    judged = own(found)
    if not judged:
        return ["None of its claims has been measured."]
    return [s for s in (sentence(judged), _refuted(judged), _most_certain(judged)) if s]


def sentence(found: list[dict[str, Any]]) -> str:
    """How many claims have each verdict."""
    counted = verdicts(found)
    if not counted:
        return "It makes no claim that could be measured."
    return (
        f"Of {len(found)} claims {told(counted)}."
        if len(found) > 1
        else f"Its claim {_agreeing(next(iter(counted)), 1)}."
    )


def told(counted: dict[str, int]) -> str:
    """How many have each verdict: `1 does not hold, 2 hold`."""
    return ", ".join(f"{n} {_agreeing(verdict, n)}" for verdict, n in counted.items())


def _agreeing(verdict: str, n: int) -> str:
    """`holds` or `hold`, `is` or `are inconclusive`."""
    if verdict == HOLDS:
        return "holds" if n == 1 else "hold"
    if verdict == FAILS:
        return "does not hold" if n == 1 else "do not hold"
    return f"{'is' if n == 1 else 'are'} {verdict.removesuffix(' at this scale')}"


def _refuted(found: list[dict[str, Any]]) -> str:
    refuted = [c for c in found if c["verdict"] in (FAILS, MIXED)]
    if not refuted:
        return "None is refuted."
    first = refuted[0]
    word = "does not hold" if first["verdict"] == FAILS else "is inconclusive"
    return f"What {word} first of all: {_quoted(first)}"


def _most_certain(found: list[dict[str, Any]]) -> str:
    """The claim that holds with the most room to its threshold; how many wait for more training, if none does."""
    if holding := clearest(found):
        return f"Clearest of what holds: {_quoted(holding[0])}"
    waiting = sum(c["verdict"] == UNSETTLED for c in found)
    return f"What each of the {waiting} open ones takes stands beside it." if waiting else ""


def clearest(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's claims that hold, by their room to the threshold, largest first; those on one seed come last."""
    holding = [c for c in found if c["kind"] == "paper" and c["verdict"] == HOLDS]
    known = [c for c in holding if math.isfinite(c["turns_at"])]
    return sorted(known, key=lambda c: (bool(c["mark"]), -c["turns_at"]))


def _quoted(claim: dict[str, Any]) -> str:
    number_of = number(claim["our_value"])
    unit = f" {claim['unit']}" if claim["unit"] else ""
    text = claim["says"].rstrip(".")
    return f"“{text}” ({claim['measured']}: {number_of}{unit}, passes if {claim['threshold']})."


def number(value: Any) -> str:
    """A number formatted for readers; words stay unchanged, and nan becomes a dash."""
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return str(value)


def minutes(spec: FigureSpec, scale: str) -> str:
    """The expected time of a figure, in words."""
    expected = spec.minutes.get(scale)
    if expected is None:
        return "not known"
    return "seconds" if expected < 1 else f"{expected:g} min"
