"""How long stages took: beside the outputs, never one of them."""

from pathlib import Path

from stages.paths import Paths
from thaw.files import write_json


def write_timing(stage: str, recipe: str, seconds: float, rates: dict[str, float]) -> None:
    """Note a stage's duration and rates with the key of what it was given.

    Args:
        stage: the stage's name.
        recipe: the recipe's name.
        seconds: wall time.
        rates: such as images_per_second.
    """
    path = timing_path(stage, recipe)
    write_json(path, {"seconds": round(seconds, 3)} | rates)


def timing_path(stage: str, recipe: str) -> Path:
    """Return the ignored file that holds a stage's timing."""
    return Paths(recipe).result(stage, "timing.json")
