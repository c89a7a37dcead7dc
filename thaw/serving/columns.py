"""What a server is asked with: the columns of its table, and an item's cells. No torch."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

IMAGE, PATH, USER, ITEM = "image", "path", "user", "item"
# What each user rated, beside a model of ratings: a file, and its columns.
RATED, RATED_COLUMNS = "rated.parquet", ["user", "user_row", "item_row", "split"]

Cells = dict[str, str]


def image_columns(bands: Sequence[str]) -> list[str]:
    """Name the columns of images in base64: one for each file that an item has.

    Args:
        bands: endings of an item's files, such as ``_rgb.png``; none for one file.
    """
    return [f"{IMAGE}{band}" for band in bands] or [IMAGE]


def input_columns(task: str, bands: Sequence[str]) -> dict[str, bool]:
    """Return all columns of text that a model is asked with, and whether one must be there.

    Args:
        task: `label`, `labels`, `points` or `ratings`.
        bands: as `image_columns` has it.
    """
    if task == "ratings":
        return {USER: True, ITEM: False}
    return dict.fromkeys([*image_columns(bands), PATH], False)


def cells_of(table: pd.DataFrame) -> list[Cells]:
    """Return each row's cells that hold something, as text."""
    return [
        {str(name): text_of(value) for name, value in row.items() if holds_something(value)}
        for row in table.to_dict(orient="records")
    ]


def holds_something(value: Any) -> bool:
    """Say whether a cell is neither empty nor missing."""
    return not (pd.api.types.is_scalar(value) and pd.isna(value)) and value != ""


def text_of(value: Any) -> str:
    """Write a cell as text: a column in which some are missing makes 12 out of 12.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
