"""Find each image's label: in its name, its folder, or a CSV."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from thaw.errors import UserError
from thaw.params.base import did_you_mean, some_of
from thaw.params.split import OWN_COLUMNS, CsvLabel, FolderLabel, LabelRule, RegexLabel


def find_items(rule: LabelRule, listed: Sequence[str], raw: Path) -> pd.DataFrame:
    """Return the images to be labelled: those a CSV lists, else all.

    Args:
        rule: the recipe's ``split.label``.
        listed: the images there are, relative to ``data.folder``, sorted.
        raw: the unpacked archive.

    Returns:
        A table with a column ``path``, sorted; for a CSV also what `read_csv_items` adds.
    """
    if isinstance(rule, CsvLabel):
        return read_csv_items(rule, raw, listed)
    return pd.DataFrame({"path": list(listed)}, dtype="str")


def label_items(items: pd.DataFrame, rule: LabelRule) -> pd.DataFrame:
    """Add the column ``label`` to the items that lack it.

    Raises:
        UserError: images from which the rule takes no label.
    """
    paths = items["path"].tolist()
    match rule:
        case RegexLabel():
            return items.assign(label=labels_by_pattern(paths, rule.pattern))
        case FolderLabel():
            return items.assign(label=labels_by_folder(paths))
        case CsvLabel():
            return items


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


def read_csv_items(rule: CsvLabel, raw: Path, listed: Sequence[str]) -> pd.DataFrame:
    """Read the images that a CSV lists, with their labels.

    Args:
        rule: which file and columns.
        raw: the unpacked archive.
        listed: the images there are, relative to ``data.folder``.

    Returns:
        Columns ``path``, ``label`` and the CSV's other columns as text, sorted by path. One
        called like a column of Thaw's own gets ``csv_`` before its name.

    Raises:
        UserError: no such file or column, a row without a label or without an image, an image
            in several rows.
    """
    rows = _read_rows(raw / rule.file, rule.delimiter)
    for key, column in (("path", rule.path), ("column", rule.column)):
        if column not in rows:
            raise UserError(
                f"split.label.{key}: {rule.file} has no column '{column}'; "
                f"{did_you_mean(column, rows.columns)}"
            )
    names = [f"{rule.prefix}{name}{rule.suffix}" for name in rows.pop(rule.path)]
    labels = rows.pop(rule.column)
    rows = rows.rename(columns={name: f"csv_{name}" for name in OWN_COLUMNS})
    rows.insert(0, "path", [str(PurePosixPath(name)) for name in names])
    rows.insert(1, "label", labels)
    _check_rows(rows, rule, listed)
    return rows.sort_values("path", ignore_index=True)


def _read_rows(file: Path, delimiter: str) -> pd.DataFrame:
    # Not pandas' reader: it guesses types ("NA", "01") and mends rows of the wrong length.
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            header = next(reader, [])
            rows = []
            for row in reader:
                if row and len(row) != len(header):
                    raise UserError(
                        f"split.label.file: {file}, line {reader.line_num}: {len(row)} columns "
                        f"where the header has {len(header)}. Correct the line or "
                        "split.label.delimiter."
                    )
                rows += [row] if row else []
    except FileNotFoundError:
        near = sorted(p.name for p in file.parent.glob("*") if p.is_file())
        remedy = did_you_mean(file.name, near)
        raise UserError(f"split.label.file: {file} does not exist; {remedy}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"split.label.file: {file} is not a CSV in UTF-8: {error}. Save it as one."
        ) from None
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise UserError(
            f"split.label.file: {file} has several columns called {some_of(twice)}. Rename them."
        )
    return pd.DataFrame(rows, columns=pd.Index(header, dtype=str), dtype=str)


def _check_rows(rows: pd.DataFrame, rule: CsvLabel, listed: Sequence[str]) -> None:
    there = set(listed)
    paths = rows["path"].tolist()
    problems = []
    if missing := [path for path in paths if path not in there]:
        problems.append(
            f"{_rows(missing)} without an image below data.folder: {some_of(missing)}."
            f"{_near_miss(missing[0], listed)} Correct the names, split.label.prefix or "
            "split.label.suffix."
        )
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        problems.append(
            f"{_plural(len(twice), 'image')} in several rows: {some_of(twice)}. Leave one row."
        )
    if empty := rows.loc[rows["label"].str.strip() == "", "path"].tolist():
        problems.append(
            f"{_rows(empty)} without a label in '{rule.column}': {some_of(empty)}. Fill it in."
        )
    if problems:
        raise UserError("\n".join(f"split.label.file: {rule.file}: {text}" for text in problems))


def _rows(paths: list[str]) -> str:
    return _plural(len(paths), "row")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _near_miss(name: str, listed: Sequence[str]) -> str:
    """Name an image that a missing one may mean: with a folder before it or an ending after it."""
    last = PurePosixPath(name).name
    near = next((path for path in listed if PurePosixPath(path).name.startswith(last)), None)
    return f" There is '{near}'." if near else ""


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


def vocabulary(labels: Sequence[str], classes: list[str] | None) -> list[str]:
    """Return the class names in the order of the targets.

    Args:
        labels: a label for each item.
        classes: what the recipe lists, or None for the labels found, sorted.

    Raises:
        UserError: a label that is not listed, a listed class without an item, a single class.
    """
    counts = Counter(labels)
    names = sorted(counts) if classes is None else classes
    problems = []
    if unlisted := [label for label in sorted(counts) if label not in names]:
        problems.append(
            f"split.classes does not list {some_of(counted(unlisted, counts))}. "
            "Add them, or remove these images."
        )
    if unused := [name for name in names if name not in counts]:
        problems.append(
            f"split.classes lists {some_of(unused)}, but no image has this label; "
            f"{did_you_mean(unused[0], sorted(counts))}"
        )
    if len(counts) == 1:
        problems.append(
            f"split.label gives all {len(labels)} images the label '{labels[0]}': there is "
            "nothing to learn. Correct the rule."
        )
    if problems:
        raise UserError("\n".join(problems))
    return names


def counted(names: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Put behind each name how many items it has."""
    return [f"{name} ({_plural(counts[name], 'item')})" for name in names]
