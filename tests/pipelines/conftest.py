"""A project that has been trained once, and a Prefect server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from project import Project, quick_recipe
from servers import prefect_server


@pytest.fixture(scope="module")
def trained(new_project: Callable[[], Project], shapes_archive: Path) -> Project:
    """A project whose one recipe was trained and recorded by plain `dvc repro`, and committed."""
    project = new_project()
    project.write_recipes({"quick": quick_recipe(shapes_archive)})
    project.run("dvc", "repro")
    project.commit("Train")
    return project


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a running Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as settings:
        yield settings


@pytest.fixture
def recipe(shapes_archive: Path) -> dict:
    return quick_recipe(shapes_archive)
