"""The sample recipes as they are in params.yaml, through `dvc repro`."""

import json
from collections.abc import Callable

import pytest
from project import Project
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

# Largest error rates, and how much worse random weights are at least: docs/results.md has the
# measured means. Chance is 0.94 (of 16), 0.92 (of 12), 0.5 and 0.67.
BOUNDS = {"source_sample": 0.40, "pets_sample": 0.50, "dogscats_sample": 0.36, "bears_sample": 0.28}
MARGINS = {"pets_sample": 0.15, "dogscats_sample": 0.08, "bears_sample": 0.10}


@pytest.fixture(scope="module")
def errors(new_project: Callable[[], Project]) -> dict[str, float]:
    """Error rates of the samples, and as `R random` of those that began from random weights."""
    project = new_project()
    project.run("dvc", "repro")
    found = {recipe: error_rate(project, recipe) for recipe in BOUNDS}
    yaml = YAML()
    params = yaml.load(project.folder / "params.yaml")
    for recipe in MARGINS:
        params["recipes"][recipe]["weights"] = {"source": "none", "after": "stages/weights.py"}
    yaml.dump(params, project.folder / "params.yaml")
    project.run("dvc", "repro", *(f"evaluate@{recipe}" for recipe in MARGINS))
    return found | {f"{recipe} random": error_rate(project, recipe) for recipe in MARGINS}


def error_rate(project: Project, recipe: str) -> float:
    """Read a recipe's final error rate."""
    file = project.folder / "results" / recipe / "evaluate" / "metrics.json"
    return json.loads(file.read_text())["valid/error_rate"]


@pytest.mark.parametrize("recipe", BOUNDS)
def test_a_sample_is_clearly_better_than_chance(errors: dict[str, float], recipe: str) -> None:
    assert errors[recipe] <= BOUNDS[recipe]


@pytest.mark.parametrize("recipe", MARGINS)
def test_random_weights_are_worse(errors: dict[str, float], recipe: str) -> None:
    assert errors[f"{recipe} random"] - errors[recipe] >= MARGINS[recipe]
