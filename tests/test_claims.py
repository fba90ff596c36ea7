"""Verdicts are computed from values and thresholds, and every verdict can occur."""

import math

import pandas as pd
import pytest

from flowrepro.figures.claims import Claim, at_least, at_most, judge, verdict, within


@pytest.mark.parametrize(
    ("values", "threshold", "expected"),
    [
        ([1.0, 2.0], at_least(1), "holds"),
        ([0.5, 0.9], at_least(1), "does not hold"),
        ([0.5, 1.5], at_least(1), "inconclusive"),
        ([], at_least(1), "not measured at this scale"),
        ([math.nan], at_least(-math.inf), "does not hold"),
        ([math.nan, 2.0], at_least(1), "inconclusive"),
        ([2.0], at_most(2), "holds"),
        ([2.1], at_most(2), "does not hold"),
        ([0.95, 1.05], within(1, 0.1), "holds"),
        ([1.2], within(1, 0.1), "does not hold"),
    ],
)
def test_verdicts(values, threshold, expected):
    assert verdict(values, threshold) == expected


def test_judge_tells_what_was_measured():
    table = pd.DataFrame({"seed": [0, 1], "score": [3.0, 5.0]})
    claims = [
        Claim("a", "Sec. 1", "the score is high", lambda t: (t.score.tolist(), at_least(2)), "4", "nats"),
        Claim("b", "Sec. 2", "it is higher", lambda t: (t.score.tolist(), at_least(9)), why="too few steps"),
        Claim(
            "c", "Sec. 3", "paper scale only", lambda t: (t.score.tolist(), at_least(0)), scales=("paper",)
        ),
    ]
    judged = judge(claims, table, "cpu").set_index("key")
    assert list(judged.verdict) == ["holds", "does not hold", "not measured at this scale"]
    assert judged.our_value["a"] == 4 and judged.seeds["a"] == 2 and judged.threshold["a"] == "≥ 2"
    assert list(judged.why) == ["", "too few steps", ""]
    assert math.isnan(judged.our_value["c"])
