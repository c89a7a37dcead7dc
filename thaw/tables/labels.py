"""Find each image's label or labels: in its name, its folder, or a CSV."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, plural, some_of
from thaw.params.split import CsvLabel, CsvPoints, FolderLabel, LabelRule, RegexLabel
from thaw.tables.csv_items import label_column, lines_of, read_csv_items
from thaw.tables.truth import truth_of


def find_items(rule: LabelRule, listed: Sequence[str], raw: Path) -> pd.DataFrame:
    """Return the images to be labelled: those a CSV lists, else all.

    Args:
        rule: the recipe's ``split.label``.
        listed: the images there are, relative to ``data.folder``, sorted.
        raw: the unpacked archive.

    Returns:
        A table with a column ``path``, sorted; for a CSV also what `read_csv_items` adds.
    """
    if isinstance(rule, CsvLabel | CsvPoints):
        return read_csv_items(rule, raw, listed)
    return pd.DataFrame({"path": list(listed)}, dtype="str")


def labels_of(items: pd.DataFrame, rule: LabelRule) -> list[str]:
    """Return the one label of each item.

    Raises:
        UserError: images from which the rule takes no label.
    """
    paths = items["path"].tolist()
    match rule:
        case RegexLabel():
            return labels_by_pattern(paths, rule.pattern)
        case CsvLabel(column=str(column)):
            return labels_by_column(items, rule, column)
        case _:
            return labels_by_folder(paths)


def has_several_labels(rule: LabelRule) -> bool:
    """Say whether an image may have several labels, or none."""
    match rule:
        case CsvLabel():
            return rule.separator is not None or bool(rule.class_columns)
        case FolderLabel():
            return rule.none is not None
        case _:
            return False


def several_labels_of(items: pd.DataFrame, rule: LabelRule) -> list[list[str]]:
    """Return all labels of each item, sorted, each once; none is an empty list.

    Raises:
        UserError: a cell that is neither true nor false; images without a folder; nobody is
            in the folder of none.
    """
    match rule:
        case CsvLabel(column=str(column)):
            cells = items[label_column(column)].tolist()
            words = [[word.strip() for word in cell.split(rule.separator)] for cell in cells]
            return [sorted({word for word in those if word}) for those in words]
        case CsvLabel():
            return labels_by_columns(items, rule)
        case FolderLabel():
            labels = labels_of(items, rule)
            if rule.none not in labels:
                raise UserError(
                    f"split.label.none: no image lies in a folder '{rule.none}'; "
                    f"{did_you_mean(str(rule.none), sorted(set(labels)))}"
                )
            return [[] if label == rule.none else [label] for label in labels]
        case _:
            raise TypeError(f"{rule} gives one label")


def labels_by_column(items: pd.DataFrame, rule: CsvLabel, column: str) -> list[str]:
    """Take the text in a CSV's column.

    Raises:
        UserError: empty cells.
    """
    labels: list[str] = items[label_column(column)].tolist()
    empty = items[[not label.strip() for label in labels]]
    if len(empty):
        raise UserError(
            f"split.label.file: {rule.file}: {lines_of(empty)} without a label in '{column}'. "
            "Fill it in; if an empty cell means none of the classes, say what separates several "
            "labels in split.label.separator."
        )
    return labels


def labels_by_columns(items: pd.DataFrame, rule: CsvLabel) -> list[list[str]]:
    """Take the names of the columns that are true.

    Raises:
        UserError: cells that are neither true nor false.
    """
    table = {}
    for column in rule.class_columns:
        truths = [truth_of(cell) for cell in items[label_column(column)]]
        odd = items[[truth is None for truth in truths]]
        if len(odd):
            raise UserError(
                f"split.label.column: {rule.file}: '{column}' is neither true nor false: "
                f"{lines_of(odd)}. Write 1 or 0."
            )
        table[column] = truths
    return [
        sorted(column for column, truths in table.items() if truths[i]) for i in range(len(items))
    ]


def multi_hot(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> NDArray[np.float32]:
    """Return float32 [items, classes]: 1 where an item has the label."""
    number = {name: place for place, name in enumerate(classes)}
    targets = np.zeros((len(labels), len(classes)), np.float32)
    for row, names in enumerate(labels):
        targets[row, [number[name] for name in names]] = 1
    return targets


def labels_by_pattern(paths: Sequence[str], pattern: str) -> list[str]:
    """Search the file names with a regular expression.

    Args:
        paths: relative paths; only their last parts are searched.
        pattern: group 1 is the label, or, if groups are named, the name of the one that matched.

    Raises:
        UserError: names that do not match, or match several named groups.
    """
    expression = re.compile(pattern)
    label_of = _name_of_group if expression.groupindex else _first_group
    labels = [label_of(expression, PurePosixPath(path).name) for path in paths]
    if odd := [path for path, label in zip(paths, labels, strict=True) if not label]:
        named = ", or match several of its groups" if expression.groupindex else ""
        raise UserError(
            f"split.label.pattern: {len(odd)} of {len(paths)} file names do not match "
            f"'{pattern}'{named}: {some_of(odd)}. Correct the pattern or remove the files."
        )
    return labels


def _first_group(expression: re.Pattern[str], name: str) -> str:
    match = expression.search(name)
    return (match[1] or "") if match else ""


def _name_of_group(expression: re.Pattern[str], name: str) -> str:
    match = expression.search(name)
    matched = [k for k, text in match.groupdict().items() if text is not None] if match else []
    return matched[0] if len(matched) == 1 else ""


def labels_by_folder(paths: Sequence[str]) -> list[str]:
    """Take the name of each image's own folder.

    Raises:
        UserError: images that lie in no folder below ``data.folder``.
    """
    labels = folder_names(paths)
    if odd := [path for path, label in zip(paths, labels, strict=True) if not label]:
        raise UserError(
            f"split.label: {len(odd)} of {len(paths)} images lie in no folder that could name "
            f"their class: {some_of(odd)}. Move them into one, or set data.folder one level higher."
        )
    return labels


def folder_names(paths: Sequence[str]) -> list[str]:
    """Return the name of each path's parent folder, "" at the top."""
    return [PurePosixPath(path).parent.name for path in paths]


def add_columns(items: pd.DataFrame, pattern: str | None) -> pd.DataFrame:
    """Add the column ``folder`` and one for each named group of a regular expression.

    Args:
        items: a table with a column ``path``; a column ``folder`` of its own is kept.
        pattern: searched in the whole relative path; a group that took no part gives "".

    Raises:
        UserError: paths that do not match, or a column that is there already.
    """
    paths = items["path"].tolist()
    added = {"folder": folder_names(paths)} if "folder" not in items else {}
    if pattern is not None:
        matches = [re.search(pattern, path) for path in paths]
        if odd := [path for path, match in zip(paths, matches, strict=True) if match is None]:
            raise UserError(
                f"split.columns: {len(odd)} of {len(paths)} paths do not match '{pattern}': "
                f"{some_of(odd)}. Correct the pattern or remove the files."
            )
        for name in re.compile(pattern).groupindex:
            if name in items:
                raise UserError(
                    f"split.columns: the CSV has a column '{name}' already. Rename the group."
                )
            added[name] = [match[name] or "" for match in matches if match]
    return items.assign(**added)


def vocabulary(
    labels: Sequence[str],
    classes: list[str] | None,
    *,
    several: bool = False,
    places: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the class names in the order of the targets.

    Args:
        labels: all labels of all items.
        classes: what the recipe lists, or None for the labels found, sorted.
        several: an item may have several labels or none, so that a single class makes sense.
        places: where each label is found first, for messages.

    Raises:
        UserError: a label that is not listed, a listed class without an item, a single class.
    """
    counts = Counter(labels)
    names = sorted(counts) if classes is None else classes
    problems = []
    if unlisted := [label for label in sorted(counts) if label not in names]:
        problems.append(
            f"split.classes does not list {some_of(counted(unlisted, counts, places or {}))}. "
            "Add them, or remove these images."
        )
    if unused := [name for name in names if name not in counts]:
        problems.append(
            f"split.classes lists {some_of(unused)}, but no image has this label; "
            f"{did_you_mean(unused[0], sorted(counts))}"
        )
    if len(counts) == 1 and not several:
        problems.append(
            f"split.label gives all {len(labels)} images the label '{labels[0]}': there is "
            "nothing to learn. Correct the rule."
        )
    if not counts:
        problems.append("split.label finds no label at all. Correct the rule.")
    if problems:
        raise UserError("\n".join(problems))
    return names


def counted(
    names: Sequence[str],
    counts: Mapping[str, int],
    places: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Put behind each name how many items it has, and where the first is, if that is known."""
    first = {name: f", first: {place}" for name, place in places.items()}
    return [f"{name} ({plural(counts[name], 'item')}{first.get(name, '')})" for name in names]
