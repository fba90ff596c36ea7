"""How many claims have each verdict, and how many verdicts a shift of every threshold would turn."""

from collections import Counter
from typing import Any

import pandas as pd

from flowrepro.figures.claims import FAILS, HOLDS, MIXED, ONE_SEED, UNMEASURED, UNSETTLED, tally
from flowrepro.report.needs import needs

ORDER = (FAILS, MIXED, UNSETTLED, HOLDS, UNMEASURED)
SYMBOLS = {HOLDS: "✓", FAILS: "✗", MIXED: "±", UNSETTLED: "?", UNMEASURED: "–"}
SHIFTS = (0.1, 0.25, 0.5)


def verdicts(claims: list[dict[str, Any]]) -> dict[str, int]:
    """How many of these claims have each verdict that occurs; refutations first."""
    found = Counter(c["verdict"] for c in claims)
    return {v: found[v] for v in ORDER if found[v]}


def own(claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's own claims; for a figure without any, those beyond the paper."""
    paper = [c for c in claims if c["kind"] == "paper"]
    return paper or [c for c in claims if c["kind"] == "beyond"]


def counts(claims: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Those of the papers, and separately those with fewer than three seeds, checks, and claims beyond the papers."""
    if not claims:
        return {}
    found = pd.DataFrame(claims)
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


def reasons(claims: list[dict[str, Any]]) -> dict[str, int]:
    """Why papers' claims are not settled, the most frequent reason first; each claim counts once, by its first reason."""
    waiting = [c["told"] for c in claims if c["kind"] == "paper" and c["verdict"] == UNSETTLED]
    return dict(Counter(next(iter(needs(told))) for told in waiting).most_common())


def remedies(papers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the open claims of each paper take, as far as it has any, each figure once at its longest command.

    `hours` is the sum on two cores over the `timed` figures; `untimed` counts those whose command has no time, of which
    the `brought` data are needed; `none` counts claims that no command settles.
    """
    return [found for entry in papers if (found := _remedy(entry))]


def _remedy(entry: dict[str, Any]) -> dict[str, Any]:
    lacking = [c["missing"] for c in entry["claims"] if c["kind"] == "paper" and c["missing"]]
    by_time = sorted((m for m in lacking if m.command), key=lambda m: m.hours or 0)
    commands = {m.command: m for m in by_time}.values()
    untimed = [m for m in commands if m.hours is None]
    if not lacking:
        return {}
    return {
        "paper": entry["paper"],
        "hours": sum(m.hours or 0 for m in commands),
        "timed": len(commands) - len(untimed),
        "untimed": len(untimed),
        "images": any(m.images for m in untimed),
        "brought": sorted({name for m in untimed for name in m.brought}),
        "none": sum(not m.command for m in lacking),
    }


def shifts(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """How many verdicts of papers' claims would turn if every threshold moved by 10, 25, 50 %.

    `judged` is their number; `zero` is how many have a threshold of zero, for which no percentage means anything.
    """
    judged = [c for c in claims if c["kind"] == "paper" and c["verdict"] in (HOLDS, FAILS, MIXED)]
    known = [c["turns_at"] for c in judged if c["turns_at"] == c["turns_at"]]
    turned = {f"{shift:.0%}": sum(at <= shift for at in known) for shift in SHIFTS}
    return {"judged": len(judged), "zero": len(judged) - len(known), "turned": turned}
