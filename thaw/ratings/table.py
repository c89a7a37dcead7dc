"""Read a table of ratings, hold some out, and number users and items."""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, plural, some_of
from thaw.params.ratings import READ_COLUMNS, RatingsLabel

Mask = NDArray[np.bool_]

BOM = b"\xef\xbb\xbf"
MOST_SHOWN = 3  # lines in a message
# As Python's objects, which take ten times a table's memory.
ROWS_AT_ONCE, CHARACTERS_AT_ONCE = 100_000, 2**20


def read_ratings(folder: Path, rule: RatingsLabel) -> pd.DataFrame:
    """Read the ratings, and the titles if there are any.

    A byte-order mark, Windows newlines and blank lines are taken as what they are, and said.

    Args:
        folder: where both files are.
        rule: the recipe's ``split.label``.

    Returns:
        A row per rating in the file's order: user, item (its id, or its title under
        ``item_key: title``), id, title (the id where there are no titles), rating (float32)
        and, where the file has it, timestamp (int64).

    Raises:
        UserError: a missing file or column, a rating that is no number or outside its range, a
            pair of user and item rated twice, an item that the list of items lacks; with lines.
    """
    names = [name if name in READ_COLUMNS else f"_{i}" for i, name in enumerate(rule.columns)]
    file = folder / rule.ratings
    table = _read_table(file, "ratings", rule.delimiter, rule, names)
    ids = table["item"]
    titles = None if rule.items is None else _titles(folder, rule)
    problems = [
        *_empty(table),
        *_odd_ratings(table, rule),
        *_odd_timestamps(table),
        *_twice(table),
        *_unlisted(table, titles, rule),
    ]
    if problems:
        raise UserError("\n".join(f"split.label.ratings: {file}, {text}" for text in problems))
    title = ids if titles is None else ids.map(titles)
    ratings = pd.DataFrame(
        {
            "user": table["user"],
            "item": title if rule.item_key == "title" else ids,
            "id": ids,
            "title": title,
            "rating": table["rating"].astype(np.float32),
        }
    )
    if "timestamp" in table:
        ratings["timestamp"] = table["timestamp"].astype(np.int64)
    return ratings.reset_index(drop=True)


def merged(ratings: pd.DataFrame) -> int:
    """Count the rated items that ``item_key: title`` made one with another one."""
    return int(ratings["id"].nunique() - ratings["item"].nunique())


def _titles(folder: Path, rule: RatingsLabel) -> dict[str, str]:
    """Read each item's title."""
    file = folder / (rule.items or "")
    table = _read_table(file, "items", rule.items_delimiter, rule, ["item", "title"])
    problems = [
        f"{_lines(table.index[table[name] == ''])}: no {name}. Fill it in."
        for name in ("item", "title")
        if (table[name] == "").any()
    ]
    again = table["item"].duplicated()
    if again.any():
        problems.append(
            f"{_lines(table.index[again])}: item {table['item'][again].iloc[0]} is listed a second "
            "time. Leave one line of each."
        )
    if problems:
        raise UserError("\n".join(f"split.label.items: {file}, {text}" for text in problems))
    return dict(zip(table["item"], table["title"], strict=True))


def _read_table(
    file: Path, key: str, delimiter: str, rule: RatingsLabel, names: Sequence[str]
) -> pd.DataFrame:
    """Read a table as text; its index holds the numbers of the lines.

    Args:
        file: the table.
        key: its parameter, for messages.
        delimiter: what separates the columns.
        rule: encoding, and whether there is a header.
        names: of the first columns.
    """
    where = f"split.label.{key}: {file}"
    rows = _rows(_text_of(file, key, rule.encoding), delimiter, where, key)
    line, first = next(rows, (1, []))
    if len(first) < len(names):
        raise UserError(
            f"{where}, line {line}: {plural(len(first), 'column')}, {len(names)} are needed. "
            f"Correct the file, or {_delimiter(key)}, or split.label.columns."
        )
    if rule.header:
        _check_header([cell.strip() for cell in first], names, f"{where}, line {line}")
    else:
        rows = chain([(line, first)], rows)
    parts: list[pd.DataFrame] = []
    odd: list[tuple[int, int]] = []
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        odd += [(line, len(row)) for line, row in chunk if len(row) != len(first)]
        if not odd:
            parts.append(_as_table(chunk, names))
    if odd:
        raise UserError(
            f"{where}, {_lines([line for line, _ in odd])}: {plural(odd[0][1], 'column')}, but "
            f"the first line has {len(first)}. Correct the line, or {_delimiter(key)}."
        )
    if not parts:
        raise UserError(f"{where} has no {key}. Is it the right file?")
    return pd.concat(parts)


def _rows(text: str, delimiter: str, where: str, key: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of its last line."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    lines = (line if line.strip() else "" for line in _lines_of(text))
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f"{where}, line {reader.line_num}: {error}. Correct the line, or {_delimiter(key)}."
        ) from None


def _as_table(rows: Sequence[tuple[int, list[str]]], names: Sequence[str]) -> pd.DataFrame:
    """Make a table of rows' first cells; its index holds the numbers of the lines."""
    numbers, cells = zip(*rows, strict=True)
    columns = islice(zip(*cells, strict=True), len(names))
    text = [[cell.strip() for cell in column] for column in columns]
    return pd.DataFrame(dict(zip(names, text, strict=True)), numbers, dtype=str)


def _check_header(header: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuse a line of names that has one of ours at another place than the parameters say.

    Raises:
        UserError: with both orders.
    """
    moved = [name for name in names if name in header and header.index(name) != names.index(name)]
    if moved:
        raise UserError(
            f"{where}: the file's columns are {', '.join(header)}, but '{moved[0]}' is expected as "
            f"number {names.index(moved[0]) + 1}. Put the file's order into split.label.columns."
        )


def _text_of(file: Path, key: str, encoding: str) -> str:
    """Read a file's text, its newlines made one kind, and say what is unusual about its lines."""
    where = f"split.label.{key}"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        near = sorted(p.name for p in file.parent.glob("*") if p.is_file())
        raise UserError(
            f"{where}: {file} does not exist; {did_you_mean(file.name, near)}"
        ) from None
    except IsADirectoryError:
        raise UserError(f"{where}: {file} is a folder. Name the file in it.") from None
    odd = ["a byte-order mark"] if content.startswith(BOM) else []
    odd += ["Windows newlines"] if b"\r" in content else []
    content = content.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = content.decode(encoding).removesuffix("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{where}: {file}, line {line}: not {encoding}. Set split.label.encoding."
        ) from None
    blank = [number for number, line in enumerate(_lines_of(text), 1) if not line.strip()]
    odd += [f"{len(blank)} blank lines ({_lines(blank)})"] if blank and text.strip() else []
    if odd:
        print(f"{file}: {', '.join(odd)}: skipped.")
    return text


def _lines_of(text: str) -> Iterator[str]:
    """Yield the lines between the newlines, not all at once."""
    begin = 0
    while begin <= len(text):
        end = text.find("\n", begin + CHARACTERS_AT_ONCE)
        end = len(text) if end < 0 else end
        yield from text[begin:end].split("\n")
        begin = end + 1


def _delimiter(key: str) -> str:
    return "split.label.items_delimiter" if key == "items" else "split.label.delimiter"


def _lines(numbers: Sequence[int] | pd.Index) -> str:
    """Name some lines: ``line 3``, or ``lines 3, 4 and 9 more``."""
    noun = "line" if len(numbers) == 1 else "lines"
    return f"{noun} {some_of(map(str, numbers), MOST_SHOWN)}"


def _empty(table: pd.DataFrame) -> list[str]:
    return [
        f"{_lines(table.index[table[name] == ''])}: no {name}. Fill it in or remove the line."
        for name in ("user", "item")
        if (table[name] == "").any()
    ]


def _odd_ratings(table: pd.DataFrame, rule: RatingsLabel) -> list[str]:
    low, high = rule.range
    ratings = pd.to_numeric(table["rating"], errors="coerce")
    problems = []
    if len(odd := table["rating"][ratings.isna()]):
        problems.append(
            f"{_lines(odd.index)}: the rating '{odd.iloc[0]}' is not a number. Correct or remove "
            "it. If the file begins with a line of names, set split.label.header: true."
        )
    if len(odd := table["rating"][(ratings < low) | (ratings > high)]):
        problems.append(
            f"{_lines(odd.index)}: the rating {odd.iloc[0]} is outside of {low:g} to {high:g}. "
            "Correct it, or split.label.range."
        )
    return problems


def _odd_timestamps(table: pd.DataFrame) -> list[str]:
    if "timestamp" not in table:
        return []
    whole = table["timestamp"].str.fullmatch(r"-?\d{1,18}")
    odd = table["timestamp"][~whole]
    if not len(odd):
        return []
    return [
        f"{_lines(odd.index)}: the timestamp '{odd.iloc[0]}' is not a whole number. Correct it, or "
        "call the column otherwise in split.label.columns."
    ]


def _twice(table: pd.DataFrame) -> list[str]:
    again = table.duplicated(["user", "item"])
    if not again.any():
        return []
    line = table.index[again][0]
    user, item = table.loc[line, ["user", "item"]]
    pair = table.index[(table["user"] == user) & (table["item"] == item)][0]
    more = f" {plural(int(again.sum()) - 1, 'line')} more like these." if again.sum() > 1 else ""
    return [
        f"lines {pair} and {line}: user {user} rates item {item} twice. Leave one rating of each "
        f"pair.{more}"
    ]


def _unlisted(table: pd.DataFrame, titles: dict[str, str] | None, rule: RatingsLabel) -> list[str]:
    if titles is None:
        return []
    odd = table["item"][~table["item"].isin(titles.keys())]
    if not len(odd):
        return []
    return [
        f"{_lines(odd.index)}: item {odd.iloc[0]} is not in {rule.items}. Add it there, or remove "
        "its ratings."
    ]


def vocabularies(ratings: pd.DataFrame, valid: Mask) -> dict[str, list[str]]:
    """Number the users and items of the training ratings; row 0 is for all others.

    Args:
        ratings: from `read_ratings`.
        valid: bool [ratings], true for the held-out ones.

    Returns:
        users and items, shorter names first so that numbers come in their order, and the items'
        titles; entry i has row i + 1.
    """
    training = ratings[~valid]
    users = sorted(training["user"].unique(), key=_numbers_in_order)
    items = sorted(training["item"].unique(), key=_numbers_in_order)
    last = training.drop_duplicates("item", keep="last")
    title_of = dict(zip(last["item"], last["title"], strict=True))
    return {"users": users, "items": items, "titles": [title_of[item] for item in items]}


def _numbers_in_order(name: str) -> tuple[int, str]:
    return len(name), name


def numbered(names: pd.Series, vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """Return each name's row: its place in the vocabulary from 1 on, 0 if it is not there."""
    rows: NDArray[np.int64] = pd.Index(vocabulary).get_indexer(names) + 1
    return rows.astype(np.int64)


def items_table(
    ratings: pd.DataFrame, valid: Mask, vocabulary: dict[str, list[str]]
) -> pd.DataFrame:
    """Make the items table of ratings: a row each, with the rows of user and item.

    Returns:
        user, item, rating (float32), timestamp (int64, 0 where there is none), user_row and
        item_row (int64, 0 for the unknown), split.
    """
    return pd.DataFrame(
        {
            "user": ratings["user"],
            "item": ratings["item"],
            "rating": ratings["rating"],
            "timestamp": ratings["timestamp"] if "timestamp" in ratings else np.int64(0),
            "user_row": numbered(ratings["user"], vocabulary["users"]),
            "item_row": numbered(ratings["item"], vocabulary["items"]),
            "split": np.where(valid, "valid", "train"),
        }
    )


def ratings_metrics(table: pd.DataFrame, vocabulary: dict[str, list[str]]) -> dict[str, float]:
    """Count users, items, ratings, and held-out ratings of users and items without training."""
    valid = table["split"] == "valid"
    no_user, no_item = table["user_row"] == 0, table["item_row"] == 0
    return {
        "ratings": len(table),
        "users": len(vocabulary["users"]),
        "items": len(vocabulary["items"]),
        "train/ratings": int((~valid).sum()),
        "valid/ratings": int(valid.sum()),
        "valid/unknown_user": int((valid & no_user).sum()),
        "valid/unknown_item": int((valid & no_item).sum()),
        "valid/unknown": int((valid & (no_user | no_item)).sum()),
    }
