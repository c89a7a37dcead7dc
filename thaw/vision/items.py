"""The items of each split, as rows of the packed file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.core.errors import UserError
from thaw.core.files import read_parquet
from thaw.pack import Packed
from thaw.params.base import some_of
from thaw.vision.task import Task, task_of

BAD = "bad.csv of the stage pack"


@dataclass(frozen=True)
class Items:
    """The items of one split that could be decoded.

    Attributes:
        paths: POSIX paths below the recipe's image folder, sorted.
        rows: int64 [n], positions in the packed file.
        targets: int64 [n], positions in the vocabulary; or float32 [n, classes], 1 where an item
            has the label; or float32 [n, 2 * points], x and y of each point in [-1, 1] from edge
            to edge of the image.
        table: the items' rows of the items table.
    """

    paths: list[str]
    rows: np.ndarray
    targets: np.ndarray
    table: pd.DataFrame


def read_items(items: Path, packed: Packed, vocab: list[str]) -> tuple[Task, dict[str, Items]]:
    """Read the items table, split by split, without the images that could not be decoded.

    Dropped items are counted and printed.

    Args:
        items: the items table.
        packed: the decoded images.
        vocab: class names.

    Returns:
        What is to be answered, and the items of `train` and `valid`.

    Raises:
        UserError: an item was never packed, or dropping left a split or a training class empty.
    """
    table = read_parquet(items)
    row_of = {path: row for row, path in enumerate(packed.paths)}
    lost = sorted(set(table["path"]) - row_of.keys() - set(packed.bad))
    if lost:
        raise UserError(
            f"{items}: {len(lost)} items are not in the packed file, {lost[0]} first. "
            "Both must list the same folder: look at data.folder, then run dvc repro again."
        )
    kept = table[table["path"].isin(row_of.keys())]
    if dropped := len(table) - len(kept):
        print(f"{dropped} of {len(table)} items dropped: they could not be decoded ({BAD}).")
    task = task_of(table, vocab)
    splits = {}
    for split in ("train", "valid"):
        part = kept[kept["split"] == split].sort_values("path")
        rows = np.array([row_of[path] for path in part["path"]], dtype=np.int64)
        targets = _targets(part, task, packed, rows)
        splits[split] = Items(part["path"].tolist(), rows, targets, part)
    _check_left(splits, vocab)
    return task, splits


def _targets(items: pd.DataFrame, task: Task, packed: Packed, rows: np.ndarray) -> np.ndarray:
    if task == "label" or not len(items):
        classes: np.ndarray = items["target"].to_numpy(np.int64, copy=True)
        return classes
    targets = np.stack(items["target"].to_list())
    if task == "points":
        points = packed.from_pixels(rows, targets)
        outside = (np.abs(points) > 1).any(1)
        if outside.any():
            print(
                f"{outside.sum()} of {len(points)} images have points outside of them: "
                f"{some_of(items['path'][outside], 3)}."
            )
        return points
    return np.asarray(targets, np.float32)


def _check_left(splits: dict[str, Items], vocab: list[str]) -> None:
    for split, items in splits.items():
        if not len(items.rows):
            raise UserError(f"no {split} item could be decoded: see {BAD}.")
    if not vocab:
        return
    targets = splits["train"].targets
    several = targets.ndim == 2
    counts = targets.sum(0) if several else np.bincount(targets, minlength=len(vocab))
    missing = [name for name, count in zip(vocab, counts, strict=True) if count == 0]
    if missing:
        raise UserError(
            f"no training image of {', '.join(missing[:10])} could be decoded: see {BAD}."
        )
