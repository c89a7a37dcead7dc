"""Which of the three vision tasks a recipe is: read from its data, so that nothing can disagree."""

from typing import Literal

import pandas as pd

Task = Literal["label", "labels", "points"]


def task_of(items: pd.DataFrame, vocab: list[str]) -> Task:
    """Return what is to be answered for each item.

    Args:
        items: a table with a column ``target``, as `split` and the fits write it.
        vocab: the classes; empty for points.

    Returns:
        `label`: one class; `labels`: any number of classes; `points`: places on the image.
    """
    if not vocab:
        return "points"
    return "label" if pd.api.types.is_integer_dtype(items["target"]) else "labels"
