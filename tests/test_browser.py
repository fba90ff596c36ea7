"""The report in a real browser: filters, permalinks, no error, nothing that a screen reader stumbles over."""

import shutil
from pathlib import Path

import pytest

from flowrepro.report import page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
ROOT = Path(__file__).resolve().parents[1]


def built(folder, pattern):
    """The address of a page of some of this repository's results, in a folder of its own."""
    for found in (ROOT / "outputs/figures").glob(pattern):
        copied = folder / "outputs/figures" / found.relative_to(ROOT / "outputs/figures")
        shutil.copytree(found, copied, ignore=shutil.ignore_patterns("*.npz"))
    return page.build(folder / "outputs").as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return built(tmp_path_factory.mktemp("moved"), "*/*")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser, address):
    """Opens the page; errors of its script and requests elsewhere fail the test."""
    errors, contexts = [], []

    def opened(hash="", width=1440, scheme="light", address=address):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        contexts[-1].set_default_timeout(120_000)
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda sent: sent.url.startswith(("file:", "data:")) or errors.append(sent.url))
        tab.goto(address + hash)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def visible(tab):
    return tab.locator("tr[data-verdict]:visible").count()


def test_filters_narrow_the_claims_and_stay_in_the_address(opened):
    tab = opened()
    whole = visible(tab)
    tab.select_option("[name=verdict]", "holds")
    tab.select_option("[name=paper]", "single_coupling")
    narrowed = visible(tab)
    assert 0 < narrowed < whole and tab.locator("output").inner_text() == f"{narrowed} of {whole} claims"
    assert tab.locator("section.paper:visible").count() == 1
    again = opened(tab.url[tab.url.index("#") :])
    assert visible(again) == narrowed
    again.fill("[name=q]", "no claim has these words")
    assert visible(again) == 0
    again.click("button[type=reset]")
    again.wait_for_function("!location.hash")
    assert visible(again) == whole


def test_the_most_certain_claims_can_come_first(opened):
    tab = opened("#paper=single_coupling&sort=strength")
    found = [
        [float(row.get_attribute("data-strength")) for row in group.locator("tr[data-verdict]").all()]
        for group in tab.locator("#single_coupling tbody.figure").all()
    ]
    assert len(found) > 3 and all(group == sorted(group, reverse=True) for group in found)
    assert [max(group) for group in found] == sorted((max(group) for group in found), reverse=True)


@pytest.mark.parametrize("aim", ["single_coupling", "linear_systems/fig3", "linear_systems/fig2/component_1"])
def test_a_permalink_shows_what_it_names(opened, aim):
    tab = opened(f"#{aim}")
    target = tab.locator(f"[id='{aim}']")
    target.wait_for()
    assert abs(target.bounding_box()["y"]) < 450, "at the top of the window"
    if aim.count("/") == 2:
        assert target.locator("details").evaluate("found => found.open")


def test_a_link_to_the_runs_of_a_figure_opens_them(opened):
    tab = opened()
    runs = tab.locator("[id='single_coupling/fig2/runs']")
    assert not runs.evaluate("found => found.open")
    tab.locator("[id='single_coupling/fig2'] ul.inline a", has_text="training runs").press("Enter")
    runs.get_by_text("flowrepro train").first.wait_for()
    assert "w-coupling-none-" in runs.inner_text() and "flowrepro train" in runs.inner_text()


@pytest.mark.parametrize("width", [390, 1440, 2560])
def test_it_fits_the_window(opened, width):
    tab = opened(width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_pictures_load_after_a_move(opened):
    tab = opened("#single_coupling/fig1")
    picture = tab.locator("[id='single_coupling/fig1'] img")
    picture.scroll_into_view_if_needed()
    tab.wait_for_function("found => found.complete && found.naturalWidth > 300", arg=picture.element_handle())


def test_pictures_have_their_room_before_they_load(opened):
    heights = "all => all.map((found) => found.complete || found.getBoundingClientRect().height)"
    assert all(
        height is True or height > 50 for height in opened().locator("figure img").evaluate_all(heights)
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_a_screen_reader(opened, scheme, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # the tool is slow on long pages
    found = axe.run(opened(scheme=scheme, address=built(tmp_path, "*/fig2")))
    assert found.violations_count == 0, found.generate_report()
