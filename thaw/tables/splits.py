"""Decide which items are held out: by chance, column, folder, group or fold."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, some_of
from thaw.params.split import (
    ColumnSplit,
    FolderSplit,
    FoldsSplit,
    GroupSplit,
    RandomSplit,
    SplitRule,
    TimeSplit,
)
from thaw.tables.csv_items import LINE
from thaw.tables.labels import counted
from thaw.tables.truth import truth_of

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

# On each side: a batch norm needs two items, and so does a threshold that is chosen on one half.
FEWEST = 2


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
        case TimeSplit():
            return time_split(column_of(items, rule.column), rule.valid, rule.column)
        case ColumnSplit():
            values = column_of(items, rule.column)
            return _true(values) if rule.valid is None else _chosen(values, rule.valid, "value")
        case FolderSplit():
            return np.array([first_folder(path) == rule.valid for path in items["path"]], bool)
        case GroupSplit():
            groups = groups_of(items, rule.column, rule.same)
            return _chosen(groups, united(rule.valid, rule.same), "group")
        case FoldsSplit():
            return np.equal(_folds(items, rule, seed), rule.fold)


def _folds(items: pd.DataFrame, rule: FoldsSplit, seed: int) -> Ints:
    match rule.of:
        case "random":
            return random_folds(len(items), rule.folds, seed)
        case "stratified":
            return stratified_folds(np.array(items["label"], dtype=np.str_), rule.folds, seed)
        case "group":
            return group_folds(groups_of(items, rule.column or "", rule.same), rule.folds, seed)


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


def time_split(times: NDArray[np.str_], share: float, column: str) -> Mask:
    """Hold out the latest ``int(share * count)`` items; of equal times the last in the table.

    Args:
        times: of the items, as text.
        share: of the items.
        column: the times' name, for messages.

    Raises:
        UserError: a time that is no number.
    """
    numbers = pd.to_numeric(pd.Series(times), errors="coerce").to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        odd = times[~np.isfinite(numbers)]
        raise UserError(
            f"split.by.column: {len(odd)} of {len(times)} items have no number as '{column}': "
            f"'{odd[0]}' first. Correct them, or name another column."
        )
    order = np.argsort(numbers, kind="stable")
    valid = np.zeros(len(times), bool)
    valid[order[len(times) - int(share * len(times)) :]] = True
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
    own = ("path", "label", "target", LINE)
    names = [name.removeprefix("csv_") for name in items.columns if name not in own]
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
    if odd := [value for value in there if truth_of(value) is None]:
        raise UserError(
            f"split.by.column: neither true nor false: {some_of(odd)}. List the values that mark "
            "a held-out image in split.by.valid."
        )
    return np.isin(values, [value for value in there if truth_of(value)])


def groups_of(
    items: pd.DataFrame, column: str, same: Sequence[Sequence[str]] = ()
) -> NDArray[np.str_]:
    """Return each item's group.

    Args:
        items: with the column.
        column: its name.
        same: lists of groups that are one; it goes by the first of their names.

    Raises:
        UserError: no such column, or items without a group: they might belong to any; or a
            group in `same` that no item has.
    """
    groups = column_of(items, column)
    if odd := items.loc[groups == "", "path"].tolist():
        raise UserError(
            f"split.by.column: {len(odd)} of {len(items)} items have no '{column}': "
            f"{some_of(odd)}. Fill it in or remove them."
        )
    there = sorted(set(groups.tolist()))
    if absent := [name for names in same for name in names if name not in there]:
        raise UserError(
            f"split.by.same: no item has the group {some_of(absent)}; "
            f"{did_you_mean(absent[0], there)}"
        )
    return np.array(united(groups.tolist(), same), dtype=np.str_)


def add_group(items: pd.DataFrame, rule: SplitRule) -> pd.DataFrame:
    """Add the column ``group`` where several groups of a column are one (`same`)."""
    if not isinstance(rule, GroupSplit | FoldsSplit) or not rule.same or "group" in items:
        return items
    return items.assign(group=groups_of(items, rule.column or "", rule.same))


def united(groups: Sequence[str], same: Sequence[Sequence[str]]) -> list[str]:
    """Call groups that are one by the first of their names."""
    name_of = {name: names[0] for names in same for name in names}
    return [name_of.get(group, group) for group in groups]


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


def check_split(labels: Sequence[Sequence[str]], valid: Mask, classes: Sequence[str]) -> None:
    """Refuse a split that leaves nothing to train on, to hold out, or of some class to learn.

    Args:
        labels: of each item; not read if there are no classes.
        valid: bool [items], true for the held-out ones.
        classes: the vocabulary; empty for points and ratings.

    Raises:
        UserError: with the names and numbers.
    """
    for side, chosen in (("train on", ~valid), ("hold out", valid)):
        if (count := int(chosen.sum())) < FEWEST:
            raise UserError(
                f"split.by leaves {count} of {len(valid)} items to {side}; {FEWEST} are needed at "
                "least. Change the rule."
            )
    if not classes:
        return
    counts, trained = count_labels(labels), count_labels(labels, ~valid)
    if lacking := [name for name in classes if name not in trained]:
        raise UserError(
            f"split.by holds out every item of {len(lacking)} of {len(classes)} classes: "
            f"{some_of(counted(lacking, counts))}. Hold out fewer, stratify, or take these classes "
            "out of the data."
        )


def count_labels(labels: Sequence[Sequence[str]], chosen: Mask | None = None) -> Counter[str]:
    """Count each label among the chosen items, or all."""
    kept = range(len(labels)) if chosen is None else np.flatnonzero(chosen).tolist()
    return Counter(name for i in kept for name in labels[i])


def split_metrics(
    labels: Sequence[Sequence[str]], valid: Mask, classes: Sequence[str]
) -> dict[str, int]:
    """Count the items of each side, those without a label, and those of the extreme classes."""
    metrics = {"items": len(labels), "classes": len(classes)}
    for side, chosen in (("train", ~valid), ("valid", valid)):
        metrics[f"{side}/items"] = int(chosen.sum())
        if classes:
            counts = count_labels(labels, chosen)
            metrics[f"{side}/smallest_class"] = min(counts[name] for name in classes)
            metrics[f"{side}/largest_class"] = max(counts[name] for name in classes)
            if any(len(those) != 1 for those in labels):
                unlabelled = [not labels[i] for i in np.flatnonzero(chosen).tolist()]
                metrics[f"{side}/unlabelled"] = sum(unlabelled)
    return metrics
