"""Several labels and points through `python -m stages`, on tiny data, from archive to metrics."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from project import Project
from sklearn.metrics import average_precision_score, multilabel_confusion_matrix
from tiny_data import COUNT, archive, heads, points_csv, points_recipe, several_recipe, things

from thaw.evaluation import sigmoid

pytestmark = pytest.mark.slow

STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold", "evaluate",
    "interpret", "report",
)  # fmt: skip


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    files = {"several": things(), "points": heads() | {"heads/points.csv": points_csv()}}
    made = {
        name: archive(tmp_path_factory.mktemp(name), content) for name, content in files.items()
    }
    return {
        "several": several_recipe(made["several"]),
        "points": points_recipe(made["points"]),
    }


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project], recipes: dict[str, dict[str, Any]]) -> Project:
    """Both recipes, all stages run."""
    project = new_project()
    project.write_recipes(recipes)
    for recipe in recipes:
        for stage in STAGES:
            project.stage(stage, recipe)
    return project


def read_json(project: Project, path: str) -> Any:
    return json.loads((project.folder / path).read_text())


def changed(recipe: dict[str, Any], section: str, **values: Any) -> dict[str, Any]:
    result = copy.deepcopy(recipe)
    result[section] |= values
    return result


def refused(project: Project, stage: str, recipe: dict[str, Any]) -> str:
    project.write_recipes({"odd": recipe})
    for earlier in ("download", "untar"):
        project.stage(earlier, "odd")
    done = project.stage(stage, "odd", ok=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.folder / "data/odd/items.parquet").exists()
    return done.stderr


def test_an_empty_cell_is_an_item_without_labels(project: Project) -> None:
    items = pd.read_parquet(project.folder / "data/several/items.parquet")
    assert read_json(project, "data/several/vocab.json") == ["bar", "disc"]
    assert len(items) == COUNT
    targets = dict(zip(items["path"], items["target"].map(list), strict=True))
    assert [targets[f"{n:02}.png"] for n in range(4)] == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert items["label"].tolist()[:4] == ["", "bar", "disc", "bar disc"]
    assert items.query("split == 'valid'")["path"].tolist() == [
        f"{n:02}.png" for n in range(0, COUNT, 3)
    ]


def test_several_labels_are_measured_as_such(project: Project) -> None:
    history = pd.read_csv(project.folder / "results/several/fit_frozen/history.csv")
    assert list(history)[3:-1] == ["accuracy_multi"]
    predictions = pd.read_parquet(project.folder / "results/several/predictions.parquet")
    logits, targets = (np.stack(predictions[name].to_list()) for name in ("logits", "target"))
    metrics = read_json(project, "results/several/evaluate/metrics.json")
    expected = average_precision_score(targets, sigmoid(logits))
    assert metrics["valid/mean_average_precision"] == pytest.approx(expected)
    assert metrics["valid/accuracy_multi"] == ((logits > 0) == (targets > 0.5)).mean()
    fitted = read_json(project, "results/several/fit_unfrozen/metrics.json")
    assert fitted["valid/accuracy_multi"] == pytest.approx(metrics["valid/accuracy_multi"])


def test_the_threshold_is_written_with_its_curve_and_picture(project: Project) -> None:
    chosen = read_json(project, "models/several/threshold.json")
    assert list(chosen.values()) == [pytest.approx(chosen["bar"])] * 2
    curve = pd.read_csv(project.folder / "results/several/threshold/curve.csv")
    assert {0.05, 0.95} <= set(curve["threshold"])
    assert {"accuracy_multi", "f1_macro", "f1_micro", "precision", "recall"} <= set(curve)
    metrics = read_json(project, "results/several/threshold/metrics.json")
    assert {"chosen_on/f1_micro", "other_half/f1_micro", "valid/f1_micro"} <= set(metrics)
    with Image.open(project.folder / "results/several/threshold/curve.png") as image:
        assert image.format == "PNG"


def test_a_point_is_learned_in_pixels(project: Project) -> None:
    items = pd.read_parquet(project.folder / "data/points/items.parquet")
    first = items.set_index("path")["target"]["02/frame_00001_rgb.png"]
    assert first.tolist() == [40 * -8.0 / 40 + 24, 40 * -5.0 / 40 + 20]
    assert set(items.query("split == 'valid'")["folder"]) == {"02"}
    predictions = pd.read_parquet(project.folder / "results/points/predictions.parquet")
    outputs, targets = (np.stack(predictions[n].to_list()) for n in ("prediction", "target"))
    distances = np.linalg.norm(outputs - targets, axis=1)
    metrics = read_json(project, "results/points/evaluate/metrics.json")
    assert metrics["valid/mean_pixels"] == pytest.approx(distances.mean())
    assert metrics["valid/p90_pixels"] == pytest.approx(np.quantile(distances, 0.9))
    groups = pd.read_csv(project.folder / "results/points/evaluate/per_class.csv")
    assert groups["group"].tolist() == ["folder 02"]
    assert read_json(project, "models/points/threshold.json") == {}


def test_predictions_say_what_was_seen_of_an_image(project: Project) -> None:
    """In half sides of it, they are as far off as the fit measured."""
    predictions = pd.read_parquet(project.folder / "results/points/predictions.parquet")
    outputs, targets, frames = (
        np.stack(predictions[name].to_list()) for name in ("prediction", "target", "frame")
    )
    # 48 x 40 pixels, packed as 43 x 36; a window of 40 : 32 has its width, and 34.4 of its height.
    cut = 40 * (36 - 34.4) / 2 / 36
    np.testing.assert_allclose(frames, [[0, cut, 48, 40 - cut]] * len(frames), atol=1e-4)
    away = (outputs - targets) / (frames[:, 2:] - frames[:, :2]) * 2
    history = pd.read_csv(project.folder / "results/points/fit_unfrozen/history.csv")
    measured = history["mean_distance"].iloc[-1]
    assert np.linalg.norm(away, axis=1).mean() == pytest.approx(measured, rel=1e-5)
    found = read_json(project, "results/points/evaluate/diagnosis.json")
    assert not any("is not known here" in entry["why"] for entry in found.values())


def test_several_labels_are_interpreted_above_the_chosen_threshold(project: Project) -> None:
    predictions = pd.read_parquet(project.folder / "results/several/predictions.parquet")
    logits, targets = (np.stack(predictions[name].to_list()) for name in ("logits", "target"))
    chosen = read_json(project, "models/several/threshold.json")
    given = sigmoid(logits) > np.array([chosen["bar"], chosen["disc"]])
    folder = project.folder / "results/several/interpret"
    cells = pd.read_csv(folder / "tables/confusion.csv").set_index("class")
    expected = multilabel_confusion_matrix(targets > 0.5, given)
    for name, counts in zip(("bar", "disc"), expected, strict=True):
        assert cells.loc[name].tolist() == counts.ravel().tolist()
    outcomes = pd.read_csv(folder / "outcomes.csv")
    assert outcomes["outcome"].tolist() == ["found", "missed", "false"] * 2
    assert outcomes["count"].tolist() == [
        int(cell) for table in expected for cell in (table[1, 1], table[1, 0], table[0, 1])
    ]
    assert {file.name for file in (folder / "pictures").iterdir()} == {
        "confusion.png", "most_correct.jpg", "most_incorrect.jpg", "most_uncertain.jpg",
        "random_right.jpg", "random_wrong.jpg", "top_losses.jpg",
    }  # fmt: skip
    losses = pd.read_csv(folder / "tables/top_losses.csv", keep_default_na=False)
    assert losses["loss"].is_monotonic_decreasing
    assert set(losses["actual"]) <= {"", "bar", "disc", "bar disc"}


def test_points_are_interpreted_in_pixels(project: Project) -> None:
    folder = project.folder / "results/points/interpret"
    predictions = pd.read_parquet(project.folder / "results/points/predictions.parquet")
    outputs, targets = (np.stack(predictions[n].to_list()) for n in ("prediction", "target"))
    distances = np.linalg.norm(outputs - targets, axis=1)
    losses = pd.read_csv(folder / "tables/top_losses.csv")
    assert losses["error_pixels"].tolist() == pytest.approx(sorted(distances)[::-1], abs=1e-5)
    errors = pd.read_csv(folder / "losses.csv")
    assert errors["loss"].tolist() == pytest.approx(distances.tolist(), abs=1e-5)
    assert set(errors["group"]) == {"folder 02"}
    assert (folder / "outcomes.csv").read_text() == "class,outcome,count\n"
    groups = pd.read_csv(folder / "tables/groups.csv").set_index("group")
    assert groups.index.tolist() == ["all", "folder 02"]
    assert groups.loc["all", "mean_pixels"] == pytest.approx(distances.mean())
    assert {file.name for file in (folder / "pictures").iterdir()} == {
        "best.jpg", "errors.png", "random.jpg", "top_losses.jpg",
    }  # fmt: skip


def test_points_that_leave_the_frame_are_counted(project: Project) -> None:
    # Crops down to 40 % of the area lose some of the discs near the rim.
    metrics = read_json(project, "results/points/fit_frozen/metrics.json")
    assert 0 < metrics["train/points_out_of_frame"] < 3 * metrics["train/items"]
    assert metrics["valid/points_out_of_frame"] == 0


def test_points_of_a_csv_are_those_of_the_poses(
    project: Project, recipes: dict[str, dict[str, Any]]
) -> None:
    label = {
        "rule": "points", "file": "heads/points.csv", "path": "file",
        "columns": ["x", "y", "x2", "y2"],
    }  # fmt: skip
    project.write_recipes({"two": changed(recipes["points"], "split", label=label)})
    for stage in ("download", "untar", "weights", "split", "pack", "lr_frozen", "fit_frozen"):
        project.stage(stage, "two")
    tables = [
        pd.read_parquet(project.folder / f"data/{name}/items.parquet")["target"].to_list()
        for name in ("points", "two")
    ]
    one, two = (np.stack(targets) for targets in tables)
    np.testing.assert_allclose(two[:, :2], one)
    np.testing.assert_allclose(two[:, 2:], one + np.array([4, 0]))


def test_metrics_of_another_task_are_refused(
    project: Project, recipes: dict[str, dict[str, Any]]
) -> None:
    recipe = changed(recipes["several"], "fit_frozen", metrics=["error_rate"])
    project.write_recipes({"several": recipe})
    done = project.stage("fit_frozen", "several", ok=False)
    assert done.returncode == 1
    assert "fit_frozen.metrics: error_rate cannot be computed" in done.stderr


@pytest.mark.parametrize(
    ("name", "section", "change", "message"),
    [
        ("several", "split", {"classes": ["bar", "disk"]}, "does not list disc"),
        ("several", "data", {"folder": "things"}, "There is 'train/00.png'"),
        (
            "several",
            "split",
            {"by": {"rule": "column", "column": "valid"}},
            "there is no column 'valid'; did you mean 'is_valid'?",
        ),
        (
            "points",
            "split",
            {"by": {"rule": "group", "column": "folder", "valid": ["13"]}},
            "split.by.valid: no item has the group 13",
        ),
        (
            "points",
            "split",
            {"label": {"rule": "pose", "image": "rgb.png", "calibration": "depth.cal"}},
            "01/depth.cal",
        ),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    project: Project,
    recipes: dict[str, dict[str, Any]],
    name: str,
    section: str,
    change: dict[str, Any],
    message: str,
) -> None:
    assert message in refused(project, "split", changed(recipes[name], section, **change))
