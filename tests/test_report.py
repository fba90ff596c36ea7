"""The report: every paper and claim is there, what fails comes first, scales are named, links lead somewhere."""

import re

import pandas as pd

from flowrepro.figures import store
from flowrepro.report import page, readme


def test_the_page_tells_all(flowrepro, workdir):
    for key in ("linear_systems/fig1", "linear_systems/fig2"):
        flowrepro("evaluate", f"figure={key}", "scale=smoke")
    claims_file = workdir / "outputs/figures/linear_systems/fig2/smoke/claims.csv"
    claims = pd.read_csv(claims_file, keep_default_na=False)
    claims.loc[3, ["verdict", "why"]] = ["does not hold", "because <of> this & that"]
    claims.to_csv(claims_file, index=False)
    answer = flowrepro("plot", "figure=all")
    assert answer.code == 0, answer.err
    html = (workdir / "outputs/report/index.html").read_text()
    for paper in page.PAPERS:
        assert paper.title in html
    assert "because &lt;of&gt; this &amp; that" in html
    rows = re.findall(
        r'<tr><td class="verdict [^"]*">([^<]*)</td>', html.split('id="linear_systems/fig2"')[1]
    )
    assert rows[0] == "does not hold" and set(rows[1:]) == {"holds"}
    assert (
        "reduced: not the paper's settings" in html
        and html.count("No figure of this paper is reproduced yet") == 1
    )
    for link in re.findall(r'src="([^"]+)"', html):
        assert (workdir / "outputs/report" / link).resolve().is_file()
    assert "http" not in html.replace("http-equiv", ""), "the page loads nothing from elsewhere"


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
