"""The sample recipes as they are in params.yaml, through the flow, and changed by `dvc repro`."""

import json
from collections.abc import Callable

import pytest
from flows import FLOW
from project import Project
from ruamel.yaml import YAML

from benchmarks.broken_samples import BREAKAGES, errors

pytestmark = pytest.mark.slow

# The largest error, or the smallest precision: what docs/results.md reported first, on one kind of
# CPU, give or take three standard errors. Chance has error rates of 0.94 (of 16), 0.92 (of 12),
# 0.5, 0.67 and 0.75 (of crops), precisions of 0.23 and 0.2, 19 pixels, and stars off by 1.01.
WORST = {
    "source_sample": ("error_rate", 0.32),
    "pets_sample": ("error_rate", 0.46),
    "dogscats_sample": ("error_rate", 0.32),
    "bears_sample": ("error_rate", 0.36),
    "pascal_sample": ("mean_average_precision", 0.46),
    "bears_several_sample": ("mean_average_precision", 0.35),
    "biwi_sample": ("mean_pixels", 12.0),
    "bands_sample": ("error_rate", 0.20),
    "movielens_sample": ("rmse", 0.62),
}
# How much larger the error is from random weights, at least, with one seed. The means over three
# seeds, 0.26, 0.10 and 0.12, are in docs/results.md; 36 bears tell no more than which is worse.
MARGINS = {"pets_sample": 0.12, "dogscats_sample": 0.03, "bears_sample": 0.01}


@pytest.fixture(scope="module")
def project(
    new_project: Callable[[], Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project in which all samples were run."""
    project = new_project()
    project.run(*FLOW, PREFECT_HOME=str(tmp_path_factory.mktemp("prefect")), PREFECT_API_URL="")
    return project


@pytest.fixture(scope="module")
def metrics(project: Project) -> dict[str, dict[str, float]]:
    """Final metrics of the samples, and as `R random` of those that began from random weights."""
    found = {recipe: final_metrics(project, recipe) for recipe in WORST}
    yaml = YAML()
    params = yaml.load(project.folder / "params.yaml")
    for recipe in MARGINS:
        params["images"][recipe]["weights"] = {"source": "none", "after": "stages/weights.py"}
    yaml.dump(params, project.folder / "params.yaml")
    project.run("dvc", "repro", *(f"evaluate@{recipe}" for recipe in MARGINS))
    return found | {f"{recipe} random": final_metrics(project, recipe) for recipe in MARGINS}


def final_metrics(project: Project, recipe: str) -> dict[str, float]:
    """Read a recipe's final metrics."""
    file = project.folder / "results" / recipe / "evaluate" / "metrics.json"
    return json.loads(file.read_text())


@pytest.mark.parametrize("recipe", WORST)
def test_a_sample_is_clearly_better_than_chance(
    metrics: dict[str, dict[str, float]], recipe: str
) -> None:
    name, worst = WORST[recipe]
    value = metrics[recipe][f"valid/{name}"]
    assert value >= worst if "precision" in name else value <= worst


@pytest.mark.parametrize("recipe", MARGINS)
def test_random_weights_are_worse(metrics: dict[str, dict[str, float]], recipe: str) -> None:
    error = {name: metrics[name]["valid/error_rate"] for name in (recipe, f"{recipe} random")}
    assert error[f"{recipe} random"] - error[recipe] >= MARGINS[recipe]


def test_a_mistake_shows(project: Project) -> None:
    """Swapped labels, a broken augmentation, an unlearned head: none stays within the bound."""
    name, seed = "pets_sample", 42
    found = errors(project.folder, name, seed)
    assert set(found) == {"as it is", *BREAKAGES}
    within = {broken for broken, error in found.items() if error <= WORST[name][1]}
    assert within == {"as it is"}, found
