"""How long stages took: beside the outputs, never one of them.

A timing carries a hash of the parameters and of the results that it belongs to, and counts only
as long as both are still the same.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from stages.common.paths import Paths
from stages.recipe import PARAMS_FILE, read_recipes
from thaw.core.files import file_sha256, read_json, write_json

NAME = "timing.json"
# Stages whose results lie in another one's folder: of two kinds of recipes, each has one of them.
FOLDERS = {"interpret_ratings": "interpret"}


def write_timing(
    stage: str, recipe: str, sections: Iterable[str], seconds: float, rates: dict[str, float]
) -> None:
    """Note a stage's duration.

    Args:
        stage: the stage's name.
        recipe: the recipe's name.
        sections: of the recipe, that the stage reads.
        seconds: wall time.
        rates: such as images_per_second.
    """
    folder = FOLDERS.get(stage, stage)
    path = Paths(recipe).result(folder, NAME)
    read = sorted(sections)
    key = timing_key(folder, recipe, read)
    write_json(path, {"key": key, "sections": read, "seconds": round(seconds, 3)} | rates)


def stage_seconds(recipe: str, root: Path = Path()) -> float:
    """Add up the durations of a recipe's stages, as far as they belong to the present results."""
    total = 0.0
    for path in sorted((root / "results" / recipe).glob(f"*/{NAME}")):
        if timing_is_current(path.parent.name, recipe, root):
            total += read_json(path)["seconds"]
    return total


def timing_is_current(stage: str, recipe: str, root: Path = Path()) -> bool:
    """Say whether the timing in a stage's folder belongs to present parameters and results."""
    timing = read_json(root / Paths(recipe).result(stage, NAME))
    return bool(timing["key"] == timing_key(stage, recipe, timing.get("sections", []), root))


def timing_key(stage: str, recipe: str, sections: Iterable[str], root: Path = Path()) -> str:
    """Hash some sections of a recipe and the other results in a stage's folder."""
    wanted = set(sections)
    values = {k: v for k, v in read_recipes(root / PARAMS_FILE)[recipe].items() if k in wanted}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    folder = root / "results" / recipe / stage
    for file in sorted(folder.rglob("*")):
        if file.name != NAME and file.is_file():
            digest.update(f"{file.relative_to(folder).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()[:32]
