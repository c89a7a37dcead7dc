"""Pets, dogs-vs-cats, bears and pascal on real archives with real weights, through `dvc repro`."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import SHARED, Project, archives_folder
from real_recipes import SHA256, real_recipe

WEIGHTS = Path(os.environ.get("THAW_WEIGHTS", SHARED / "weights"), "mobilenet_v2-1efb22c2.pth")
ARCHIVES = archives_folder()

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(
        ARCHIVES is None or not all((ARCHIVES / name).exists() for name in SHA256),
        reason="no real archives: set THAW_ARCHIVES to their folder",
    ),
    pytest.mark.skipif(
        not WEIGHTS.exists(), reason="no real weights: set THAW_WEIGHTS to their folder"
    ),
]

# docs/results.md: mean over the folds (pascal: the seeds) give or take three standard errors.
BOUNDS = {"pets": 0.231, "dogscats": 0.044, "bears": 0.106}
COUNTS = {
    "pets": {"train/items": 494, "valid/items": 123, "classes": 37},
    "dogscats": {"train/items": 600, "valid/items": 200, "classes": 2},
    "bears": {"train/items": 384, "valid/items": 96, "classes": 3},
    "pascal": {"train/items": 628, "valid/items": 272, "classes": 20},
}


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project]) -> Project:
    """All recipes, run."""
    assert ARCHIVES is not None
    project = new_project()
    recipes = {name: real_recipe(name, ARCHIVES.resolve(), WEIGHTS.resolve()) for name in COUNTS}
    project.write_recipes(recipes)
    project.run("dvc", "repro")
    return project


def read(project: Project, recipe: str, name: str) -> dict[str, float]:
    """Read a JSON file of a recipe's results."""
    return json.loads((project.folder / "results" / recipe / name).read_text())


@pytest.mark.parametrize("recipe", BOUNDS)
def test_the_error_rate_is_within_its_bound(project: Project, recipe: str) -> None:
    assert read(project, recipe, "evaluate/metrics.json")["valid/error_rate"] <= BOUNDS[recipe]


@pytest.mark.parametrize("recipe", COUNTS)
def test_every_image_is_an_item(project: Project, recipe: str) -> None:
    metrics = read(project, recipe, "split/metrics.json")
    assert COUNTS[recipe].items() <= metrics.items()
    assert read(project, recipe, "pack/metrics.json")["bad"] == 0


def test_several_labels_are_found(project: Project) -> None:
    metrics = read(project, "pascal", "evaluate/metrics.json")
    assert metrics["valid/mean_average_precision"] >= 0.771
    curve = pd.read_csv(project.folder / "results/pascal/threshold/curve.csv")
    lessons = curve["threshold"].round(6).isin(np.linspace(0.05, 0.95, 29).round(6))
    assert lessons.sum() == 29
    assert curve.loc[lessons, "accuracy_multi"].max() >= 0.962
    chosen = read(project, "pascal", "threshold/metrics.json")
    assert chosen["other_half/accuracy_multi"] >= 0.95


def test_predictions_can_be_measured_without_the_model(project: Project) -> None:
    table = pd.read_parquet(project.folder / "results/pets/predictions.parquet")
    answers = table["logits"].map(lambda logits: logits.argmax())
    error = (answers != table["target"]).mean()
    assert error == read(project, "pets", "evaluate/metrics.json")["valid/error_rate"]
    assert all(label in path for path, label in zip(table["path"], table["label"], strict=True))


def test_the_frozen_phase_learned_from_the_body(project: Project) -> None:
    history = pd.read_csv(project.folder / "results/pets/fit_frozen/history.csv")
    assert history["error_rate"].iloc[-1] < 0.3 < history["error_rate"].iloc[0]


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert "Running stage" not in project.run("dvc", "repro").stdout
