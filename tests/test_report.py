"""The report: every paper and claim is there, what fails comes first, scales are named, links lead somewhere."""

import base64
import io
import math
import re
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flowrepro.figures import build, catalogue, store
from flowrepro.figures.claims import (
    EVERY_SCALE,
    FAILS,
    HOLDS,
    MIXED,
    UNMEASURED,
    UNSETTLED,
    Claim,
    at_least,
    at_most,
    column,
    enough,
    judge,
    within,
)
from flowrepro.figures.linear_systems import fig2
from flowrepro.report import content, curves, needs, papers, readme, single, tally
from flowrepro.report.order import in_order, ours, title
from flowrepro.report.strip import EDGE, WIDTH, strip


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
    for paper in papers.known():
        # what is beyond the papers has no address
        assert paper.title in html and (not paper.link or f'href="{paper.link}"' in html)
    shown = html.split('data-figure="linear_systems/fig2">\n<tr class="group">')[1].split("</tbody>")[0]
    rows = re.findall(
        r'<tr id="linear_systems/fig2/(\w+)".*?<td class="verdict [^"]*">. ([a-z ]*)', shown, re.S
    )
    assert [verdict for _, verdict in rows] == [
        FAILS, UNSETTLED, HOLDS, HOLDS, "not measured", HOLDS, HOLDS
    ], "the paper's, beyond, checks"  # fmt: skip
    assert [key for key, _ in rows[-2:]] == ["more", "sane"]
    assert (
        "<code>std_ratio</code> &lt;is&gt; small &amp; so on" in shown and "not met: it is &gt; 1000" in shown
    )
    assert "what wrong measures" in shown and "beyond the paper:" in shown and "check:" in shown
    assert "settings differ from the paper" in html
    without = len(papers.known()) - len({key.split("/")[0] for key in catalogue.keys()})
    assert '<pre class="command">make linear_systems/fig2 SCALE=smoke' in html and "arrays.npz" in html
    own, ours = html.split("questions of our own:")[:2]
    assert ">Figure 6\n" in own and ">ablation alpha\n" not in own and ">ablation alpha\n" in ours
    counted = re.findall(r"<strong>([\d a-z]+)</strong>: settings differ", html)
    assert counted == ["2 of 2 figures are reduced"]
    told = re.search(r"<strong>(\d+ claims? not settled, \d+ not measured); to settle them", html)
    # one of figure 2, and one of figure 1
    assert told is not None and told[1] == "1 claim not settled, 2 not measured"
    assert "No command settles it: “it is" in shown
    assert html.count("No figure of this paper is reproduced yet") == without


def test_a_new_folder_of_figures_reaches_the_report_by_itself(flowrepro, workdir, monkeypatch):
    found = [*catalogue.keys(), "fifth_paper/fig1"]
    monkeypatch.setattr(papers, "keys", lambda: found)
    assert papers.known()[-1] == papers.Paper("fifth_paper", "fifth paper")
    assert flowrepro("plot", "figure=all").code == 0
    html = (workdir / "outputs/report/index.html").read_text()
    assert (
        '<section class="paper" id="fifth_paper">' in html
        and '<a href="#fifth_paper">fifth paper</a>' in html
    )


def test_every_link_of_the_page_leads_somewhere(flowrepro, workdir, claims):
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    flowrepro("plot", "figure=all")
    html = (workdir / "outputs/report/index.html").read_text()
    targets = set(re.findall(r' id="([^"]+)"', html))
    found = re.findall(r' (?:href|src)="([^"]+)"', html)
    inside = [unquote(link[1:]) for link in found if link.startswith("#") and "=" not in link]
    beside = [link for link in found if not link.startswith(("#", "data:", "http"))]
    assert len(inside) > 40 and set(inside) <= targets
    assert len(beside) >= 5 and all(
        (workdir / "outputs/report" / link).resolve().is_file() for link in beside
    )
    assert {link for link in found if link.startswith("http")} == {paper.link for paper in papers.known()} - {
        ""
    }
    assert not re.findall(r'(?:src|@import|url\()[="\'(]*http', html), "the page loads nothing from elsewhere"


def test_a_single_file_holds_its_pictures_and_tables(flowrepro, workdir):
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    flowrepro("plot", "figure=linear_systems/fig2", "scale=smoke")
    answer = flowrepro("plot", "figure=all", "single=true")
    assert answer.code == 0, answer.err
    html = (workdir / "outputs/report/flowrepro.html").read_text()
    found = re.findall(r' (?:href|src)="([^"]+)"', html)
    assert {link.split(":")[0] for link in found if not link.startswith("#")} == {"data", "https"}
    assert 'src="data:image/webp;base64,' in html and re.search('href="data:text/csv[;,]', html)


def test_only_the_papers_claims_enter_the_tally(flowrepro, workdir, claims):
    def counts():
        return tally.counts([c for entry in content.papers(workdir / "outputs") for c in entry["claims"]])

    assert counts() == {}
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    assert counts() == {
        "paper": {FAILS: 1, UNSETTLED: 1, HOLDS: 1, UNMEASURED: 1},
        "one seed": {HOLDS: 1},
        "beyond the papers": {HOLDS: 1},
        "checks": {HOLDS: 1},
    }
    index = readme.index(workdir / "outputs")
    assert "fig2/smoke/figure.png) 1✗ 1? 2✓ 1–" in index
    assert "| 1 does not hold, 1 not settled, 2 holds, 1 not measured at this scale |" in index
    printed = flowrepro("evaluate", "figure=all")
    assert printed.code == 0 and re.search(r"fig2 +smoke +1✗ 1\? 2✓ 1–", printed.out)


def test_the_verdicts_that_a_shift_turns_are_counted():
    def claim(verdict, turns_at, kind="paper"):
        return {"verdict": verdict, "turns_at": turns_at, "kind": kind}

    found = [
        claim(HOLDS, 0.1), claim(FAILS, 0.2), claim(MIXED, 0.6), claim(HOLDS, math.nan),
        claim(UNSETTLED, math.nan), claim(HOLDS, 0.01, "check"),
    ]  # fmt: skip
    assert tally.shifts(found) == {"judged": 4, "zero": 1, "turned": {"10%": 1, "25%": 2, "50%": 2}}


def test_why_claims_are_not_settled_is_counted():
    def claim(told, verdict=UNSETTLED, kind="paper"):
        return {"verdict": verdict, "told": told, "kind": kind}

    found = tally.reasons([
        claim("refuting it takes 3 seeds; not met: a: ≥ 1 (is 0)"), claim("not met: a: ≥ 1 (is 0)"),
        claim("not met: b: ≥ 1 (is 0)"), claim("the table has no column 'c'; train and evaluate again"),
        claim("not met: a", HOLDS), claim("not met: a", kind="beyond"),
    ])  # fmt: skip
    assert list(found.values()) == [2, 1, 1] and next(iter(found)) == needs.CONDITION


def test_curves_stand_where_their_scores_are():
    steps, scores = [0, 50, 100], [-9.0, math.nan, 1.0]
    run = {"run": "a", "case": "x", "seed": 0, "state": "completed", "step": steps}
    frame = pd.DataFrame(run | {"train_log_prob": [math.nan, 0.0, 0.5], "val_log_prob": scores})
    other = frame.assign(run="b", seed=1, state="diverged", step=[0, 20, 40])
    (panel,) = curves.panels(pd.concat([frame, other]))
    assert panel["case"] == "x"
    assert panel["told"] == "1 after 100 steps (seed 0); 1 after 40 steps (seed 1, diverged)"
    drawn = re.findall(r'class="(train|val)" d="([^"]*)"', panel["svg"])
    assert [kind for kind, _ in drawn] == ["train", "train", "val", "val"]
    left, right, lower = curves.LEFT, curves.WIDTH - 4, curves.HEIGHT - curves.BOTTOM
    points = [re.findall(r"([ML])(\d+) ([\d.]+)", path) for _, path in drawn]
    assert [(move, int(x)) for move, x, _ in points[2]] == [("M", left), ("M", right)], (
        "a gap where not finite"
    )
    assert float(points[2][0][2]) == lower and curves.TOP < float(points[2][1][2]) < 20, (
        "clipped, and near the top"
    )
    assert [int(x) for _, x, _ in points[1]] == [round(left + s / 100 * (right - left)) for s in (20, 40)]
    assert curves.panels(pd.DataFrame(columns=["run"])) == []


def test_pictures_shrink_until_all_fit_into_one_file(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (600, 1500, 3), dtype=np.uint8)
    picture = tmp_path / "a.png"
    Image.fromarray(noise).save(picture)
    widths = []
    for limit in (10**7, 700_000, 0):
        monkeypatch.setattr(single, "LIMIT", limit)
        page = single.one_file([picture], lambda link: "x" * 300_000 + link(picture))
        assert len(page) <= limit or limit == 0
        content = base64.b64decode(page.split(",")[1])
        widths.append(Image.open(io.BytesIO(content)).width)
    assert widths[0] == single.SIZES[0][0] > widths[1] > widths[2] == single.SIZES[-1][0]


def test_a_table_inside_an_address_comes_back(tmp_path):
    (tmp_path / "a.csv").write_text("a b,c%\n1,“2 # & 3”\n")
    head, content = single.inside([], 0)(tmp_path / "a.csv").split(",", 1)
    found = base64.b64decode(content).decode() if head.endswith("base64") else unquote(content)
    assert found == (tmp_path / "a.csv").read_text()


def test_marks_stand_where_their_values_are():
    drawn = strip([1.0, 3.0, math.nan], at_least(2))
    assert re.findall(r'class="(in|out)" cx="([\d.]+)"', drawn) == [
        ("out", f"{EDGE}.0"),
        ("in", f"{WIDTH - EDGE}.0"),
    ]
    assert f'x1="{WIDTH / 2}"' in drawn and "1 of 3 values pass ≥ 2" in drawn
    wide = strip([1.0, 1e4], at_most(100))
    assert f'x1="{WIDTH / 2}"' in wide, "logarithmic over four orders of magnitude"
    assert strip([math.nan], at_least(2)) == strip([], within(1, 0.1)) == ""


def test_figures_stand_in_the_papers_order():
    order = [title(key) for key in in_order("across_dimensions")]
    assert order[:3] == ["Figure 1", "Figure 2", "Figure 3"] and order.index("Figure 9") < order.index(
        "Figure 10"
    )
    assert order.index("Figure 14") < order.index("Table 1") < order.index("gain")
    coupling = in_order("single_coupling")
    numbered = [title(key) for key in coupling if not ours(key)]
    assert numbered[-2:] == ["Lemma 2", "Theorem 1"] and "start" in [
        title(key) for key in coupling if ours(key)
    ]
    assert [title(key) for key in coupling[: len(numbered)]] == numbered, "ours come last"


def test_what_was_found_is_computed():
    def claim(verdict, turns_at, says):
        return {"verdict": verdict, "turns_at": turns_at, "says": says, "kind": "paper", "measured": "a",
                "our_value": 0.5, "unit": "", "threshold": "≥ 1", "mark": ""}  # fmt: skip

    holds, more, fails = claim(HOLDS, 0.1, "A."), claim(HOLDS, 0.7, "B."), claim(FAILS, 0.3, "C.")
    told = content.findings([holds, fails, more])
    assert told[0] == "Of 3 claims 1 does not hold, 2 hold."
    assert "“C” (a: 0.5, passes if ≥ 1)" in told[1] and "“B”" in told[2]
    assert content.findings([holds])[:2] == ["Its claim holds.", "None is refuted."]
    assert content.findings([]) == ["None of its claims has been measured."]
    assert content.findings([more | {"kind": "beyond"}])[0] == "Its claim holds."
    seeds = {"values": "0:1 1:2", "seeds": 2, "rests_on": "one seed"}
    assert content.conditions(seeds, 0) == "2 seeds"
    assert content.conditions(seeds | {"rests_on": content.CALCULATED}, 0) == "calculated for 2 seeds"
    alone = {"values": "0:1", "seeds": 1, "rests_on": "one seed"}
    assert content.conditions(alone, 4) == "one seed, 4 settings differ from the paper’s"
    assert content.conditions(alone | {"rests_on": content.CALCULATED}, 1) == (
        "calculated, one setting differs from the paper’s"
    )
    chosen = readme.findings([{"claims": [holds, fails]}, {"claims": []}, {"claims": [more]}])
    assert [c["says"] for c in chosen] == ["C.", "A.", "B."]


def test_old_evaluations_are_judged_by_the_claims_of_today(flowrepro, workdir):
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    folder = workdir / "outputs/figures/linear_systems/fig2/smoke"
    (folder / "claims.csv").write_text("key,verdict\nold,holds\n")
    table = pd.read_csv(folder / "table.csv").drop(columns="rotated_std_ratio")
    table.to_csv(folder / "table.csv", index=False)
    found = {c["key"]: c for c in content.figure(workdir / "outputs", "linear_systems/fig2")["claims"]}
    assert found["scaled"]["verdict"] == UNSETTLED and "rotated_std_ratio" in found["scaled"]["told"]
    assert found["component_1"]["verdict"] == HOLDS


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


def test_refutations_by_calculation_are_not_marked_as_weak(flowrepro, workdir, claims):
    flowrepro("evaluate", "figure=linear_systems/fig2", "scale=smoke")
    found = {c["key"]: c for c in content.figure(workdir / "outputs", "linear_systems/fig2")["claims"]}
    assert found["wrong"]["rests_on"] == "calculated" and found["wrong"]["conditions"].startswith(
        "calculated,"
    )
    assert found["single"]["rests_on"] == "one seed" and found["unmeasured"]["rests_on"] == ""
    assert found["wrong"]["missing"] is None and found["unmeasured"]["missing"].command.endswith(
        "SCALE=paper"
    )


def test_the_largest_scale_is_shown(flowrepro, workdir):
    for scale in ("smoke", "cpu"):
        flowrepro("evaluate", "figure=linear_systems/fig1", f"scale={scale}")
    shown = content.figure(workdir / "outputs", "linear_systems/fig1")
    assert (shown["scale"], shown["scales"]) == ("cpu", ["cpu", "smoke"])
    assert store.scales_there(workdir / "outputs", "linear_systems/fig2") == []


def test_the_readmes_index_is_written_between_its_markers(workdir):
    (workdir / "README.md").write_text(f"before\n{readme.BEGIN}a stale line\n{readme.END}after\n")
    assert readme.write(workdir / "outputs") is not None
    text = (workdir / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "a stale line" not in text and "`linear_systems`" in text and "fig1 (not evaluated)" in text
    assert readme.write(workdir / "nowhere" / "outputs") is None
