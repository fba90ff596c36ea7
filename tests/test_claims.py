"""Verdicts are computed from values, thresholds, preconditions and controls, and every verdict can occur."""

import math

import pandas as pd
import pytest

from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    Threshold,
    at_least,
    at_most,
    average,
    column,
    difference,
    effective,
    enough,
    judge,
    largest,
    matches,
    must_fail,
    must_pass,
    near,
    over_seeds,
    per_seed,
    ratio,
    settled,
    smallest,
    tally,
    verdict,
    within,
)

TABLE = pd.DataFrame(
    {
        "method": ["a", "b"] * 3,
        "seed": [0, 0, 1, 1, 2, 2],
        "score": [3.0, 1.0, 5.0, 2.0, 4.0, 1.5],
        "gain": [0.01, 0.02, -0.03, 0.0, 0.01, 0.0],
    }
)
SCORE, OTHER = column("score", method="a"), column("score", method="b")


def claim(**changed):
    usual = {"key": "k", "source": "Sec. 1", "says": "it is high", "measured": "score"}
    return Claim(**{**usual, "values": SCORE, "threshold": at_least(2), **changed})


def judged(table=TABLE, scale="cpu", **changed):
    return judge([claim(**changed)], table, scale).iloc[0]


@pytest.mark.parametrize(
    ("values", "threshold", "expected"),
    [
        ([1.0, 2.0], at_least(1), "holds"),
        ([0.5, 0.9], at_least(1), "does not hold"),
        ([0.5, 1.5], at_least(1), "inconclusive"),
        ([], at_least(1), "not measured at this scale"),
        ([2.0], at_most(2), "holds"),
        ([2.1], at_most(2), "does not hold"),
        ([0.95, 1.05], within(1, 0.1), "holds"),
        ([1.2], within(1, 0.1), "does not hold"),
    ],
)
def test_verdicts(values, threshold, expected):
    assert verdict(values, threshold) == expected


def test_a_threshold_is_told_as_an_interval():
    assert [str(t) for t in (at_least(2), at_most(0.5), within(100, 5), within(2, 1e-9))] == [
        "≥ 2",
        "≤ 0.5",
        "95 to 105",
        "2 ± 1e-09",
    ]


def test_values_go_seed_by_seed():
    assert SCORE(TABLE).to_dict() == {0: 3, 1: 5, 2: 4}
    assert difference(SCORE, OTHER)(TABLE).tolist() == [2, 3, 2.5]
    assert ratio(SCORE, OTHER)(TABLE)[0] == 3
    assert smallest(SCORE, OTHER)(TABLE).tolist() == [1, 2, 1.5]
    assert largest(SCORE, OTHER)(TABLE).tolist() == [3, 5, 4]
    assert average(SCORE, OTHER)(TABLE).tolist() == [2, 3.5, 2.75]
    assert matches("score", 3.0, method="a")(TABLE).to_dict() == {0: 1, 1: 0, 2: 0}
    assert math.isnan(difference(SCORE, OTHER)(TABLE[:3])[1]), (
        "a seed that one side lacks is told, not dropped"
    )


def test_several_values_of_a_seed_become_one_and_seeds_their_mean():
    assert per_seed("max", column("score"))(TABLE).to_dict() == {0: 3, 1: 5, 2: 4}
    assert per_seed("median", column("score"))(TABLE)[1] == 3.5
    assert over_seeds(SCORE)(TABLE).to_dict() == {0: 4, 1: 4, 2: 4}
    lost = TABLE.assign(score=[3.0, math.nan, 5.0, 2.0, 4.0, 1.5])
    assert per_seed("max", column("score"))(lost).isna().tolist() == [True, False, False]
    assert over_seeds(OTHER)(lost).isna().all(), "a mean over the seeds that are left is another number"


def test_a_row_tells_statement_measure_values_and_strength():
    row = judged(paper_value="4", unit="nats")
    assert (row.verdict, row.seeds, row.our_value, row.threshold, row["mark"]) == ("holds", 3, 4, "≥ 2", "")
    assert (row.says, row.measured, row["values"]) == ("it is high", "score", "0:3 1:5 2:4")
    # margins 1, 3, 2: mean 2, std 1, standard error 1/sqrt(3); the threshold turns the verdict from 3 on
    assert (row.margin, row.spreads, row.turns_at) == (2, 2, 0.5)
    assert row.margin_2se == pytest.approx(2 / math.sqrt(3))
    assert row.se == pytest.approx(1 / math.sqrt(3))


def test_what_turns_a_verdict():
    assert judged(threshold=at_least(10)).turns_at == pytest.approx(0.5)  # to 5
    assert judged(threshold=at_least(4)).turns_at == pytest.approx(0.25)  # to 3 or 5, both a quarter away
    assert judged(threshold=within(4, 2)).turns_at == pytest.approx(0.5)  # to 4 +- 1
    assert judged(threshold=at_most(-1)).turns_at == pytest.approx(4)  # to 3
    assert math.isnan(judged(threshold=at_least(0)).turns_at), "a share of zero is nothing"


def test_the_standard_error_is_of_seeds_and_not_of_values():
    twice = pd.concat([TABLE, TABLE])
    assert judged(twice).se == pytest.approx(judged().se) == pytest.approx(1 / math.sqrt(3))


def test_seeds_are_counted_and_not_values():
    twice = pd.concat([TABLE, TABLE])
    assert judged(twice).seeds == 3
    assert judged(TABLE[TABLE.seed == 0])["mark"] == "one seed"
    assert judged(TABLE[TABLE.seed == 0], closed_form=True)["mark"] == ""


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_nothing_holds_at_infinity(lost):
    table = TABLE.copy()
    table.loc[2, "score"] = lost
    row = judged(table, threshold=Threshold())
    assert row.verdict == "not settled" and "not finite for seed 1" in row.told


def test_preconditions():
    gain = column("gain", method="a")
    assert judged(given=(settled(gain, 2.0),)).verdict == "holds"
    row = judged(given=(settled(gain, 0.1),), why="`score` is low")
    assert row.verdict == "not settled" and "last fifth of the steps" in row.told and "0.03" in row.told
    assert row.why == "" and math.isnan(row.turns_at)
    for given in (near(SCORE, 4), effective(SCORE, at_least(4)), enough(SCORE, at_least(4), "it overfits")):
        assert judged(given=(given,)).verdict == "not settled"
    for given in (near(SCORE, 5), effective(SCORE, at_least(3)), enough(SCORE, at_least(3), "it overfits")):
        assert judged(given=(given,)).verdict == "holds"
    missing = judged(given=(near(column("gap", method="a"), 1),))
    assert missing.verdict == "not settled" and "gap" in missing.told
    twice = judged(given=(near(column("gap"), 1),), controls=(must_pass("the best", column("gap")),))
    assert twice.told == missing.told == "the table has no column 'gap'; train and evaluate again"
    nowhere = judged(given=(near(column("score", method="c"), 1),))
    assert nowhere.verdict == "not settled" and "no values" in nowhere.told


def test_a_refutation_needs_what_a_claim_that_holds_does_not():
    unsettled = (settled(column("gain", method="a"), 0.1),)
    assert judged(threshold=at_least(3), to_refute=unsettled).verdict == "holds"
    for threshold in (at_least(4), at_least(9)):
        assert judged(threshold=threshold, to_refute=unsettled).verdict == "not settled"
    assert judged(threshold=at_least(9), to_refute=(settled(column("gain", method="a"), 1),)).verdict == (
        "does not hold"
    )
    assert "gap" in judged(threshold=at_least(9), to_refute=(near(column("gap"), 1),)).told


def test_controls_show_whether_the_test_can_tell():
    fine = (must_pass("the exact flow", SCORE), must_fail("shuffled", OTHER))
    assert judged(threshold=at_least(2.5), controls=fine).verdict == "holds"
    blind = judged(threshold=at_least(1), controls=fine)
    assert (
        blind.verdict == "not settled"
        and "the test cannot discriminate: shuffled should fail ≥ 1" in blind.told
    )
    strict = judged(threshold=at_least(4.5), controls=fine)
    assert strict.verdict == "not settled" and "the exact flow should pass" in strict.told


def test_an_explanation_is_shown_only_with_its_column():
    assert judged(threshold=at_least(9), why="`score` is low").why == "`score` is low"
    assert judged(threshold=at_least(9), why="`width` is low").why == ""
    assert judged(threshold=at_least(9), why="training was short").why == ""
    assert judged(why="`score` is low").why == "", "what holds needs no explanation"


def test_scales():
    assert judged(scale="smoke").verdict == "not measured at this scale"
    assert judged(scale="smoke", scales=EVERY_SCALE).verdict == "holds"
    assert judged(values=column("width")).verdict == "not settled", "an old table lacks a new column"


def test_only_claims_of_the_paper_enter_its_tally():
    kinds = [claim(key="a"), claim(key="b", kind="check"), claim(key="c", kind="beyond")]
    counts = tally(judge(kinds, TABLE, "cpu"))
    assert counts["holds"] == 1 and sum(counts.values()) == 1
    assert tally(judge(kinds, TABLE, "cpu"), kind="check")["holds"] == 1
    single = judge(kinds, TABLE[TABLE.seed == 0], "cpu")
    assert sum(tally(single).values()) == 0 and tally(single, mark="one seed")["holds"] == 1
    with pytest.raises(ValueError, match="kind"):
        claim(kind="sanity")


@pytest.mark.parametrize(
    ("seeds", "more", "found"),
    [
        (3, {}, "does not hold"),
        (2, {}, "not settled"),
        (1, {}, "not settled"),
        (1, {"closed_form": True}, "does not hold"),
        (1, {"kind": "check"}, "does not hold"),
    ],
)
def test_fewer_than_three_seeds_refute_nothing_that_was_trained(seeds, more, found):
    table = pd.DataFrame({"seed": range(seeds), "x": -1.0})
    claim = Claim("k", "Sec. 1", "It is so.", "x", column("x"), at_least(0), **more)
    judged = judge([claim], table, "cpu").iloc[0]
    assert judged.verdict == found and ("takes 3 seeds" in judged.told) == (found == "not settled")
