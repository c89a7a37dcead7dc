"""MLflow's and Prefect's pages in a real browser, showing runs that really ran.

``THAW_SCREENSHOTS=docs python -m pytest tests/pipelines/test_browser.py`` makes the documentation's
pictures anew, from a sample recipe instead of the tiny one: that takes a quarter of an hour.
"""

import csv
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import (
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebSocket,
    expect,
    sync_playwright,
)
from project import Project, quick_recipe
from ruamel.yaml import YAML
from servers import free_port, server

pytestmark = pytest.mark.slow

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: apt-get install chromium"
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCREENSHOTS = os.environ.get("THAW_SCREENSHOTS")
RECIPE = "pets_sample" if SCREENSHOTS else "shapes"
STAGES = [
    "download", "untar", "weights", "split", "pack", "look", "lr_frozen", "fit_frozen",
    "lr_unfrozen", "fit_unfrozen", "threshold", "evaluate", "interpret", "report", "record",
]  # fmt: skip
WIDTH = 1280
RATES = (3e-4, 3e-3)
CURVE = "fit_unfrozen/batch/loss"
# MLflow draws each line twice.
LINES = "Array.from(document.querySelectorAll('path.js-line'), line => line.getAttribute('d'))"
# The pages ask their own servers for these in vain: a user without accounts, a state without icon.
MISSING = ("/mlflow/users/current", "/ico/undefined.svg")
SECONDS = 240.0  # for a page to show what it must, on a slow machine


def is_here(url: str) -> bool:
    """Say whether an address is on loopback, or on no network at all."""
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about") or parts.hostname in ("127.0.0.1", "localhost")


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Yield a page of a fresh Chromium. It may neither ask beyond loopback nor meet errors."""
    away: list[str] = []
    errors: list[str] = []

    def ask(request: Request | WebSocket) -> None:
        if not is_here(request.url):
            away.append(request.url)

    def answer(response: Response) -> None:
        if response.status >= 400 and not urlsplit(response.url).path.endswith(MISSING):
            errors.append(f"{response.status} {response.url}")

    def say(message: ConsoleMessage) -> None:
        # What could not be loaded is told of above, with its address.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS, viewport={"width": WIDTH, "height": 900}
        )
        context.route(lambda url: not is_here(url), lambda route: route.abort())
        page = context.pages[0]
        page.set_default_timeout(SECONDS * 1000)
        expect.set_options(SECONDS * 1000)
        page.on("request", ask)
        page.on("websocket", ask)
        page.on("response", answer)
        page.on("console", say)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        context.close()
    assert not away
    assert not errors


def change(project: Project, section: str, key: str, value: object) -> None:
    """Set a parameter of the recipe."""
    file = project.folder / "params.yaml"
    content = YAML().load(file)
    content["images"][RECIPE][section][key] = value
    with file.open("w") as out:
        YAML().dump(content, out)


def picture(page: Page, name: str, height: int = 900) -> None:
    """Keep what the page shows, once it has settled, where pictures are wanted."""
    if not SCREENSHOTS:
        return
    page.set_viewport_size({"width": WIDTH, "height": height})
    before, deadline = b"", time.monotonic() + SECONDS
    while (now := page.screenshot()) != before:
        assert time.monotonic() < deadline, f"{name} does not come to rest"
        before = now
    (Path(SCREENSHOTS) / name).write_bytes(now)


def tidy(page: Page) -> None:
    """Give the pictures MLflow's menu for trainers, without its assistant, as users set it once."""
    settings = {
        "mlflow.workflowType_v1": '"machine_learning"',
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    }
    for key, value in settings.items():
        page.add_init_script(f"localStorage.setItem('{key}', '{value}')")


def show_final_metrics(page: Page) -> None:
    """Let the Compare page's chart lead from what differs to the final metrics."""
    page.get_by_text("Run details").click()  # folds them
    metrics = page.get_by_role("combobox").nth(1)
    metrics.press("Backspace")  # what MLflow chose
    for name in ("valid/accuracy", "valid/loss"):
        metrics.fill(name)
        metrics.press("Enter")
    metrics.press("Escape")
    page.get_by_text("Visualizations").hover()


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project], shapes_archive: Path) -> Project:
    """A project with a recipe of which nothing has been run."""
    project = new_project()
    if SCREENSHOTS:
        change(project, "fit_unfrozen", "epochs", 12)  # a curve worth a picture
    else:
        project.write_recipes({RECIPE: quick_recipe(shapes_archive)})
    return project


@pytest.fixture(scope="module")
def ui(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that `python -m pipelines.ui` names, opened while there is nothing to see."""
    log, port = tmp_path_factory.mktemp("ui") / "log", free_port()
    address = f"http://127.0.0.1:{port}"
    start = ["env", "--chdir", str(project.folder), sys.executable, "-m", "pipelines.ui"]
    with server([*start, "--port", str(port)], f"{address}/health", log):
        yield next(word for word in log.read_text().split() if word.startswith(f"{address}/#"))


@pytest.fixture(scope="module")
def losses(project: Project) -> dict[float, float]:
    """The last training loss by learning rate, of two runs of the recipe by `dvc repro`."""
    found = {}
    for rate in RATES:
        change(project, "fit_unfrozen", "lr", rate)
        project.run("dvc", "repro", f"record@{RECIPE}")
        file = project.folder / "results" / RECIPE / "fit_unfrozen" / "batches.csv"
        with file.open() as rows:
            found[rate] = float(list(csv.DictReader(rows))[-1]["loss"])
    return found


@pytest.fixture(scope="module")
def prefect(
    project: Project, new_project: Callable[[], Project], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a Prefect server that has seen one run of the flow."""
    project = new_project() if SCREENSHOTS else project  # a picture shows all stages at work
    change(project, "fit_unfrozen", "lr", 1e-3)
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_SERVER_API_PORT": str(port),  # --port alone leaves the pages asking port 4200
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # it asks amplitude.com even so
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    start = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    with server(start, f"{address}/api/health", home / "log", **settings):
        project.run(sys.executable, "-m", "pipelines.train", RECIPE, **settings)
        yield address


@needs_chromium
def test_mlflow_compares_two_runs(ui: str, losses: dict[float, float], tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        if SCREENSHOTS:
            tidy(page)
        page.goto(ui)
        rows = page.get_by_role("checkbox", name="toggle row selection")
        for row in (rows.nth(0), rows.nth(1)):  # the latest two
            row.check()
        page.get_by_role("button", name="Compare", exact=True).click()

        page.get_by_role("switch", name="Parameters - Show diff only").click()
        different = page.get_by_role("table").filter(has_text="fit_unfrozen.lr").get_by_role("row")
        expect(different).to_have_count(1)
        name, *values = different.inner_text().split()
        assert name == "fit_unfrozen.lr"
        assert {float(value) for value in values} == set(RATES)
        if SCREENSHOTS:
            show_final_metrics(page)
        picture(page, "mlflow-compare.png")

        # Where the link leads: the page may draw its table anew under a click, which is lost then.
        link = page.get_by_role("link", name=CURVE, exact=True).get_attribute("href")
        page.goto(urljoin(page.url, link))
        lines = page.get_by_text(re.compile(rf"^{RECIPE}-\w{{6}} \({CURVE}\)$"))
        expect(lines).to_have_count(2)
        assert len(set(lines.all_inner_texts())) == 2
        for loss in losses.values():
            expect(page.get_by_text(f"{loss!r} (step=").first).to_be_visible()
        page.wait_for_function(f"new Set({LINES}).size == {len(losses)}")
        picture(page, "mlflow-curves.png", height=700)


@needs_chromium
def test_prefect_shows_the_stages_of_a_finished_run(prefect: str, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        page.goto(f"{prefect}/runs")
        page.locator("a[href*='/runs/flow-run/']").first.click()
        page.get_by_text("Task Runs", exact=True).click()  # on the run's page alone
        expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
        for stage in STAGES:
            expect(page.get_by_text(f"{stage}@{RECIPE}", exact=True).first).to_be_visible()
        expect(page.get_by_text("Ran", exact=True).first).to_be_visible()
        picture(page, "prefect-flow.png")


def test_a_taken_port_is_named(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = project.run(sys.executable, "-m", "pipelines.ui", "--port", str(port), ok=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"127.0.0.1:{port}: Address already in use. Another port: make ui PORT={port + 1}\n"
    )


def test_a_server_needs_no_other(project: Project, ui: str) -> None:
    address = ui.partition("/#")[0]
    done = project.run(sys.executable, "-m", "pipelines.ui", MLFLOW_TRACKING_URI=address)
    assert done.stdout.splitlines()[-1] == f"MLflow's UI: {ui}"
