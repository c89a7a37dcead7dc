"""What a server is asked with: the columns of its table, and an item's cells. No torch."""

from collections.abc import Sequence

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
        {str(name): str(value) for name, value in row.items() if not pd.isna(value) and value != ""}
        for row in table.to_dict(orient="records")
    ]
