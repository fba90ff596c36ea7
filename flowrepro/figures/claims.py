"""Claims of the papers and their verdicts: computed from a figure's table, never typed.

A claim is judged only where every precondition (`given`) is met and its `controls` come out as they should. All seeds pass:
holds; none: does not hold; some: inconclusive. Otherwise it is not settled, with the reason. A refutation has to be
earned: it takes three seeds where anything was trained, and if more training could only help a claim, `to_refute` lists
what must be met as well.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

# one or more values per seed, indexed by seed
Values = Callable[[pd.DataFrame], pd.Series]

# the scales at which a claim on trained flows is meaningful, and those for closed forms
TRAINED = ("cpu", "paper")
EVERY_SCALE = ("smoke", "demo", "cpu", "paper")
KINDS = ("paper", "check", "beyond")
HOLDS, FAILS, MIXED, UNSETTLED = "holds", "does not hold", "inconclusive", "not settled"
UNMEASURED = "not measured at this scale"
VERDICTS = (HOLDS, FAILS, MIXED, UNSETTLED, UNMEASURED)
ENOUGH_SEEDS = 3
ONE_SEED = "one seed"
# the last fifth of the steps may gain this fraction of a claim's margin
SMALL = 0.25


@dataclass(frozen=True)
class Threshold:
    """The interval of values that pass."""

    low: float = -math.inf
    high: float = math.inf

    def passes(self, value: float) -> bool:
        """Whether a value lies inside; nan never does."""
        return self.low <= value <= self.high

    def margin(self, value: float) -> float:
        """The distance to the nearest end of the interval: positive inside, negative outside."""
        return min(value - self.low, self.high - value)

    def turned_by(self, value: float) -> float:
        """The relative change of the threshold that moves it onto a value: nan for a threshold of zero.

        A single end moves by a fraction of its size; two ends move apart or together by a fraction of their distance.
        """
        both = math.isfinite(self.low) and math.isfinite(self.high)
        size = (self.high - self.low) / 2 if both else abs(self.low if math.isfinite(self.low) else self.high)
        return abs(self.margin(value)) / size if size else math.nan

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"≥ {self.low:g}"
        if math.isinf(self.low):
            return f"≤ {self.high:g}"
        low, high = f"{self.low:g}", f"{self.high:g}"
        return f"{low} to {high}" if low != high else f"{low} ± {(self.high - self.low) / 2:.1g}"


def at_least(value: float) -> Threshold:
    """Values of at least this pass."""
    return Threshold(low=value)


def at_most(value: float) -> Threshold:
    """Values of at most this pass."""
    return Threshold(high=value)


def within(value: float, tolerance: float) -> Threshold:
    """Values within this distance pass."""
    return Threshold(value - tolerance, value + tolerance)


# --- values of a table, seed by seed --------------------------------------------------------------------------------


def column(name: str, **where: Any) -> Values:
    """A column, in the rows where other columns have these values: `column("kl_12", method="end_to_end")`."""

    def values(table: pd.DataFrame) -> pd.Series:
        rows = table
        for key, wanted in where.items():
            rows = rows[rows[key] == wanted]
        return rows.set_index("seed")[name].astype(float).sort_index()

    return values


def matches(name: str, wanted: Any, **where: Any) -> Values:
    """1 where a column has this value, else 0: `matches("state", "diverged", model="realnvp")`."""
    return lambda table: column(name, **where)(table.assign(**{name: table[name] == wanted}))


def combined(how: Callable[..., Any], *parts: Values) -> Values:
    """A function of several values, seed by seed; nan for a seed that one of them lacks."""
    return lambda table: how(*(part(table) for part in parts)).astype(float)


def difference(one: Values, other: Values) -> Values:
    """The first minus the second, seed by seed."""
    return combined(lambda a, b: a - b, one, other)


def ratio(one: Values, other: Values) -> Values:
    """The first over the second, seed by seed."""
    return combined(lambda a, b: a / b, one, other)


def smallest(*parts: Values) -> Values:
    """The smallest of several values, seed by seed; nan if one is."""
    return lambda table: pd.concat([part(table) for part in parts], axis=1).min(axis=1, skipna=False)


def largest(*parts: Values) -> Values:
    """The largest of several values, seed by seed; nan if one is."""
    return lambda table: pd.concat([part(table) for part in parts], axis=1).max(axis=1, skipna=False)


def average(*parts: Values) -> Values:
    """The mean of several values, seed by seed; nan if one is."""
    return lambda table: pd.concat([part(table) for part in parts], axis=1).mean(axis=1, skipna=False)


def gathered(*parts: Values) -> Values:
    """All values of several parts, which need not have the same seeds."""
    return lambda table: pd.concat([part(table) for part in parts])


def asked_where(condition: Callable[[pd.Series], pd.Series], other: Values, values: Values) -> Values:
    """Values where a condition on others is met, and zero elsewhere: for a precondition that is asked there only."""
    return combined(lambda o, v: v.where(condition(o), 0.0), other, values)


def per_seed(how: str, values: Values) -> Values:
    """The `max`, `min`, `mean` or `median` of the values of each seed; nan if one is."""
    return lambda table: values(table).groupby(level=0).agg(lambda v: getattr(v, how)(skipna=False))


def over_seeds(values: Values) -> Values:
    """The mean over seeds, at each seed: for a method whose seeds are independent draws; nan if one is."""

    def mean(table: pd.DataFrame) -> pd.Series:
        found = values(table)
        return pd.Series(found.mean(skipna=False), index=found.index)

    return mean


# --- preconditions and controls -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """A precondition: every value must pass, otherwise the claim is not settled."""

    text: str
    values: Values
    threshold: Threshold


def settled(gain: Values, margin: float, who: str = "the flows") -> Given:
    """Training has converged: the last fifth of the steps gained little compared with the margin of the claim.

    `gain` is in the units of `margin` (usually nats of held-out log-likelihood), of either sign.
    """
    allowed = SMALL * margin
    return Given(
        f"{who}: the score changes by at most {allowed:g} over the last fifth of the steps",
        combined(abs, gain),
        at_most(allowed),
    )


# for `confirmed`, of the same flows: no further training can settle it
BY_RULE = "the table agrees: the paper's signs give"


def confirmed(
    values: Values, others: Values, threshold: Threshold, how: str = "half of the steps give"
) -> Given:
    """Other values of the same seeds, by default of flows with half of the steps, give the same verdict."""

    def same(table: pd.DataFrame) -> pd.Series:
        found = pd.concat([values(table), others(table)], axis=1)
        passed = found.map(threshold.passes)
        return (passed.iloc[:, 0] == passed.iloc[:, 1]).where(found.notna().all(axis=1)).astype(float)

    return Given(f"{how} the same verdict, seed by seed", same, at_least(1))


def near(distance: Values, margin: float, what: str = "every flow is near its optimum") -> Given:
    """Each compared method is within the margin of a known optimum or bound."""
    return Given(f"{what}: within {margin:g}", distance, at_most(margin))


def effective(values: Values, threshold: Threshold, what: str = "the regularizer has acted") -> Given:
    """What the claim is about has had an effect, e.g. a regularizer on what it penalises."""
    return Given(f"{what}: {threshold}", values, threshold)


def enough(values: Values, threshold: Threshold, what: str) -> Given:
    """The regime that the paper describes has been reached, e.g. overfitting."""
    return Given(f"{what}: {threshold}", values, threshold)


@dataclass(frozen=True)
class Control:
    """Values of the same table that a discriminating test must pass, or must fail."""

    text: str
    values: Values
    passes: bool


def must_pass(text: str, values: Values) -> Control:
    """A control that is correct by construction."""
    return Control(text, values, True)


def must_fail(text: str, values: Values) -> Control:
    """A control that is wrong by construction."""
    return Control(text, values, False)


# --- claims ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """One checkable statement.

    Args:
        key: its name within the figure.
        source: where the paper says it.
        says: the statement, as in the paper.
        measured: the number that decides.
        values: that number, for each seed.
        threshold: what it must pass.
        paper_value: the paper's number, or its word.
        unit: of the number.
        kind: `paper`, `check` (sanity of our own code) or `beyond` (ours, beyond the paper).
        given: preconditions.
        to_refute: further preconditions if not every seed passes.
        controls: values that the test must pass, or fail.
        scales: at which it is meaningful.
        closed_form: nothing is trained, and the number of seeds does not matter.
        why: for a claim that does not hold: the reason as the table shows it, with its `columns` in backticks.
    """

    key: str
    source: str
    says: str
    measured: str
    values: Values
    threshold: Threshold
    paper_value: str = ""
    unit: str = ""
    kind: str = "paper"
    given: tuple[Given, ...] = ()
    to_refute: tuple[Given, ...] = ()
    controls: tuple[Control, ...] = ()
    scales: tuple[str, ...] = TRAINED
    closed_form: bool = False
    why: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"claim {self.key}: kind {self.kind} is not one of {', '.join(KINDS)}")


def judge(claims: list[Claim], table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """One row per claim: the statement, the paper's number and ours, the verdict and its strength.

    `margin` is the mean distance to the threshold (positive inside), `margin_2se` two standard errors of it (with three
    or more seeds), `spreads` that distance in units of the spread over seeds, `turns_at` the smallest relative change of
    the threshold that changes the verdict. `told` says why a claim is not settled.
    """
    return pd.DataFrame([_row(claim, table, scale) for claim in claims])


def _row(claim: Claim, table: pd.DataFrame, scale: str) -> dict[str, Any]:
    values, verdict, told = _judged(claim, table, scale)
    seeds = values.index.nunique()
    return {
        "key": claim.key,
        "kind": claim.kind,
        "source": claim.source,
        "says": claim.says,
        "measured": claim.measured,
        "paper_value": claim.paper_value,
        "our_value": float(values.mean(skipna=False)) if len(values) else math.nan,
        "se": float(_by_seed(values).sem()) if seeds > 1 and not _not_finite(values) else math.nan,
        "unit": claim.unit,
        "threshold": str(claim.threshold),
        "values": " ".join(f"{seed}:{value:.6g}" for seed, value in values.items()),
        "seeds": seeds,
        "mark": ONE_SEED if 0 < seeds < ENOUGH_SEEDS and not claim.closed_form else "",
        "verdict": verdict,
        **_strength(values, claim.threshold, verdict),
        "told": told,
        "why": claim.why if verdict in (FAILS, MIXED) and _shown(claim.why, table) else "",
    }


def _judged(claim: Claim, table: pd.DataFrame, scale: str) -> tuple[pd.Series, str, str]:
    """The values of a claim, its verdict, and why it is not settled."""
    nothing = pd.Series(dtype=float)
    if scale not in claim.scales:
        return nothing, UNMEASURED, ""
    try:
        values = claim.values(table)
    except KeyError as error:
        return nothing, UNSETTLED, _absent(error)
    if not len(values):
        return nothing, UNMEASURED, ""
    found = verdict(values.tolist(), claim.threshold)
    reasons = [
        _not_finite(values),
        _too_few(claim, values) if found == FAILS else "",
        *(_unmet(given, table) for given in claim.given + claim.to_refute * (found != HOLDS)),
        *(_cannot_tell(control, claim.threshold, table) for control in claim.controls),
    ]
    told = "; ".join(reason for reason in dict.fromkeys(reasons) if reason)
    return values, UNSETTLED if told else found, told


def verdict(values: list[float], threshold: Threshold) -> str:
    """All values pass: holds; none: does not hold; some: inconclusive; no values: not measured."""
    if not values:
        return UNMEASURED
    passed = [threshold.passes(v) for v in values]
    return HOLDS if all(passed) else MIXED if any(passed) else FAILS


def _not_finite(values: pd.Series) -> str:
    lost = sorted({str(seed) for seed, value in values.items() if not math.isfinite(value)})
    return f"not finite for seed{'s' * (len(lost) > 1)} {', '.join(lost)}" if lost else ""


def _too_few(claim: Claim, values: pd.Series) -> str:
    """Why so few seeds refute nothing; empty if they are enough, or if the claim has no need of them."""
    if claim.closed_form or claim.kind == "check" or values.index.nunique() >= ENOUGH_SEEDS:
        return ""
    return f"refuting it takes {ENOUGH_SEEDS} seeds"


def _absent(error: KeyError) -> str:
    return f"the table has no column {error}; train and evaluate again"


def _unmet(given: Given, table: pd.DataFrame) -> str:
    """What is wrong with a precondition, in words; empty if it is met."""
    try:
        values = given.values(table)
    except KeyError as error:
        return _absent(error)
    failed = [v for v in values if not given.threshold.passes(v)]
    if len(values) and not failed:
        return ""
    worst = min(failed, key=given.threshold.margin, default=math.nan)
    return f"not met: {given.text} (is {worst:.4g})" if len(values) else f"not met: {given.text} (no values)"


def _cannot_tell(control: Control, threshold: Threshold, table: pd.DataFrame) -> str:
    """Why a control shows that the test cannot discriminate; empty if it comes out as it should."""
    must = "pass" if control.passes else "fail"
    try:
        values = control.values(table)
    except KeyError as error:
        return _absent(error)
    wrong = [v for v in values if threshold.passes(v) != control.passes]
    if len(values) and not wrong:
        return ""
    found = f"{wrong[0]:.4g}" if wrong else "no values"
    return f"the test cannot discriminate: {control.text} should {must} {threshold} (is {found})"


def _strength(values: pd.Series, threshold: Threshold, found: str) -> dict[str, float]:
    """How far a verdict is from changing."""
    nothing = dict.fromkeys(("margin", "margin_2se", "spreads", "turns_at"), math.nan)
    if found in (UNSETTLED, UNMEASURED):
        return nothing
    margins = values.map(threshold.margin)
    by_seed = _by_seed(margins)
    spread, mean = float(by_seed.std()), float(margins.mean())
    return {
        "margin": mean,
        "margin_2se": 2 * float(by_seed.sem()) if len(by_seed) >= ENOUGH_SEEDS else math.nan,
        "spreads": abs(mean) / spread if spread > 0 else math.nan,
        "turns_at": _turns_at(values, threshold, found),
    }


def _by_seed(values: pd.Series) -> pd.Series:
    """The mean of the values of each seed, which alone are independent of each other."""
    return values.groupby(level=0).mean()


def _turns_at(values: pd.Series, threshold: Threshold, found: str) -> float:
    """The smallest relative change of the threshold that changes a verdict: the next value passes or fails.

    One value changes `holds` and `does not hold`; a mixed verdict changes once all values are on one side.
    """
    changes = {
        side: [threshold.turned_by(v) for v in values if threshold.passes(v) == side]
        for side in (True, False)
    }
    if found == MIXED:
        return float(min(max(side) for side in changes.values()))
    return float(min(changes[found == HOLDS]))


def _shown(why: str, table: pd.DataFrame) -> bool:
    """Whether the table has the columns that an explanation names."""
    named = re.findall(r"`([^`]+)`", why)
    return bool(named) and all(name in table for name in named)


def tally(verdicts: pd.DataFrame, kind: str = "paper", mark: str = "") -> dict[str, int]:
    """How many of `judge`'s rows have each verdict, of one kind; those marked `one seed` are counted apart."""
    rows = verdicts[(verdicts.kind == kind) & (verdicts["mark"] == mark)]
    counts = rows.verdict.value_counts()
    return {name: int(counts.get(name, 0)) for name in VERDICTS}
