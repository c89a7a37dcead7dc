"""The items of each split, as rows of the packed file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.errors import UserError
from thaw.pack import Packed


@dataclass(frozen=True)
class Items:
    """The items of one split that could be decoded.

    Attributes:
        paths: POSIX paths below the recipe's image folder, sorted.
        rows: int64 [n], positions in the packed file.
        targets: int64 [n], positions in the vocabulary.
    """

    paths: list[str]
    rows: np.ndarray
    targets: np.ndarray


def read_items(items: Path, packed: Packed, bad: Path, vocab: list[str]) -> dict[str, Items]:
    """Read the items table, split by split, without the images that could not be decoded.

    Dropped items are counted and printed.

    Args:
        items: the items table.
        packed: the decoded images.
        bad: CSV of the images that could not be decoded.
        vocab: class names.

    Returns:
        `train` and `valid`.

    Raises:
        UserError: an item was never packed, or dropping left a split or a training class empty.
    """
    table = pd.read_parquet(items)
    row_of = {path: row for row, path in enumerate(packed.paths)}
    undecodable = set(pd.read_csv(bad)["path"])
    lost = [p for p in table["path"] if p not in row_of and p not in undecodable]
    if lost:
        raise UserError(
            f"{items}: {len(lost)} items are not in the packed file, {lost[0]} first. "
            "Both must list the same folder: look at data.folder, then run dvc repro again."
        )
    kept = table[table["path"].isin(row_of.keys())]
    if dropped := len(table) - len(kept):
        print(f"{dropped} of {len(table)} items dropped: they could not be decoded (see {bad}).")
    splits = {}
    for split in ("train", "valid"):
        part = kept[kept["split"] == split].sort_values("path")
        rows = np.array([row_of[path] for path in part["path"]], dtype=np.int64)
        splits[split] = Items(
            part["path"].tolist(), rows, part["target"].to_numpy(np.int64, copy=True)
        )
    _check_left(splits, vocab, bad)
    return splits


def _check_left(splits: dict[str, Items], vocab: list[str], bad: Path) -> None:
    for split, items in splits.items():
        if not len(items.rows):
            raise UserError(f"no {split} item could be decoded: see {bad}.")
    counts = np.bincount(splits["train"].targets, minlength=len(vocab))
    missing = [name for name, count in zip(vocab, counts, strict=True) if count == 0]
    if missing:
        raise UserError(
            f"no training image of {', '.join(missing[:10])} could be decoded: see {bad}."
        )
