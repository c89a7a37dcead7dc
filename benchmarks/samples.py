"""Sample recipes of params.yaml, changed, and run stage by stage in a scratch folder."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.real_archives import ROOT, STAGES, python, read

SOURCE = Path("models", "source_sample")


def sample_recipes() -> dict[str, dict[str, Any]]:
    """Read all recipes of params.yaml."""
    content = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    recipes: dict[str, dict[str, Any]] = content["recipes"]
    return recipes


@contextmanager
def scratch_with_source(project: Path = ROOT) -> Iterator[Path]:
    """Yield a scratch folder with the source's model in it, as `project` has trained it."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / SOURCE).mkdir(parents=True)
        for file in ("model.safetensors", "model.json"):
            shutil.copy(project / SOURCE / file, scratch / SOURCE / file)
        yield scratch


def write_params(folder: Path, recipe: str, values: dict[str, Any]) -> None:
    """Write a params.yaml of one recipe."""
    with (folder / "params.yaml").open("w") as file:
        YAML().dump({"recipes": {recipe: values}}, file)


def run_sample(scratch: Path, recipe: str, values: dict[str, Any]) -> dict[str, float]:
    """Run a recipe from archive to evaluation; return its final metrics."""
    write_params(scratch, recipe, values)
    for stage in STAGES:
        python(scratch, "-m", "stages", stage, recipe)
    return read(scratch / "results" / recipe / "evaluate" / "metrics.json")
