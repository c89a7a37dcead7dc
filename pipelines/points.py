"""The points of a run's curves, read from its files."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from thaw.core.files import read_json

INDEX = {"history.csv": "epoch", "batches.csv": "step"}


class Point(NamedTuple):
    """One value of one metric: at an epoch, a batch, a step of an LR test, or at the end."""

    key: str
    step: int
    value: float


def points(files: Path) -> list[Point]:
    """Read all points of a run.

    Keys are ``<stage>/<column>`` for epochs and LR tests, ``<stage>/batch/<column>`` for batches,
    ``<stage>/<name>`` for a stage's metrics, ``seconds/<stage>`` for timings; the final metrics
    keep their names (``valid/error_rate``).

    Args:
        files: a folder that holds ``results/<recipe>/<stage>/…``.
    """
    found: list[Point] = []
    for file in sorted(files.glob("results/*/*/*")):
        stage = file.parent.name
        if file.name in ("history.csv", "curve.csv"):
            found += _rows(file, stage)
        elif file.name == "batches.csv":
            found += _rows(file, f"{stage}/batch")
        elif file.name == "metrics.json":
            prefix = "" if stage == "evaluate" else f"{stage}/"
            found += [Point(f"{prefix}{name}", 0, float(v)) for name, v in _numbers(file)]
        elif file.name == "timing.json":
            found += [Point(f"seconds/{stage}", 0, v) for n, v in _numbers(file) if n == "seconds"]
    return found


def _rows(file: Path, prefix: str) -> Iterator[Point]:
    """Read a table: a point for each number, the step from its own column or the row's number."""
    index = INDEX.get(file.name)
    with file.open(newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            step = int(row.pop(index)) if index else number
            for column, text in row.items():
                if text:  # an empty cell is a value that could not be computed
                    yield Point(f"{prefix}/{column}", step, float(text))


def _numbers(file: Path) -> Iterator[tuple[str, float]]:
    for name, value in read_json(file).items():
        if isinstance(value, int | float):
            yield name, float(value)
