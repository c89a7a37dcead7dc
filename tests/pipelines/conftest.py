"""A project that has been trained once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project, quick_recipe


@pytest.fixture(scope="module")
def trained(new_project: Callable[[], Project], shapes_archive: Path) -> Project:
    """A project whose one recipe was trained and recorded by plain `dvc repro`, and committed."""
    project = new_project()
    project.write_recipes({"quick": quick_recipe(shapes_archive)})
    project.run("dvc", "repro")
    project.commit("Train")
    return project
