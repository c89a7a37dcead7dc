"""The stage `interpret` for one label through `python -m stages`: tables, pictures, refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from project import Project, quick_recipe
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    multilabel_confusion_matrix,
)
from test_dvc import output_hashes

from thaw.evaluation import softmax

pytestmark = pytest.mark.slow

STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold", "evaluate", "interpret",
)  # fmt: skip
TABLES = ("confusion", "most_confused", "per_class", "top_losses")
SHEETS = (
    "most_correct", "most_incorrect", "most_uncertain", "random_right", "random_wrong",
    "top_losses",
)  # fmt: skip


@pytest.fixture(scope="module")
def recipe(shapes_archive: Path) -> dict:
    return quick_recipe(shapes_archive) | {"interpret": {"at_least": 1, "pictures": 6}}


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project], recipe: dict) -> Project:
    """All stages run, and `interpret` as the last."""
    project = new_project()
    project.write_recipes({"shapes": recipe})
    for stage in STAGES:
        project.stage(stage, "shapes")
    return project


def folder(project: Project) -> Path:
    return project.folder / "results/shapes/interpret"


def table(project: Project, name: str) -> pd.DataFrame:
    return pd.read_csv(folder(project) / f"tables/{name}.csv")


def test_the_folders_hold_what_is_promised_and_nothing_else(project: Project) -> None:
    names = {str(path.relative_to(folder(project))) for path in folder(project).rglob("*.*")}
    assert names == {
        "timing.json",
        "losses.csv",
        "outcomes.csv",
        "pictures/confusion.png",
        *(f"tables/{name}.csv" for name in TABLES),
        *(f"pictures/{name}.jpg" for name in SHEETS),
    }


def test_tables_agree_with_the_predictions(project: Project) -> None:
    predictions = pd.read_parquet(project.folder / "results/shapes/predictions.parquet")
    vocab = json.loads((project.folder / "data/shapes/vocab.json").read_text())
    logits, targets = np.stack(predictions["logits"].to_list()), predictions["target"].to_numpy()
    counts = confusion_matrix(targets, logits.argmax(1), labels=range(len(vocab)))
    cells = table(project, "confusion")
    assert cells["count"].tolist() == counts.ravel().tolist()
    assert table(project, "most_confused")["count"].sum() == counts.sum() - np.trace(counts)
    plotted = pd.read_csv(folder(project) / "outcomes.csv").set_index(["outcome", "class"])["count"]
    each = multilabel_confusion_matrix(targets, logits.argmax(1), labels=range(len(vocab)))
    for outcome, cells in (("found", each[:, 1, 1]), ("missed", each[:, 1, 0])):
        assert plotted[outcome].tolist() == cells.tolist()
    assert plotted["false"].tolist() == each[:, 0, 1].tolist()
    by_group = pd.read_csv(folder(project) / "losses.csv")
    right = predictions["path"][logits.argmax(1) == targets]
    assert set(by_group["path"][by_group["group"] == "right"]) == set(right)
    assert len(by_group) == len(predictions)
    worst = table(project, "top_losses")
    assert len(worst) == len(predictions) == 12
    losses = -np.log(softmax(logits)[np.arange(12), targets])
    assert worst["loss"].tolist() == pytest.approx(sorted(losses, reverse=True), abs=1e-6)
    assert worst["path"][0] == predictions["path"][losses.argmax()]
    average = table(project, "per_class")["average_precision"]
    assert average[0] == pytest.approx(average_precision_score(targets == 0, softmax(logits)[:, 0]))


def test_sheets_show_the_real_pictures(project: Project) -> None:
    """The worst item's picture, decoded anew, stands first on the sheet of losses."""
    worst = table(project, "top_losses")["path"][0]
    with Image.open(project.folder / "data/shapes/raw/shapes" / worst) as image:
        small = image.convert("RGB").resize((160, 135), Image.Resampling.LANCZOS)
    with Image.open(folder(project) / "pictures/top_losses.jpg") as sheet:
        # The page's margin is 16 wide; the square of 160 begins below the title.
        found = np.asarray(sheet.convert("RGB")).astype(float)
    wanted = np.asarray(small).astype(float)
    tops = range(40, 140)
    off = [np.abs(found[top : top + 135, 16:176] - wanted).mean() for top in tops]
    assert min(off) < 12
    assert np.median(off) > 2 * min(off)


def test_a_timing_lies_beside_the_folders_and_counts(project: Project) -> None:
    before = (folder(project) / "timing.json").read_text()
    code = "from stages.timing import timing_is_current as t; print(t('interpret', 'shapes'))"
    assert project.run("python", "-c", code).stdout == "True\n"
    picture = folder(project) / "pictures/top_losses.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(whole + b"x")
    assert project.run("python", "-c", code).stdout == "False\n"
    picture.write_bytes(whole)
    assert (folder(project) / "timing.json").read_text() == before


def test_a_second_run_leaves_the_same_bytes_and_no_old_files(
    project: Project, recipe: dict
) -> None:
    before = output_hashes(project)
    (folder(project) / "pictures/old.jpg").write_bytes(b"old")
    project.stage("interpret", "shapes")
    assert output_hashes(project) == before
    changed = recipe | {"seed": 2}
    project.write_recipes({"shapes": changed})
    project.stage("interpret", "shapes")
    after = output_hashes(project)
    differing = {Path(name).name for name in before if before[name] != after[name]}
    assert differing <= {"random_right.jpg", "random_wrong.jpg"}
    project.write_recipes({"shapes": recipe})
    project.stage("interpret", "shapes")
    assert output_hashes(project) == before


def test_limits_are_kept(project: Project, recipe: dict) -> None:
    before = output_hashes(project)
    project.write_recipes({"shapes": recipe | {"interpret": {"rows": 3, "at_least": 1000}}})
    project.stage("interpret", "shapes")
    assert len(table(project, "top_losses")) == 3
    assert table(project, "most_confused").empty
    project.write_recipes({"shapes": recipe})
    project.stage("interpret", "shapes")
    assert output_hashes(project) == before


def test_images_that_are_not_packed_are_named(project: Project) -> None:
    file = project.folder / "data/shapes/packed/index.parquet"
    whole = file.read_bytes()
    index = pd.read_parquet(file)
    first = pd.read_parquet(project.folder / "results/shapes/predictions.parquet")["path"][0]
    index["path"] = index["path"].replace(first, "gone.png")
    index.to_parquet(file, index=False)
    done = project.stage("interpret", "shapes", ok=False)
    file.write_bytes(whole)
    assert done.returncode == 1
    assert f"1 images that are not in data/shapes/packed: {first}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_of_the_other_kind_is_refused(project: Project) -> None:
    done = project.stage("interpret_ratings", "shapes", ok=False)
    assert done.returncode == 1
    assert "shapes is of images and has no such stage. It has: download" in done.stderr


def test_a_mistake_in_the_section_is_told(project: Project, recipe: dict) -> None:
    project.write_recipes({"shapes": recipe | {"interpret": {"at_leats": 2, "pictures": 0}}})
    done = project.stage("interpret", "shapes", ok=False)
    project.write_recipes({"shapes": recipe})
    assert "recipes.shapes.interpret.at_leats: unknown key; did you mean" in done.stderr
    assert "recipes.shapes.interpret.pictures" in done.stderr
