"""Committed figures: their claims are what their tables give; anyone can check that, and judge them again."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from flowrepro.figures import store
from flowrepro.figures.catalogue import keys
from flowrepro.figures.verify import differences, remarks

OUTPUTS = Path(__file__).resolve().parents[1] / "outputs"
STORED = [(key, scale) for key in keys() for scale in store.scales_there(OUTPUTS, key)]


@pytest.mark.parametrize(("key", "scale"), STORED)
def test_stored_claims_are_those_of_the_stored_table(key, scale):
    folder = store.folder_of(OUTPUTS, key, scale)
    assert differences(folder, key, scale) == [], "evaluate figure=all claims=judge writes them anew"
    assert not [text for text in remarks(folder, key, scale) if "arrays of" in text or "no picture" in text]


@pytest.mark.parametrize(
    ("key", "scale"), [s for s in STORED if (store.folder_of(OUTPUTS, *s) / "arrays.npz").exists()]
)
def test_stored_pictures_are_drawn_again_without_runs(flowrepro, workdir, key, scale):
    folder = store.folder_of(Path("outputs"), key, scale)
    shutil.copytree(store.folder_of(OUTPUTS, key, scale), folder)
    (folder / "figure.png").unlink()
    (folder / "figure.pdf").unlink(missing_ok=True)  # drawing it again takes its time, and shows nothing more
    answer = flowrepro("plot", f"figure={key}", f"scale={scale}")
    assert answer.code == 0, answer.err
    assert (folder / "figure.png").stat().st_size < 300_000


@pytest.fixture
def stored(workdir) -> Path:
    """A copy of two stored figures in the working folder; the folder of the first."""
    for key in ("linear_systems/fig2", "single_coupling/lemma2"):
        shutil.copytree(store.folder_of(OUTPUTS, key, "cpu"), store.folder_of(Path("outputs"), key, "cpu"))
    return store.folder_of(Path("outputs"), "linear_systems/fig2", "cpu")


def tamper(folder: Path, **values: str) -> None:
    claims = pd.read_csv(folder / "claims.csv", dtype=str, keep_default_na=False)
    for column, value in values.items():
        claims.loc[2, column] = value
    claims.to_csv(folder / "claims.csv", index=False)


def test_verify_tells_every_figure_and_fails_on_a_difference(flowrepro, stored):
    flowrepro("evaluate", "figure=all", "claims=judge")
    answer = flowrepro("evaluate", "figure=all", "claims=verify")
    assert answer.code == 0 and len(answer.out.splitlines()) == 2, answer.err
    tamper(stored, verdict="does not hold")
    answer = flowrepro("evaluate", "figure=all", "claims=verify")
    assert answer.code == 1 and "1 of 2 stored evaluations differ" in answer.err
    assert "DIFFERS linear_systems/fig2" in answer.out and "normal_2.verdict" in answer.out
    assert "ok      single_coupling/lemma2" in answer.out


def test_missing_claims_and_columns_are_differences(flowrepro, stored):
    flowrepro("evaluate", "figure=all", "claims=judge")
    claims = pd.read_csv(stored / "claims.csv", dtype=str, keep_default_na=False)
    for other, told in (
        (claims.drop(columns="seeds"), "other columns: +seeds"),
        (claims.drop(index=2), "other claims: +normal_2"),
        (claims.iloc[::-1], "other claims: the same in another order"),
    ):
        other.to_csv(stored / "claims.csv", index=False)
        answer = flowrepro("evaluate", "figure=linear_systems/fig2", "claims=verify")
        assert answer.code == 1 and told in answer.out


def test_the_last_digit_counts(flowrepro, stored):
    flowrepro("evaluate", "figure=all", "claims=judge")
    value = pd.read_csv(stored / "claims.csv", dtype=str).our_value[2]
    tamper(stored, our_value=value[:-1] + str((int(value[-1]) + 1) % 10))
    answer = flowrepro("evaluate", "figure=linear_systems/fig2", "claims=verify")
    assert answer.code == 1 and "differences: 1, first normal_2.our_value" in answer.out


@pytest.mark.parametrize("name", ["table.csv", "claims.csv", "provenance.json"])
def test_a_missing_file_is_a_difference(flowrepro, stored, name):
    flowrepro("evaluate", "figure=all", "claims=judge")
    (stored / name).unlink()
    answer = flowrepro("evaluate", "figure=all", "claims=verify")
    assert answer.code == 1 and "1 of 2 stored evaluations differ" in answer.err
    assert f"DIFFERS linear_systems/fig2 cpu: differences: 1, first no {name}" in answer.out
    assert "ok      single_coupling/lemma2" in answer.out


def test_lost_claims_are_judged_anew(flowrepro, stored):
    before = (stored / "claims.csv").read_bytes()
    (stored / "claims.csv").unlink()
    assert flowrepro("evaluate", "figure=linear_systems/fig2", "claims=judge").code == 0
    assert (stored / "claims.csv").read_bytes() == before


def test_claims_are_judged_again_without_any_run(flowrepro, stored):
    flowrepro("evaluate", "figure=all", "claims=judge")
    tamper(stored, verdict="does not hold", why="a word typed by hand")
    answer = flowrepro("evaluate", "figure=linear_systems/fig2", "claims=judge")
    assert answer.code == 0 and "normal_2.why: 'a word typed by hand' -> ''" in answer.out
    assert flowrepro("evaluate", "figure=linear_systems/fig2", "claims=verify").code == 0
    assert not Path("outputs/runs").exists()


def test_an_evaluation_verifies_as_it_was_stored(flowrepro, workdir):
    """Claims are judged by the digits that the table keeps, not by those that it loses."""
    for key in ("linear_systems/fig1", "linear_systems/fig2", "single_coupling/fig4"):
        assert flowrepro("evaluate", f"figure={key}", "scale=smoke").code == 0
    answer = flowrepro("evaluate", "figure=all", "claims=verify")
    assert answer.code == 0 and answer.out.count("ok ") == 3, answer.out


def test_what_a_reader_should_know_is_told(flowrepro, stored):
    flowrepro("evaluate", "figure=all", "claims=judge")
    provenance = json.loads((stored / "provenance.json").read_text())
    provenance["git"] = {"commit": "a", "dirty": True}
    (stored / "provenance.json").write_text(json.dumps(provenance))
    (stored / "figure.png").unlink()
    (stored / "arrays.npz").write_bytes(bytes(1_200_000))
    told = flowrepro("evaluate", "figure=linear_systems/fig2", "claims=verify").out
    assert "measured with uncommitted code" in told and "no picture" in told
    assert "arrays of 1.2 MB, more than 1" in told
    (stored / "arrays.npz").unlink()
    assert "no arrays" in flowrepro("evaluate", "figure=linear_systems/fig2", "claims=verify").out


def test_nothing_stored_and_nothing_to_measure_are_told(flowrepro, workdir):
    answer = flowrepro("evaluate", "figure=all", "claims=verify")
    assert answer.code == 2 and "no evaluation found" in answer.err
    answer = flowrepro("evaluate", "figure=all")
    assert answer.code == 0 and "not evaluated" in answer.out
