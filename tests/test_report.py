"""The report: every paper and claim is there, what fails comes first, scales are named, links lead somewhere."""

import re

import pandas as pd
import pytest

from flowrepro.figures import build, catalogue, store
from flowrepro.figures.claims import (
    EVERY_SCALE,
    FAILS,
    HOLDS,
    UNMEASURED,
    UNSETTLED,
    Claim,
    at_least,
    column,
    enough,
    judge,
)
from flowrepro.figures.linear_systems import fig2
from flowrepro.report import page, readme


def claim(key, threshold, **changed):
    return Claim(
        key, "Sec. 4", f"what {key} says", f"what {key} measures", column("std_ratio"), threshold, **changed
    )


@pytest.fixture
def claims(monkeypatch):
    """Claims of every verdict and kind on the table of figure 2."""
    found = [
        claim("right", at_least(1), scales=EVERY_SCALE, closed_form=True),
        claim("single", at_least(1), scales=EVERY_SCALE),
        claim("unmeasured", at_least(1)),
        claim(
            "wrong", at_least(1e3), scales=EVERY_SCALE, closed_form=True, why="`std_ratio` <is> small & so on"
        ),
        claim(
            "open",
            at_least(1),
            scales=EVERY_SCALE,
            closed_form=True,
            given=(enough(column("std_ratio"), at_least(1e3), "it is > 1000"),),
        ),
        claim("sane", at_least(1), kind="check", scales=EVERY_SCALE, closed_form=True),
        claim("more", at_least(1), kind="beyond", scales=EVERY_SCALE),
    ]
    monkeypatch.setattr(fig2, "CLAIMS", found)


def test_the_page_tells_all(flowrepro, workdir, claims):
    for key in ("linear_systems/fig1", "linear_systems/fig2"):
        flowrepro("evaluate", f"figure={key}", "scale=smoke")
    answer = flowrepro("plot", "figure=all")
    assert answer.code == 0, answer.err
    html = (workdir / "outputs/report/index.html").read_text()
    for paper in page.PAPERS:
        assert paper.title in html
    shown = html.split('id="linear_systems/fig2"')[1].split("</article>")[0]
    rows = re.findall(r'<tr><td class="verdict [^"]*">([^<]*)</td>', shown)
    assert rows == [FAILS, UNSETTLED, HOLDS, HOLDS, UNMEASURED, HOLDS, HOLDS], "the paper's, beyond, checks"
    assert "`std_ratio` &lt;is&gt; small &amp; so on" in shown and "not met: it is &gt; 1000" in shown
    assert "what wrong measures" in shown and "beyond the paper:" in shown and "check:" in shown
    assert "reduced: not the paper's settings" in html
    without = len(page.PAPERS) - len({key.split("/")[0] for key in catalogue.keys()})
    assert html.count("No figure of this paper is reproduced yet") == without
    for link in re.findall(r'src="([^"]+)"', html):
        assert (workdir / "outputs/report" / link).resolve().is_file()
    assert "http" not in html.replace("http-equiv", ""), "the page loads nothing from elsewhere"


def test_only_the_papers_claims_enter_the_tally(flowrepro, workdir, claims):
    assert page.counts(workdir / "outputs") == {}
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    assert page.counts(workdir / "outputs") == {
        "paper": {FAILS: 1, UNSETTLED: 1, HOLDS: 1, UNMEASURED: 1},
        "one seed": {HOLDS: 1},
        "beyond the papers": {HOLDS: 1},
        "checks": {HOLDS: 1},
    }
    assert "2 of 5 hold, 1 not settled, one seed (smoke)" in readme.index(workdir / "outputs")


def test_old_evaluations_are_judged_by_the_claims_of_today(flowrepro, workdir):
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    folder = workdir / "outputs/figures/linear_systems/fig2/smoke"
    (folder / "claims.csv").write_text("key,verdict\nold,holds\n")
    table = pd.read_csv(folder / "table.csv").drop(columns="rotated_std_ratio")
    table.to_csv(folder / "table.csv", index=False)
    found = {c["key"]: c for c in page.figure(workdir / "outputs", "linear_systems/fig2")["claims"]}
    assert found["scaled"]["verdict"] == UNSETTLED and "rotated_std_ratio" in found["scaled"]["told"]
    assert found["component_1"]["verdict"] == HOLDS


def test_single_values_stand_beside_their_mean():
    assert page.singles("0:0.993241 1:0.942654 2:-1e-05") == "0.9932, 0.9427, -1e-05"
    assert page.singles("0:3") == page.singles("") == ""


def test_the_command_line_tells_single_values_below_their_mean(capsys):
    table = pd.DataFrame({"seed": [0, 1], "std_ratio": [0.5, 3.0]})
    build._print_claims(judge([claim("mixed", at_least(1))], table, "cpu"))
    told = capsys.readouterr().out
    assert told.startswith("inconclusive (one seed)") and re.search(r": 1\.75 .*\n +0:0\.5 1:3\n", told)


def test_the_command_line_tells_what_is_not_settled(flowrepro, workdir, claims):
    told = flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke").out
    assert "what right measures: 8." in told and "(passes if ≥ 1)" in told
    assert re.search(r"not settled +what open says", told) and "not met: it is > 1000: ≥ 1000 (is 8." in told
    assert re.search(r"holds \(one seed\) +what single says", told)
    assert re.search(r"not measured at this scale what unmeasured says\n(?! )", told)


def test_the_largest_scale_is_shown(flowrepro, workdir):
    for scale in ("smoke", "cpu"):
        flowrepro("evaluate", "figure=linear_systems/fig1", f"scale={scale}")
    shown = page.figure(workdir / "outputs", "linear_systems/fig1")
    assert (shown["scale"], shown["scales"]) == ("cpu", ["cpu", "smoke"])
    assert store.scales_there(workdir / "outputs", "linear_systems/fig2") == []


def test_the_readmes_index_is_written_between_its_markers(workdir):
    (workdir / "README.md").write_text(f"before\n{readme.BEGIN}a stale line\n{readme.END}after\n")
    assert readme.write(workdir / "outputs") is not None
    text = (workdir / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "a stale line" not in text and "| `linear_systems/fig1` |" in text and "not evaluated" in text
    assert readme.write(workdir / "nowhere" / "outputs") is None
