"""Decide which items are held out: by chance, column, folder, group or fold."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.errors import UserError
from thaw.labels import counted
from thaw.params.base import did_you_mean, some_of
from thaw.params.split import (
    ColumnSplit,
    FolderSplit,
    FoldsSplit,
    GroupSplit,
    RandomSplit,
    SplitRule,
)

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

TRUE = ("true", "yes", "t", "y")
FALSE = ("false", "no", "f", "n", "")


def held_out(items: pd.DataFrame, rule: SplitRule, seed: int) -> Mask:
    """Decide which items are held out.

    Args:
        items: columns ``path`` and ``label`` and any that the rule names, sorted by path.
        rule: the recipe's ``split.by``.
        seed: the recipe's seed; with the same names it gives the same answer everywhere.

    Returns:
        bool [items], true for the held-out ones.

    Raises:
        UserError: a column, value, group or fold that does not exist.
    """
    match rule:
        case RandomSplit(stratify=True):
            return stratified_split(np.array(items["label"], dtype=np.str_), rule.valid, seed)
        case RandomSplit():
            return random_split(len(items), rule.valid, seed)
        case ColumnSplit():
            values = column_of(items, rule.column)
            return _true(values) if rule.valid is None else _chosen(values, rule.valid, "value")
        case FolderSplit():
            return np.array([first_folder(path) == rule.valid for path in items["path"]], bool)
        case GroupSplit():
            return _chosen(groups_of(items, rule.column), rule.valid, "group")
        case FoldsSplit():
            return np.equal(_folds(items, rule, seed), rule.fold)


def _folds(items: pd.DataFrame, rule: FoldsSplit, seed: int) -> Ints:
    match rule.of:
        case "random":
            return random_folds(len(items), rule.folds, seed)
        case "stratified":
            return stratified_folds(np.array(items["label"], dtype=np.str_), rule.folds, seed)
        case "group":
            return group_folds(groups_of(items, rule.column or ""), rule.folds, seed)


def shuffled(count: int, seed: int, purpose: str) -> Ints:
    """Return the positions 0 to count - 1 in an order that (seed, purpose) alone decides.

    NumPy promises the bits of PCG64 for all its versions, but not the order that
    ``Generator.permutation`` makes of them; so the bits are drawn and sorted here.
    """
    bits = np.random.PCG64([seed, *purpose.encode()]).random_raw(count)
    return np.argsort(bits, kind="stable").astype(np.int64)


def random_split(count: int, share: float, seed: int) -> Mask:
    """Hold out ``int(share * count)`` of the items."""
    valid = np.zeros(count, bool)
    valid[shuffled(count, seed, "split")[: int(share * count)]] = True
    return valid


def stratified_split(labels: NDArray[np.str_], share: float, seed: int) -> Mask:
    """Hold out ``int(share * count)`` items, of each class its share of them.

    What is left after rounding down goes one by one to the classes with the largest remainders,
    in alphabetical order among equals; classes that would give their last item come last.
    """
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    total = int(share * len(labels))
    # In whole numbers: a float's rounding must not decide between equal remainders.
    quotas, remainders = np.divmod(total * sizes, len(labels))
    would_empty = quotas + 1 >= sizes
    first = np.lexsort((np.arange(len(sizes)), -remainders, would_empty))
    quotas[first[: total - quotas.sum()]] += 1
    order = shuffled(len(labels), seed, "split")
    valid = np.zeros(len(labels), bool)
    for code, quota in enumerate(quotas):
        valid[order[codes[order] == code][:quota]] = True
    return valid


def random_folds(count: int, folds: int, seed: int) -> Ints:
    """Deal the items out to folds whose sizes differ by at most one; int64 [count]."""
    return _dealt(shuffled(count, seed, "folds"), folds)


def stratified_folds(labels: NDArray[np.str_], folds: int, seed: int) -> Ints:
    """Deal out class after class: each class's parts, and the folds, differ by at most one."""
    order = shuffled(len(labels), seed, "folds")
    return _dealt(order[np.argsort(labels[order], kind="stable")], folds)


def group_folds(groups: NDArray[np.str_], folds: int, seed: int) -> Ints:
    """Give whole groups, largest first, each to the fold with the fewest items; int64 [items].

    The seed decides between groups of the same number.

    Raises:
        UserError: fewer groups than folds.
    """
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise UserError(
            f"split.by.folds: {folds} folds of {len(names)} groups: {some_of(names)}. "
            f"Ask for {len(names)} folds at most."
        )
    order = shuffled(len(names), seed, "folds")
    fold_of_group = np.empty(len(names), np.int64)
    filled = np.zeros(folds, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of_group[group] = filled.argmin()
        filled[fold_of_group[group]] += sizes[group]
    return fold_of_group[codes]


def _dealt(order: Ints, folds: int) -> Ints:
    """Deal positions out like cards, in their order."""
    fold = np.empty(len(order), np.int64)
    fold[order] = np.arange(len(order)) % folds
    return fold


def column_of(items: pd.DataFrame, column: str) -> NDArray[np.str_]:
    """Return a column's values as text.

    A CSV's column that is called like one of Thaw's own is found by its name in the CSV.

    Raises:
        UserError: there is no such column.
    """
    for name in (f"csv_{column}", column):
        if name in items:
            return np.array(items[name], dtype=np.str_)
    names = [name.removeprefix("csv_") for name in items.columns if name != "path"]
    raise UserError(
        f"split.by.column: there is no column '{column}'; {did_you_mean(column, names)} "
        "More come from a CSV (split.label) or from named groups (split.columns)."
    )


def _chosen(values: NDArray[np.str_], wanted: list[str], noun: str) -> Mask:
    """Find the items that have one of the wanted values, each of which some item must have."""
    there = sorted(set(values.tolist()))
    if absent := [value for value in wanted if value not in there]:
        raise UserError(
            f"split.by.valid: no item has the {noun} {some_of(absent)}; "
            f"{did_you_mean(absent[0], there)}"
        )
    return np.isin(values, wanted)


def _true(values: NDArray[np.str_]) -> Mask:
    """Find the values that mean true."""
    there = sorted(set(values.tolist()))
    if odd := [value for value in there if _truth(value) is None]:
        raise UserError(
            f"split.by.column: neither true nor false: {some_of(odd)}. List the values that mark "
            "a held-out image in split.by.valid."
        )
    return np.isin(values, [value for value in there if _truth(value)])


def _truth(text: str) -> bool | None:
    """Read a word or a number as true or false; None if it is neither."""
    word = text.strip().lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    try:
        number = float(word)
    except ValueError:
        return None
    return number != 0 if math.isfinite(number) else None


def groups_of(items: pd.DataFrame, column: str) -> NDArray[np.str_]:
    """Return each item's group.

    Raises:
        UserError: no such column, or items without a group: they might belong to any.
    """
    groups = column_of(items, column)
    if odd := items.loc[groups == "", "path"].tolist():
        raise UserError(
            f"split.by.column: {len(odd)} of {len(items)} items have no '{column}': "
            f"{some_of(odd)}. Fill it in or remove them."
        )
    return groups


def first_folder(path: str) -> str:
    """Return the first folder of a relative path, "" if there is none."""
    first, slash, _ = path.partition("/")
    return first if slash else ""


def keep_folders(items: pd.DataFrame, rule: FolderSplit) -> tuple[pd.DataFrame, dict[str, int]]:
    """Keep the items whose first folder is the training or the held-out one.

    Returns:
        The kept items, and how many were left out of each other folder, by its name.

    Raises:
        UserError: one of the two folders has no image.
    """
    first = [first_folder(path) for path in items["path"]]
    counts = Counter(first)
    for key, name in (("train", rule.train), ("valid", rule.valid)):
        if name not in counts:
            raise UserError(
                f"split.by.{key}: no image lies in a folder '{name}' directly below data.folder; "
                f"{did_you_mean(name, sorted(counts))}"
            )
    kept = items[[name in (rule.train, rule.valid) for name in first]].reset_index(drop=True)
    left = {k or "no folder": n for k, n in counts.items() if k not in (rule.train, rule.valid)}
    return kept, dict(sorted(left.items()))


def check_split(labels: Sequence[str], valid: Mask, classes: Sequence[str]) -> None:
    """Refuse a split that leaves nothing to train on, to hold out, or of some class to learn.

    Raises:
        UserError: with the names and numbers.
    """
    held = int(valid.sum())
    if held in (0, len(valid)):
        side = "train on" if held else "hold out"
        raise UserError(f"split.by leaves none of {len(valid)} items to {side}. Change the rule.")
    counts = Counter(labels)
    trained = Counter(label for label, out in zip(labels, valid, strict=True) if not out)
    if lacking := [name for name in classes if name not in trained]:
        raise UserError(
            f"split.by holds out every item of {len(lacking)} of {len(classes)} classes: "
            f"{some_of(counted(lacking, counts))}. Hold out fewer, stratify, or take these classes "
            "out of the data."
        )


def split_metrics(items: pd.DataFrame, classes: Sequence[str]) -> dict[str, int]:
    """Count the items of each side, and those of its smallest and largest class."""
    metrics = {"items": len(items), "classes": len(classes)}
    for side in ("train", "valid"):
        labels = items.loc[items["split"] == side, "label"]
        counts = Counter(labels.tolist())
        metrics[f"{side}/items"] = len(labels)
        metrics[f"{side}/smallest_class"] = min(counts[name] for name in classes)
        metrics[f"{side}/largest_class"] = max(counts[name] for name in classes)
    return metrics
