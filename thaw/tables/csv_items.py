"""Read a CSV that lists images, with what it says about each."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, plural, some_of
from thaw.params.split import OWN_COLUMNS, CsvLabel, CsvPoints

# The line of the CSV on which a row ends, for messages.
LINE = "csv line"


def read_csv_items(rule: CsvLabel | CsvPoints, raw: Path, listed: Sequence[str]) -> pd.DataFrame:
    """Read the images that a CSV lists.

    Args:
        rule: which file and columns.
        raw: the unpacked archive.
        listed: the images there are, relative to ``data.folder``.

    Returns:
        Columns ``path``, `LINE`, and the CSV's as text (`label_column` says under which names),
        sorted by path. Several rows of an image stay in the order of the file.

    Raises:
        UserError: no such file or column, a row without an image, an image in several rows of a
            table of labels.
    """
    rows = _read_rows(raw / rule.file, rule.delimiter)
    for key, column in _columns_of(rule):
        if column not in rows:
            raise UserError(
                f"split.label.{key}: {rule.file} has no column '{column}'; "
                f"{did_you_mean(column, [name for name in rows if name != LINE])}"
            )
    names = [f"{rule.prefix}{name}{rule.suffix}" for name in rows.pop(rule.path)]
    wanted = {column for _, column in _columns_of(rule)} | set(OWN_COLUMNS)
    rows = rows.rename(columns={name: label_column(name) for name in wanted})
    rows.insert(0, "path", [str(PurePosixPath(name)) for name in names])
    _check_rows(rows, rule, listed)
    return rows.sort_values("path", ignore_index=True, kind="stable")


def label_column(name: str) -> str:
    """Return the name under which a column of the CSV that a rule uses is kept."""
    return f"csv_{name}"


def used_columns(rule: object) -> list[str]:
    """Return the columns of the items that a rule's targets were made of; none without a CSV."""
    if not isinstance(rule, CsvLabel | CsvPoints):
        return []
    return [label_column(name) for key, name in _columns_of(rule) if key != "path"]


def lines_of(rows: pd.DataFrame) -> str:
    """Name rows for a message: how many there are, on which lines, of which images."""
    named = (f"line {row[LINE]} ({row['path']})" for _, row in rows.iterrows())
    return f"{plural(len(rows), 'row')}, {some_of(named, 5)}"


def _columns_of(rule: CsvLabel | CsvPoints) -> list[tuple[str, str]]:
    """Return the columns that a rule uses, each with the parameter that names it."""
    if isinstance(rule, CsvPoints):
        return [("path", rule.path), *(("columns", name) for name in rule.columns)]
    names = rule.column if isinstance(rule.column, list) else [rule.column]
    return [("path", rule.path), *(("column", name) for name in names)]


def _read_rows(file: Path, delimiter: str) -> pd.DataFrame:
    # Not pandas' reader: it guesses types ("NA", "01") and mends rows of the wrong length.
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            header = next(reader, [])
            rows = []
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"split.label.file: {file}, line {reader.line_num}: {len(row)} columns "
                        f"where the header has {len(header)}. Correct the line or "
                        "split.label.delimiter."
                    )
                rows.append([*row, str(reader.line_num)])
    except FileNotFoundError:
        near = sorted(p.name for p in file.parent.glob("*") if p.is_file())
        remedy = did_you_mean(file.name, near)
        raise UserError(f"split.label.file: {file} does not exist; {remedy}") from None
    except IsADirectoryError:
        raise UserError(f"split.label.file: {file} is a folder. Name the CSV in it.") from None
    except UnicodeDecodeError:
        line = first_odd_line(file)
        raise UserError(
            f"split.label.file: {file}, line {line}: not UTF-8. Save the file as UTF-8."
        ) from None
    except csv.Error as error:
        raise UserError(
            f"split.label.file: {file}, line {reader.line_num}: {error}. Correct the line: a "
            "quotation may not be closed."
        ) from None
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise UserError(
            f"split.label.file: {file} has several columns called {some_of(twice)}. Rename them."
        )
    return pd.DataFrame(rows, columns=pd.Index([*header, LINE], dtype=str), dtype=str)


def first_odd_line(file: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 0


def _check_rows(rows: pd.DataFrame, rule: CsvLabel | CsvPoints, listed: Sequence[str]) -> None:
    problems = []
    empty = [path in ("", ".") for path in rows["path"]]
    if any(empty):
        problems.append(f"{lines_of(rows[empty])}: no image is named. Fill it in.")
    missing = rows[~rows["path"].isin({*listed, "", "."})]
    if len(missing):
        problems.append(
            f"{lines_of(missing)}: no image below data.folder."
            f"{_near_miss(missing['path'].iloc[0], listed)} Correct the names, "
            "split.label.prefix or split.label.suffix."
        )
    again = rows[rows["path"].duplicated()]
    if len(again) and isinstance(rule, CsvLabel):
        problems.append(f"{lines_of(again)}: the image has a row already. Leave one.")
    if problems:
        raise UserError("\n".join(f"split.label.file: {rule.file}: {text}" for text in problems))


def _near_miss(name: str, listed: Sequence[str]) -> str:
    """Name an image that a missing one may mean: with a folder before it or an ending after it."""
    last = PurePosixPath(name).name
    near = next((path for path in listed if PurePosixPath(path).name.startswith(last)), None)
    return f" There is '{near}'." if near else ""
