"""Fits of images made to go wrong, and what `evaluate` says of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from project import Project, tiny_recipe

pytestmark = pytest.mark.slow

# Every image as it is, so that it can be learned by heart.
AS_IT_IS = {
    "image_side": 32, "min_scale": 1.0, "flip": False, "rotate": 0.0, "zoom": 1.0, "warp": 0.0,
    "lighting": 0.0, "views": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(shapes_archive: Any) -> dict[str, Any]:
    """Of a head on the features of a random body: an epoch takes hundredths of a second."""
    return tiny_recipe(shapes_archive) | {
        "model": {"arch": "resnet18", "train_bn": False, "hidden": [16], "dropout": 0.0},
        "lr_frozen": {"steps": 0},
        "lr_unfrozen": {"steps": 0},
        "fit_unfrozen": {"epochs": 0, "lr": 1e-3},
    }


@pytest.fixture(scope="module")
def prepared(new_project: Callable[[], Project], recipe: dict[str, Any]) -> Project:
    project = new_project()
    project.write_recipes({"shapes": recipe})
    for stage in ("download", "untar", "weights", "split", "pack", "lr_frozen"):
        project.stage(stage, "shapes")
    return project


@pytest.mark.parametrize(
    ("plan", "changes", "verdict", "parameter", "tried"),
    [
        ({"epochs": 2, "lr": 10.0}, {}, "rate too high", "fit_frozen.lr", 1.0),
        ({"epochs": 8, "lr": 3.0}, {}, "rate too high", "fit_frozen.lr", 0.3),
        ({"epochs": 4, "lr": 1e-6}, {}, "rate too low", "fit_frozen.lr", 1e-5),
        ({"epochs": 1, "lr": 1e-3}, {}, "too few epochs", "fit_frozen.epochs", 4),
        (
            {"epochs": 40, "lr": 0.1, "weight_decay": 0.0}, {"augment": AS_IT_IS},
            "too many epochs", "fit_frozen.epochs", None,
        ),
    ],
    ids=["high", "tossed", "low", "few", "many"],
)  # fmt: skip
def test_a_fit_of_images_that_went_wrong_is_diagnosed(
    prepared: Project,
    recipe: dict[str, Any],
    plan: dict[str, Any],
    changes: dict[str, Any],
    verdict: str,
    parameter: str,
    tried: float | None,
) -> None:
    prepared.write_recipes({"shapes": recipe | changes | {"fit_frozen": plan | {"batch_size": 8}}})
    for stage in ("fit_frozen", "lr_unfrozen", "fit_unfrozen"):
        prepared.stage(stage, "shapes")
    said = prepared.stage("evaluate", "shapes").stdout
    file = prepared.folder / "results/shapes/evaluate/diagnosis.json"
    (found,) = json.loads(file.read_text()).values()
    assert found["verdict"] == verdict, found
    assert found["parameter"] == f"recipes.shapes.{parameter}"
    assert found["try"] < plan["epochs"] if tried is None else found["try"] == tried
    assert f"try {found['parameter']}: {found['try']}" in said
    history = (prepared.folder / "results/shapes/fit_frozen/history.csv").read_text().splitlines()
    first, last = (float(history[row].split(",")[1]) for row in (1, -1))
    assert f"{last:.3f}" in found["why"] or f"{last:.4g}" in found["why"]
    assert (verdict == "too many epochs") <= (last < first)
