"""What an open claim lacks: told with the command that settles it, which the figures' own settings confirm."""

import dataclasses

import pytest

from flowrepro.figures.catalogue import load_spec
from flowrepro.figures.claims import TRAINED, UNMEASURED, UNSETTLED, Claim, at_least, column
from flowrepro.report import making, tally
from flowrepro.report.missing import missing

NOT_TRAINED = "not met: the flows: the score changes by at most 1 over the last fifth of the steps (is 2)"
TWO_CLAUSES = "the table has no column 'a'; train and evaluate again"


def lacking(key, told, seeds=3, verdict=UNSETTLED, reduced=True, **changed):
    claim = Claim("a", "Sec. 1", "says", "measures", column("a"), at_least(1), **changed)
    row = {"told": told, "seeds": seeds, "verdict": verdict, "scale": "cpu"}
    return missing(row, claim, load_spec(key), reduced)


def test_a_claim_with_a_verdict_lacks_nothing():
    assert lacking("linear_systems/fig3", "", verdict="holds") is None


def test_seeds_that_are_missing_are_counted_and_timed():
    spec = load_spec("across_dimensions/fig10")
    found = lacking("across_dimensions/fig10", "refuting it takes 3 seeds", seeds=1)
    assert found.what == "2 more seeds" and found.command == "make across_dimensions/fig10 SCALE=cpu"
    assert "`cpu: [0, 1, 2]`" in found.change and found.hours == 3 * spec.minutes["cpu"] / 60


def test_runs_with_one_seed_take_as_long_as_they_are_many(monkeypatch):
    spec = load_spec("jacobian_determinant/table1")
    assert spec.one_seed and len(spec.seeds["cpu"]) == 3
    found = lacking(spec.key, "refuting it takes 3 seeds", seeds=1)
    more = len(dataclasses.replace(spec, one_seed=[]).planned("cpu")) / len(spec.planned("cpu"))
    assert found.hours == pytest.approx(more * spec.minutes["cpu"] / 60) and "one_seed" in found.change


def test_longer_training_takes_twice_as_long():
    found = lacking("linear_systems/fig3", f"{NOT_TRAINED}; not met: b: within 1 (is 3)")
    assert found.hours == 2 * load_spec("linear_systems/fig3").minutes["cpu"] / 60
    assert "until “the flows: the score" in found.what and found.what.endswith("(is 2) and 1 more")
    assert found.change == "twice the `training.steps` in `conf/runs/linear_systems.yaml`"
    assert "steps_per_layer" in lacking("single_coupling/fig6", NOT_TRAINED).change


def test_a_table_that_is_too_old_is_measured_before_anything_else():
    found = lacking("linear_systems/fig3", f"{NOT_TRAINED}; {TWO_CLAUSES}; not met: b (is 0)")
    assert found.what == "a table measured for today’s test" and found.change == ""
    assert found.hours == load_spec("linear_systems/fig3").minutes["cpu"] / 60


def test_data_to_be_brought_and_networks_are_those_that_the_shown_scale_lacks():
    instead = lacking("across_dimensions/fig6", "not met: no others stand in for them: ≤ 0 (is 1)")
    assert instead.command.endswith("SCALE=paper") and instead.brought == ("celeba",)
    absent = lacking("across_dimensions/fig6", "", verdict=UNMEASURED, seeds=0, scales=("paper",))
    assert "`celeba`" in absent.what and "`inception`" in absent.what and absent.cost.startswith("on a GPU")
    cifar10 = lacking("across_dimensions/fig9", "", verdict=UNMEASURED, seeds=0, scales=("paper",))
    assert cifar10.brought == () and "`inception`" in cifar10.what


def test_a_table_without_values_is_made_again():
    assert "values of it" in lacking("linear_systems/fig3", "", 0, UNMEASURED, scales=TRAINED).what


def test_what_no_command_settles_says_why():
    for told, why in (
        ("the test cannot discriminate: a should fail ≥ 1 (is 2)", "cannot discriminate"),
        ("not finite for seed 0", "its value is not finite for seed 0"),
        (
            f"{NOT_TRAINED}; not met: the table agrees: a: ≤ 2 (is 3)",
            "“the table agrees: a: ≤ 2” (is 3) is not met",
        ),
        (
            "not met: the table agrees: a: ≤ 2 (is 3); not met: the table agrees: b (is 0)",
            "“the table agrees: a: ≤ 2” (is 3) and 1 more are not met",
        ),
    ):
        found = lacking("linear_systems/fig3", told)
        assert not found.command and why in found.what and str(found).startswith("No command settles it")
    told = "not met: Eq. 6 has a value: ≤ 0 (is 3)"
    assert not lacking("jacobian_determinant/optimum", told, closed_form=True).command
    assert not lacking("single_coupling/fig2", told, reduced=False).command
    assert lacking("linear_systems/fig5", told).command.endswith("SCALE=paper")


def test_the_hours_of_a_paper_count_each_figure_once():
    few = lacking("linear_systems/fig4", "refuting it takes 3 seeds", 1)
    old, other = lacking("linear_systems/fig4", TWO_CLAUSES), lacking("linear_systems/fig6", TWO_CLAUSES)
    gpu = lacking("across_dimensions/fig6", "not met: no others stand in for them: ≤ 0 (is 1)")
    none = lacking("linear_systems/fig3", "not finite for seed 0")
    claims = [{"kind": "paper", "missing": m} for m in (few, old, other, gpu, none, None)]
    (found,) = tally.remedies([{"paper": "p", "claims": claims}, {"paper": "q", "claims": claims[-1:]}])
    assert found["hours"] == few.hours + other.hours and (found["timed"], found["untimed"]) == (2, 1)
    assert found["brought"] == ["celeba"] and found["none"] == 1


def test_a_figure_that_has_its_seeds_by_now_needs_no_change():
    spec = load_spec("linear_systems/fig6")
    assert len(spec.seeds["cpu"]) == 3 and not spec.one_seed
    assert making.with_seeds(spec, "cpu", seeds=1) == (1, "")
