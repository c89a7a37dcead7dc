"""Tables of a report: cells of text, some of them shaded by their share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import pandas as pd

THOUSANDS = 100_000  # from here on set apart; below may be numbers that are names
MOST_ROWS = 40
FEW = 6  # columns whose names stand upright
MOST_CLASSES = 40  # of a confusion matrix that can be read


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Attributes:
        text: as shown.
        is_number: to be aligned by its end.
        share: from 0 to 1, shown as a shade; None for none.
        is_right: whether a shade is of right answers.
    """

    text: str
    is_number: bool = False
    share: float | None = None
    is_right: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows.
        columns: their names.
        rows: as many cells each as there are columns; the first names the row.
        note: said below it, such as where the rest is.
        is_matrix: whether its many columns may be as narrow as their numbers.
    """

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""
    is_matrix: bool = False

    def is_number(self, column: int) -> bool:
        """Whether a column's cells are numbers, so far as there are any."""
        return any(row[column].is_number for row in self.rows)


def cell(value: Any) -> Cell:
    """Write a value: numbers with four digits, nothing for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("")
    if isinstance(value, bool):
        return Cell(str(value).lower())
    if isinstance(value, Integral):
        whole = int(value)
        return Cell(f"{whole:,}" if abs(whole) >= THOUSANDS else str(whole), is_number=True)
    if isinstance(value, Real):
        number = float(value)
        if number.is_integer() and abs(number) < 1e15:
            return cell(int(number))
        return Cell(f"{number:.4g}", is_number=True)
    return Cell(str(value))


def table_of(
    frame: pd.DataFrame, caption: str, source: str = "", *, both_ends: bool = False
) -> Table:
    """Show a frame, or the beginning of a long one.

    Args:
        frame: any.
        caption: of the table.
        source: the file that has all rows.
        both_ends: of a long one show the end as well.
    """
    shown, note = frame, ""
    if len(frame) > MOST_ROWS:
        half = MOST_ROWS // 2
        shown = (
            pd.concat([frame.head(half), frame.tail(half)]) if both_ends else frame.head(MOST_ROWS)
        )
        which = f"the first and the last {half}" if both_ends else f"the first {MOST_ROWS}"
        note = f"Shown are {which} of {len(frame):,} rows; all are in {source}."
    rows = [[cell(value) for value in row] for row in shown.itertuples(index=False)]
    return Table(caption, [name.replace("_", " ") for name in frame.columns], rows, note)


def pairs_table(values: Mapping[str, Any], caption: str, columns: tuple[str, str]) -> Table:
    """Show names with their values, a row each."""
    return Table(caption, list(columns), [[Cell(k), cell(v)] for k, v in values.items()])


def confusion_table(confusion: pd.DataFrame, classes: Sequence[str], caption: str) -> Table:
    """Count answers by the actual class, a row each, shaded by their share of the row.

    Args:
        confusion: a row per item, ``actual`` and ``predicted`` as text.
        classes: in the order of rows and columns.
        caption: of the table.
    """
    counts = pd.crosstab(confusion["actual"], confusion["predicted"])
    counts = counts.reindex(index=classes, columns=classes, fill_value=0)
    rows = []
    for actual, row in counts.iterrows():
        total = int(row.sum())
        cells = [
            Cell(
                str(count) if count else "·", is_number=True, is_right=predicted == actual,
                share=count / total if count else None,
            )
            for predicted, count in row.items()
        ]  # fmt: skip
        rows.append([Cell(actual), *cells])
    return Table(caption, ["actual \\ answered", *classes], rows, is_matrix=len(classes) > FEW)


def crosstab_table(frame: pd.DataFrame, caption: str) -> Table:
    """Lay out predicted ratings of users (rows) and items (columns), given ratings in brackets.

    Args:
        frame: a row per pair: ``user``, ``title``, ``rating`` (may be missing), ``prediction``.
        caption: of the table.
    """
    titles = list(dict.fromkeys(frame["title"]))
    rows = []
    for user, pairs in frame.groupby("user", sort=False):
        by_title = pairs.drop_duplicates("title").set_index("title")
        said = [_prediction(by_title.loc[title]) for title in titles]
        rows.append([Cell(f"user {user}"), *said])
    note = "In brackets the rating that was given."
    return Table(caption, ["user", *titles], rows, note)


def _prediction(pair: "pd.Series[Any]") -> Cell:
    given = "" if pd.isna(pair["rating"]) else f" ({pair['rating']:g})"
    return Cell(f"{pair['prediction']:.1f}{given}", is_number=True)


def flat(values: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested parameters by their dotted paths; lists stay as they are."""
    if not isinstance(values, Mapping) or not values:
        return {path: values} if path else {}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{path}.{key}" if path else str(key))
    return found
