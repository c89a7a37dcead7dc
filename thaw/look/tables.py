"""Tables about a recipe's images: what each split has, how large they are, which come twice."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from thaw.images import Pixels
from thaw.pack import Packed
from thaw.vision.items import Items
from thaw.vision.task import Task

NONE, ALL = "(none)", "(all)"
OWN_COLUMNS = ("path", "label", "target", "split")  # of the items table; others are the user's
DUPLICATES = ("path", "split", "duplicate_path", "duplicate_split")


def class_counts(parts: Mapping[str, Items], task: Task, vocab: Sequence[str]) -> pd.DataFrame:
    """Count the items of each class in each split.

    Args:
        parts: the items of each split.
        task: what is to be answered.
        vocab: class names; none for points.

    Returns:
        A column ``class`` and one per split, classes in vocabulary order. Of several labels an
        item counts for each that it has, and ``(none)`` has those without any. Points have no
        classes: ``(all)`` is followed by the groups, such as persons, of every further column of
        the items table.
    """
    if task == "points":
        return _group_counts({split: part.table for split, part in parts.items()})
    columns = {split: _counts(part.targets, len(vocab)) for split, part in parts.items()}
    names = [*vocab, NONE] if task == "labels" else list(vocab)
    return pd.DataFrame({"class": names} | columns)


def by_part(counts: pd.DataFrame) -> pd.DataFrame:
    """Return `class_counts` with a row per class and split: class, split, items."""
    return counts.melt("class", var_name="split", value_name="items")


def _counts(targets: np.ndarray, classes: int) -> np.ndarray:
    if targets.ndim == 1:
        return np.bincount(targets, minlength=classes)
    there = targets > 0.5
    return np.append(there.sum(0), (~there.any(1)).sum())


def _group_counts(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    items = pd.concat(tables.values())
    rows = [{"class": ALL} | {split: len(table) for split, table in tables.items()}]
    for column in items.columns.difference(OWN_COLUMNS, sort=False):
        if not 1 < items[column].nunique() < len(items):
            continue
        counts = {split: table[column].value_counts() for split, table in tables.items()}
        rows += [
            {"class": f"{column} {group}"}
            | {split: counts[split].get(group, 0) for split in tables}
            for group in sorted(items[column].dropna().unique())
        ]
    return pd.DataFrame(rows)


def dimensions(packed: Packed, parts: Mapping[str, Items]) -> pd.DataFrame:
    """Count the images of each size, in pixels of the upright originals.

    Returns:
        width, height, images; the commonest first.
    """
    rows = np.concatenate([part.rows for part in parts.values()])
    sides = pd.DataFrame(
        {"width": packed.source_widths[rows], "height": packed.source_heights[rows]}
    )
    counts = sides.groupby(["width", "height"]).size().rename("images").reset_index()
    return counts.sort_values(["images", "width", "height"], ascending=[False, True, True])


def duplicates(packed: Packed, parts: Mapping[str, Items]) -> pd.DataFrame:
    """Find images that are in more than one split, pixel for pixel as packed.

    A copy under another name, or in another lossless format, is found; one that was scaled or
    compressed anew is not. Every image is read once, and none is kept.

    Returns:
        path, split, duplicate_path, duplicate_split, by path. Of several equal images in a
        split, each is named with the first of the other split.
    """
    equal: dict[bytes, dict[str, list[str]]] = {}
    for split, part in parts.items():
        for path, row in zip(part.paths, part.rows.tolist(), strict=True):
            splits = equal.setdefault(pixel_hash(packed.image(row)), {})
            splits.setdefault(split, []).append(path)
    rows = sorted(pair for splits in equal.values() for pair in _pairs(splits))
    return pd.DataFrame(rows, columns=list(DUPLICATES))


def pixel_hash(pixels: Pixels) -> bytes:
    """Return the SHA-256 of an image's shape and pixels, uint8 [h, w, 3]."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _pairs(splits: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, str, str]]:
    """Pair equal images of the first split with those of the others, naming each at least once."""
    (first, paths), *others = splits.items()
    for other, copies in others:
        yield from ((path, first, copies[0], other) for path in paths)
        yield from ((paths[0], first, copy, other) for copy in copies[1:])
