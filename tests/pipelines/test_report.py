"""The reports in a real browser: no errors, no requests; both schemes, and a phone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright
from report_files import RECIPE, write_recipe
from test_browser import CHROMIUM, FLAGS, needs_chromium

from stages import report
from stages.common.paths import Paths
from thaw.core.files import write_json

pytestmark = pytest.mark.slow

KINDS = ("label", "labels", "points", "ratings")
PAGES = (*KINDS, "index")
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA
# The smallest contrast of a text with what is behind it, by the formula of WCAG 2.2.
CONTRAST = """() => {
  const numbers = colour => {
    const probe = new OffscreenCanvas(1, 1).getContext('2d');
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data].map(value => value / 255);
  };
  const onto = (above, below) => above.slice(0, 3).map(
    (value, i) => value * above[3] + below[i] * (1 - above[3]));
  const behind = element => {
    if (!element) return [1, 1, 1];
    return onto(numbers(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  };
  const light = colour => colour.map(
    c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  ).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let least = [21, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || element.closest('style')) continue;
    const style = getComputedStyle(element), back = behind(element);
    const ink = style[element.closest('svg') ? 'fill' : 'color'];
    const [a, b] = [light(onto(numbers(ink), back)), light(back)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least[0]) least = [contrast, text];
  }
  return least;
}"""
LINES = """() => [...document.querySelectorAll('svg [id$=smoothed] path')].map(
  path => getComputedStyle(path).stroke)"""
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report of each kind, and their index."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_json(Path("params.yaml"), {"recipes": dict.fromkeys(KINDS, RECIPE)})
        for kind in KINDS:
            write_recipe(kind, kind)
            report.run(report.Params(**RECIPE), Paths(kind))
    return folder / "results"


def address(results: Path, page: str) -> str:
    file = results / "index.html" if page == "index" else results / page / "report" / "index.html"
    return file.as_uri()


@contextmanager
def browser(scheme: str, width: int) -> Iterator[Page]:
    """Yield a page of a fresh Chromium, which may ask for nothing but files, nor meet errors."""
    asked: list[str] = []
    errors: list[str] = []

    def say(message: ConsoleMessage) -> None:
        errors.append(f"{message.type}: {message.text}")

    def ask(request: Request) -> None:
        asked.append(request.url)

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": 844},
        )
        page.on("request", ask)
        page.on("console", say)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        chromium.close()
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)
    # The page itself, and nothing beside it.
    assert all(url.partition("#")[0].endswith("/index.html") for url in asked if url[:5] == "file:")
    assert not errors


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_in_both_schemes(results: Path, scheme: str) -> None:
    with browser(scheme, 1280) as page:
        for name in PAGES:
            page.goto(address(results, name))
            contrast, text = page.evaluate(CONTRAST)
            assert contrast >= LEAST_CONTRAST, (name, text)


@needs_chromium
def test_pages_and_charts_follow_the_scheme(results: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        with browser(scheme, 1280) as page:
            page.goto(address(results, "label"))
            seen[scheme] = [page.evaluate(BACKGROUND), *page.evaluate(LINES)]
    assert len(seen["light"]) == 2  # one chart has a curve of learning rates
    assert not set(seen["light"]) & set(seen["dark"])


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_is_as_wide_as_its_window(results: Path, width: int) -> None:
    with browser("light", width) as page:
        for name in PAGES:
            page.goto(address(results, name))
            assert page.evaluate("document.documentElement.scrollWidth") == width, name
            charts = page.locator("svg")
            for number in range(charts.count()):
                box = charts.nth(number).bounding_box()
                # Letters of 9 units at least: readable where a unit is nearly a pixel.
                assert box["width"] > 0.75 * 388.8, (name, number)
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width


@needs_chromium
def test_pictures_are_decoded_and_links_lead_on(results: Path) -> None:
    with browser("light", 1280) as page:
        page.goto(address(results, "index"))
        page.get_by_role("link", name="points", exact=True).click()
        page.get_by_role("heading", level=1, name="points").wait_for()
        pictures = page.locator("img")
        assert pictures.count() == 3
        for number in range(3):
            assert pictures.nth(number).evaluate("image => image.naturalWidth") == 900
        page.get_by_role("link", name="Parameters").click()
        assert page.url.endswith("#parameters")
        page.get_by_role("link", name="All recipes").click()
        page.get_by_role("heading", level=1, name="All recipes").wait_for()


@needs_chromium
def test_what_a_page_would_ask_for_is_refused(results: Path, tmp_path: Path) -> None:
    """The policy holds: what is put into a page afterwards loads nothing."""
    text = (results / "points" / "report" / "index.html").read_text()
    for number, tag in enumerate(("<script src='a.js'></script>", "<img src='b.png'>")):
        (tmp_path / f"{number}.html").write_text(text.replace("</main>", f"{tag}</main>"))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        for number in range(2):
            page.goto((tmp_path / f"{number}.html").as_uri())
        chromium.close()
    assert len(said) == 2
    assert all("violates the following Content Security Policy" in text for text in said)


@needs_chromium
@pytest.mark.skipif(
    "THAW_SCREENSHOTS" not in os.environ, reason="draws docs/report.png: THAW_SCREENSHOTS=docs"
)
def test_the_documentation_shows_a_report() -> None:
    """Of the demo's results, which must be there."""
    with browser("light", 1280) as page:
        page.set_viewport_size({"width": 1280, "height": 1520})
        page.goto(address(Path("results").absolute(), "bears_sample"))
        page.screenshot(path=Path(os.environ["THAW_SCREENSHOTS"], "report.png"))
