"""The pipeline through the real `dvc`, in repositories of its own."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dvc.lock import Lock
from project import Project, tiny_recipe

from pipelines.graph import Pipeline
from stages.index import INDEX

pytestmark = pytest.mark.slow

STAGES = [
    "download", "untar", "weights", "split", "pack", "look",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold", "evaluate",
    "interpret", "report", "record",
]  # fmt: skip


def output_hashes(project: Project) -> dict[str, str]:
    """SHA-256 of every output, by path; timings are none, nor is the index of reports."""
    return {
        str(file.relative_to(project.folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for top in ("data", "models", "results")
        for file in sorted((project.folder / top).rglob("*"))
        if file.is_file() and file.name != "timing.json" and file != project.folder / INDEX
    }


def stages_run(output: str) -> list[str]:
    """The stages that a `dvc repro` executed."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def reproduced(new_project: Callable[[], Project], shapes_archive: Path) -> Project:
    """A project whose tiny recipe has been run and committed."""
    project = new_project()
    project.write_recipes({"tiny": tiny_recipe(shapes_archive)})
    done = project.run("dvc", "repro")
    assert sorted(stages_run(done.stdout)) == sorted(
        ["code", *[f"{stage}@tiny" for stage in STAGES]]
    )
    project.commit("Run tiny")
    return project


def test_results_are_better_than_chance(reproduced: Project) -> None:
    file = reproduced.folder / "results/tiny/evaluate/metrics.json"
    metrics = json.loads(file.read_text())
    assert metrics["valid/items"] == 12
    assert metrics["valid/error_rate"] < 0.67


def test_the_lock_file_is_not_read_while_dvc_writes_it(reproduced: Project) -> None:
    with ThreadPoolExecutor() as pool:
        with Lock(str(reproduced.folder / ".dvc/tmp/lock")):  # as DVC has it while it writes
            opened = pool.submit(Pipeline, reproduced.folder)
            with pytest.raises(TimeoutError):
                opened.result(5)
        assert len(opened.result().graph) == 1 + len(STAGES)


def test_a_second_repro_runs_nothing(reproduced: Project) -> None:
    assert stages_run(reproduced.run("dvc", "repro").stdout) == []
    assert "up to date" in reproduced.run("dvc", "status").stdout
    assert not reproduced.run("git", "status", "--porcelain").stdout


def test_two_runs_leave_the_same_bytes(
    reproduced: Project, new_project: Callable[[], Project], shapes_archive: Path
) -> None:
    other = new_project()
    other.write_recipes({"tiny": tiny_recipe(shapes_archive)})
    other.run("dvc", "repro")
    assert output_hashes(other) == output_hashes(reproduced)
    assert (other.folder / "dvc.lock").read_text() == (reproduced.folder / "dvc.lock").read_text()


def test_the_graph_is_the_recipe(reproduced: Project) -> None:
    edges = reproduced.run("dvc", "dag", "--dot").stdout
    for before, after in [
        ("download", "untar"), ("untar", "split"), ("untar", "pack"), ("weights", "lr_frozen"),
        ("lr_frozen", "fit_frozen"), ("fit_frozen", "lr_unfrozen"),
        ("lr_unfrozen", "fit_unfrozen"), ("fit_unfrozen", "evaluate"),
        ("fit_unfrozen", "threshold"), ("split", "look"), ("pack", "look"),
        ("threshold", "interpret"), ("pack", "interpret"), ("look", "interpret"),
        ("interpret", "report"), ("evaluate", "report"), ("report", "record"),
    ]:  # fmt: skip
        assert f'"{before}@tiny" -> "{after}@tiny"' in edges
    assert '"split@tiny" -> "pack@tiny"' not in edges


def test_plain_repro_leaves_an_index_of_reports(reproduced: Project) -> None:
    index = (reproduced.folder / INDEX).read_text()
    assert 'href="tiny/report/index.html"' in index
    assert str(INDEX) not in (reproduced.folder / "dvc.lock").read_text()


def test_metrics_show_the_result(reproduced: Project) -> None:
    shown = json.loads(reproduced.run("dvc", "metrics", "show", "--json").stdout)
    files = shown[""]["data"]
    written = json.loads((reproduced.folder / "results/tiny/evaluate/metrics.json").read_text())
    assert files["results/tiny/evaluate/metrics.json"]["data"] == written
    assert "results/tiny/fit_frozen/metrics.json" in files


def test_plots_show_curves_rates_and_confusion(reproduced: Project) -> None:
    shown = json.loads(reproduced.run("dvc", "plots", "show", "--json").stdout)
    assert not shown.get("errors")
    plots = {name: entries[0] for name, entries in shown["data"].items()}
    fields = {
        "fit_frozen/history.csv": ["train_loss", "valid_loss", "error_rate"],
        "fit_unfrozen/history.csv": ["train_loss", "valid_loss", "error_rate"],
        "fit_frozen/batches.csv": ["lr", "momentum", "loss"],
        "fit_unfrozen/batches.csv": ["lr", "momentum", "loss"],
        "lr_frozen/curve.csv": ["smoothed", "loss"],
        "lr_unfrozen/curve.csv": ["smoothed", "loss"],
        "evaluate/confusion.csv": ["actual", "predicted"],
        "threshold/curve.csv": ["threshold", "coverage", "error_rate"],
        "evaluate/per_class.csv": ["precision", "recall", "f1"],
        "look/class_counts.csv": ["split", "items"],
        "interpret/outcomes.csv": ["found", "missed", "false"],
        "interpret/losses.csv": ["group", "loss", "wrong"],
    }
    for name, wanted in fields.items():
        plot = next(entry for key, entry in plots.items() if name in key)
        content = plot["content"]
        text = content if isinstance(content, str) else json.dumps(content)
        assert all(f'"{field}"' in text for field in wanted), name
    reproduced.run("dvc", "plots", "show", "-o", "dvc_plots")
    page = (reproduced.folder / "dvc_plots" / "index.html").read_text()
    for title in ("confusion", "by class, or group", "items by class and part", "losses"):
        assert f"tiny: {title}" in page
    assert "tiny: found, missed and false by class" in page
    shutil.rmtree(reproduced.folder / "dvc_plots")


def test_the_history_has_a_row_for_each_epoch(reproduced: Project) -> None:
    with (reproduced.folder / "results/tiny/fit_frozen/history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    with (reproduced.folder / "results/tiny/fit_frozen/batches.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 5  # 36 items in batches of 8


def test_an_experiment_changes_what_depends_on_it_alone(reproduced: Project) -> None:
    done = reproduced.run(
        "dvc", "exp", "run", "-n", "longer", "-S", "recipes.tiny.fit_unfrozen.epochs=1"
    )
    assert sorted(stages_run(done.stdout)) == [
        "evaluate@tiny", "fit_unfrozen@tiny", "interpret@tiny", "record@tiny", "report@tiny",
        "threshold@tiny",
    ]  # fmt: skip
    shown = reproduced.run("dvc", "exp", "show", "--csv").stdout
    assert "longer" in shown
    reproduced.run("git", "checkout", "-q", ".")
    restored = reproduced.run("dvc", "repro")  # returning to old parameters trains nothing
    assert stages_run(restored.stdout) == ["record@tiny"]
    assert not reproduced.run("git", "status", "--porcelain").stdout


def test_a_clone_with_pulled_outputs_only_unpacks(
    reproduced: Project, tmp_path: Path, shapes_archive: Path
) -> None:
    reproduced.run("dvc", "remote", "add", "-q", "-f", "-d", "local", str(tmp_path / "remote"))
    reproduced.commit("Add a remote")
    reproduced.run("dvc", "push", "-q")
    reproduced.run("git", "clone", "-q", str(reproduced.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull", "-q")
    moved = shapes_archive.rename(shapes_archive.with_name("gone.tgz"))  # no source to fetch from
    try:
        assert sorted(stages_run(clone.run("dvc", "repro").stdout)) == ["record@tiny", "untar@tiny"]
    finally:
        moved.rename(shapes_archive)
    assert output_hashes(clone) == output_hashes(reproduced)


def test_an_edit_runs_what_imports_it_and_nothing_else(reproduced: Project) -> None:
    threshold = reproduced.folder / "thaw/threshold.py"
    before = threshold.read_text()
    threshold.write_text(f"{before}\n# Edited.\n")
    # By itself the stage would keep its results under the code that was noted.
    alone = ("dvc", "repro", "--single-item", "--force", "threshold@tiny")
    refused = reproduced.run(*alone, ok=False)
    assert "thaw/threshold.py changed since the code was noted" in refused.stderr
    assert "Traceback" not in refused.stderr
    edited = stages_run(reproduced.run("dvc", "repro").stdout)
    assert edited == ["code", "threshold@tiny", "report@tiny", "record@tiny"]
    threshold.write_text(before)
    reproduced.run("dvc", "repro")
    assert not reproduced.run("git", "status", "--porcelain").stdout


def test_a_reserved_parameter_name_is_refused(reproduced: Project, shapes_archive: Path) -> None:
    recipe = tiny_recipe(shapes_archive)
    recipe["data"]["size"] = 128
    reproduced.write_recipes({"fresh": recipe})
    done = reproduced.run("dvc", "repro", "split@fresh", ok=False)
    checked = reproduced.run("python", "-m", "stages", "check", ok=False)
    reproduced.run("git", "checkout", "-q", ".")
    assert done.returncode != 0
    assert checked.returncode == 1
    for output in (done.stderr, checked.stderr):
        assert "recipes.fresh.data.size: a parameter must not be called 'size'" in output
        assert "Traceback" not in output
