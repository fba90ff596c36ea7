"""What keeps a claim from a verdict: the reasons that `judge` tells, sorted by what each of them takes."""

import re

# each in the words of a count: `3 with flows that more training still changes`
SEEDS = "against the paper, but on fewer than the three seeds that a refutation takes"
ANEW = "measured before their present test was written"
CONTROL = "where a control passes the same test"
LOST = "without a value for every seed"
DISAGREES = "where another number of the same table says otherwise"
IMAGES = "on images that stand in for the paper’s"
LONGER = "with flows that are not trained to the end"
CONDITION = "with a condition that is not met"
SIGNS = (
    ("refuting it takes", SEEDS),
    ("has no column", ANEW),
    ("cannot discriminate", CONTROL),
    ("not finite for seed", LOST),
    ("the table agrees", DISAGREES),
    ("stand in for them", IMAGES),
    ("over the last fifth of the steps", LONGER),
    ("half of the steps give", LONGER),
    ("samples are consistent", LONGER),
    ("with other settings gives", LONGER),
    (": within ", LONGER),
)
# where one reason ends and the next begins
BETWEEN = re.compile(r"; (?=refuting|not met|not finite|the table has|the test cannot)")


def needs(told: str) -> dict[str, list[str]]:
    """The reasons why a claim is not settled, by kind, in their order.

    >>> needs("refuting it takes 3 seeds; not met: a: ≥ 1 (is 0)")[CONDITION]
    ['a: ≥ 1 (is 0)']
    """
    found: dict[str, list[str]] = {}
    for reason in BETWEEN.split(told) if told else ():
        kind = next((kind for sign, kind in SIGNS if sign in reason), CONDITION)
        found.setdefault(kind, []).append(reason.removeprefix("not met: "))
    return found
