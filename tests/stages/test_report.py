"""The report's page, of results of each kind that nothing was trained for."""

import copy
import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from project import ROOT
from report_files import HOSTILE, RECIPE, write_recipe

from pipelines import results
from stages import report
from stages.common.paths import Paths
from thaw.core.files import write_json

KINDS = ("label", "labels", "points", "ratings")
# By md5sum, of DVC's list of one file: [{"md5": …, "relpath": "pixels.bin"}]
PACKED_MD5 = "336da55156f1000f2c1a6859121f13fd.dir"

# How they begin.
SENTENCES = ("It gets 0.", "It finds the labels of 24", "On 24 held-out", "It predicts 24")


def test_the_index_says_from_which_commit_results_were_made(
    page: Callable[..., str], tmp_path: Path
) -> None:
    page("label")
    index = tmp_path / "results" / "index.html"
    before = index.read_bytes(), Paths("label").report.read_bytes()
    assert b"commit" not in before[0]
    run = tmp_path / ".thaw" / "runs" / "0123"
    tags = {"mlflow.source.git.commit": "c0ffee" * 6 + "beef", "thaw.git_dirty": "false"}
    write_json(run / "run.json", {"tags": tags})
    write_json(Paths("label").run, {"key": "0123"})
    page("label")
    assert index.read_bytes() == before[0]  # that run has no results, so these are not its
    for file in (Paths("label").epochs, Paths("label").result("evaluate", "metrics.json")):
        (run / "files" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, run / "files" / file)
    page("label")
    assert " Made from commit c0ffeec0ff.</td>" in index.read_text()
    assert Paths("label").report.read_bytes() == before[1]  # whatever git says
    write_json(run / "run.json", {"tags": tags | {"thaw.git_dirty": "true"}})
    page("label")
    assert " Made from commit c0ffeec0ff, with changes.</td>" in index.read_text()


def test_a_recipe_that_cannot_be_read_hides_no_other(
    page: Callable[..., str], tmp_path: Path
) -> None:
    page("points")
    page("label")
    Paths("points").predictions.write_bytes(b"half of it")
    page("label")
    index = (tmp_path / "results" / "index.html").read_text()
    assert "points/predictions.parquet cannot be read as Parquet" in index
    assert 'href="label/report/index.html"' in index


def test_reports_that_end_together_leave_a_whole_index(
    page: Callable[..., str], tmp_path: Path
) -> None:
    for kind in KINDS:
        page(kind)
    index = tmp_path / "results" / "index.html"
    whole = index.read_bytes()
    index.unlink()
    code = "from stages.index import write_index\nfor _ in range(5): write_index()"
    command = [sys.executable, "-c", code]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen(command, cwd=tmp_path, env=env) for _ in range(3)]
    while any(writer.poll() is None for writer in writers):
        if index.exists():
            assert index.read_bytes() == whole
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert index.read_bytes() == whole
    assert not list(index.parent.glob(".*"))


def test_points_have_no_classes_to_count(page: Callable[..., str]) -> None:
    file = Paths("points").result("split", "metrics.json")
    page("points")
    write_json(file, {"items": 96, "classes": 0, "train/items": 72, "valid/items": 24})
    report.run(report.Params(**RECIPE), Paths("points"))
    rows = re.findall(r'<th scope="row">([^<]+)</th>', Paths("points").report.read_text())
    assert "items" in rows
    assert "classes" not in rows


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that writes a recipe's results and its report, and returns that."""
    monkeypatch.chdir(tmp_path)

    def make(kind: str) -> str:
        write_recipe(kind, kind)
        recipes = dict.fromkeys([*KINDS, "later"], copy.deepcopy(RECIPE))
        write_json(tmp_path / "params.yaml", {"recipes": recipes})
        report.run(report.Params(**RECIPE), Paths(kind))
        return Paths(kind).report.read_text(encoding="utf-8")

    return make


class Elements(HTMLParser):
    """Lists elements with their attributes, and the text outside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_says_all_and_asks_for_nothing(page: Callable[..., str], kind: str) -> None:
    text = page(kind)
    elements = Elements(text)
    assert not {tag for tag, _ in elements.found} & {"script", "iframe", "object", "base", "form"}
    policy = next(a["content"] for _, a in elements.found if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    asked = [a[k] for tag, a in elements.found for k in ("src", "href", "xlink:href") if k in a]
    assert {link.split(":")[0] for link in asked if not link.startswith(("#", "../"))} == {"data"}
    assert "url(http" not in text
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in elements.found:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    headings = re.findall(r"<h2[^>]*>([^<]+)<", text)
    expected = ["Diagnosis", "Learning rates", "Training", "Right and wrong"]
    if kind in ("label", "labels"):
        expected.append("When an answer is taken")
    assert headings == [*expected, "Data", "Parameters", "Data version, and how to reproduce"]
    for said in (f"dvc repro report@{kind}", "held-out", "chosen 2.00e-03", "momentum"):
        assert said in text
    if kind != "ratings":
        assert PACKED_MD5 in text
        assert text.count("data:image/jpeg") == 3


def test_what_data_says_is_no_markup(page: Callable[..., str]) -> None:
    text = page("label")
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text
    assert html.escape(RECIPE["split"]["label"]["pattern"]) in text
    rows = re.findall(r'<th scope="row">([^<]+)</th>', text)
    assert {"007", "None", html.escape(HOSTILE)} <= set(rows)


def test_a_page_is_the_same_each_time(page: Callable[..., str]) -> None:
    assert page("label") == page("label")


def test_only_what_is_there_is_shown(page: Callable[..., str], tmp_path: Path) -> None:
    page("points")
    for file in tmp_path.glob("results/points/*/pictures/*"):
        file.unlink()
    report.run(report.Params(**RECIPE), Paths("points"))
    text = Paths("points").report.read_text()
    assert "data:image/jpeg" not in text
    assert "The largest losses" in text  # the table


def test_data_is_told_by_the_md5_of_dvc(page: Callable[..., str]) -> None:
    page("label")
    found = report.data_version(Paths("label"))
    assert found["data/label/packed"] == PACKED_MD5
    assert list(found) == ["data/label/items.parquet", "data/label/packed"]


def test_the_index_links_what_there_is(
    page: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in KINDS:
        page(kind)
    by_reports = (tmp_path / "results" / "index.html").read_bytes()
    assert results.main() == 0
    assert (tmp_path / "results" / "index.html").read_bytes() == by_reports
    index = Path(capsys.readouterr().out.splitlines()[-1].rpartition(" ")[2])
    assert index == tmp_path / "results" / "index.html"
    elements = Elements(index.read_text())
    links = [a["href"] for tag, a in elements.found if tag == "a"]
    assert links == [f"{kind}/report/index.html" for kind in KINDS]
    assert all((index.parent / str(link)).is_file() for link in links)
    assert "no report yet: dvc repro report@later" in elements.text
    for kind, sentence in zip(KINDS, SENTENCES, strict=True):
        assert sentence in elements.text, kind
