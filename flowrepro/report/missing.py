"""What a claim without a verdict still takes: what is missing, the command that settles it, and its hours."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flowrepro.figures.catalogue import FigureSpec
from flowrepro.figures.claims import ENOUGH_SEEDS, UNMEASURED, UNSETTLED, Claim
from flowrepro.report import making
from flowrepro.report.needs import ANEW, CONDITION, CONTROL, DISAGREES, IMAGES, LONGER, LOST, SEEDS, needs


@dataclass(frozen=True)
class Missing:
    """What a verdict lacks, in words; the command that gives it (empty: none does), and what to change for it.

    `hours` are those of the command on two cores, None if nobody has timed it; `brought` names data sets that it needs
    and the shown scale does not.
    """

    what: str
    command: str = ""
    change: str = ""
    hours: float | None = None
    images: bool = False
    brought: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.command:
            return f"No command settles it: {self.what}."
        change = f" with {self.change}" if self.change else ""
        return f"Missing: {self.what}. To settle it: `{self.command}`{change}, {self.cost}."

    @property
    def cost(self) -> str:
        """The time of the command."""
        if self.hours is None:
            return "on a GPU, not timed yet" if self.images else "not timed yet"
        return f"{making.hours(self.hours)} on two cores"


def missing(row: dict[str, Any], claim: Claim, spec: FigureSpec, reduced: bool) -> Missing | None:
    """What a judged claim lacks; None if it has a verdict. `reduced`: the shown scale's settings are not the paper's."""
    if row["verdict"] == UNMEASURED:
        return _unmeasured(row["scale"], claim, spec)
    return _unsettled(row, claim, spec, reduced) if row["verdict"] == UNSETTLED else None


def _unmeasured(shown: str, claim: Claim, spec: FigureSpec) -> Missing:
    if shown in claim.scales:
        return _made("values of it in the figure’s table", spec, shown, shown)
    scale = claim.scales[-1]
    lacking = [f"{'flows trained' if spec.runs else 'a calculation'} at {scale} scale"]
    lacking += _named("data", making.other_datasets(spec, shown, scale))
    lacking += _named("network", making.other_networks(spec, shown, scale))
    return _made(", ".join(lacking), spec, shown, scale)


def _named(what: str, names: Iterable[str]) -> list[str]:
    found = " and ".join(f"`{name}`" for name in names)
    return [f"the {what} {found} to be brought"] if found else []


def _unsettled(row: dict[str, Any], claim: Claim, spec: FigureSpec, reduced: bool) -> Missing:
    found, shown = needs(row["told"]), row["scale"]
    if ANEW in found:  # the other conditions then come out anew as well
        found = {need: found[need] for need in (SEEDS, ANEW) if need in found}
    here = IMAGES not in found and (LONGER in found or CONDITION not in found)
    if blocked := [need for need in (CONTROL, LOST) if need in found]:
        return Missing(("its value is " if blocked[0] == LOST else "") + found[blocked[0]][0])
    if DISAGREES in found:
        return Missing(_not_met(found[DISAGREES]))
    if CONDITION in found and (claim.closed_form or not (here or reduced)):
        return Missing(_not_met(found[CONDITION]))
    scale = shown if here else "paper"
    words = {
        SEEDS: f"{ENOUGH_SEEDS - row['seeds']} more seed{'s' * (row['seeds'] < ENOUGH_SEEDS - 1)}",
        ANEW: "a table measured for today’s test",
        IMAGES: " and ".join(_named("paper’s own data", making.other_datasets(spec, shown, scale))),
        LONGER: f"longer training, until {quoted(found.get(LONGER, []))}" if here else "longer training",
        CONDITION: f"the condition {quoted(found.get(CONDITION, []))}",
    }
    seeds = row["seeds"] if SEEDS in found else ENOUGH_SEEDS
    return _made(
        "; ".join(words[need] for need in found), spec, shown, scale, seeds, longer=LONGER in found and here
    )


def _not_met(reasons: list[str]) -> str:
    return f"{quoted(reasons)} {'is' if len(reasons) == 1 else 'are'} not met"


def quoted(reasons: list[str]) -> str:
    """The first of some conditions in quotes, its value, and how many more there are.

    >>> quoted(["it has grown: ≥ 2 (is 1.23)", "b (is 0)"])
    '“it has grown: ≥ 2” (is 1.23) and 1 more'
    """
    text, opened, value = reasons[0].rpartition(" (") if reasons else ("", "", "")
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"“{text}”{opened}{value}{more}"


def _made(
    what: str, spec: FigureSpec, shown: str, scale: str, seeds: int = ENOUGH_SEEDS, longer: bool = False
) -> Missing:
    """What the figure at a scale gives, with more seeds than these if they are too few, and with longer training."""
    if scale not in spec.seeds:
        return Missing(what)
    changes = [making.with_seeds(spec, scale, seeds)] if seeds < ENOUGH_SEEDS else []
    changes += [making.trained_twice_as_long(spec, scale)] if longer else []
    minutes = spec.minutes.get(scale)
    return Missing(
        what,
        making.command(spec, scale),
        " and ".join(text for _, text in changes if text),
        None if minutes is None else minutes / 60 * math.prod(factor for factor, _ in changes),
        making.has_images(spec, scale),
        making.other_datasets(spec, shown, scale),
    )
