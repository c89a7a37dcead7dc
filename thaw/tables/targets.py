"""What the model is to answer for each item: a class, several, or points."""

from pathlib import Path

import numpy as np
import pandas as pd

from thaw.params.split import CsvPoints, LabelRule, PosePoint
from thaw.tables.csv_items import LINE
from thaw.tables.labels import (
    has_several_labels,
    labels_of,
    multi_hot,
    several_labels_of,
    vocabulary,
)
from thaw.tables.points import points_of


def add_targets(
    items: pd.DataFrame, rule: LabelRule, declared: list[str] | None, folder: Path
) -> tuple[pd.DataFrame, list[list[str]], list[str]]:
    """Add the columns ``label`` and ``target``.

    Args:
        items: what `thaw.tables.labels.find_items` found.
        rule: the recipe's ``split.label``.
        declared: the recipe's ``split.classes``.
        folder: where the images are.

    Returns:
        The items, each once; the labels of each; and the vocabulary. ``target`` is the class's
        place in the vocabulary (int64), or a list of zeros and ones, a class each; or, without
        labels and vocabulary, a list of x and y of each point in pixels.

    Raises:
        UserError: items from which the rule takes nothing, or labels that are not as declared.
    """
    if isinstance(rule, CsvPoints | PosePoint):
        items = points_of(items, rule, folder).assign(label="")
        return items, [[] for _ in range(len(items))], []
    several = has_several_labels(rule)
    labels = (
        several_labels_of(items, rule) if several else [[label] for label in labels_of(items, rule)]
    )
    names = [name for those in labels for name in those]
    classes = vocabulary(names, declared, several=several, places=_first_places(items, labels))
    targets = multi_hot(labels, classes)
    items = items.assign(
        label=[" ".join(those) for those in labels],
        target=list(targets) if several else targets.argmax(1).astype(np.int64),
    )
    return items, labels, classes


def _first_places(items: pd.DataFrame, labels: list[list[str]]) -> dict[str, str]:
    """Say for each label on which line, or at which image, it stands first."""
    lines = items[LINE] if LINE in items else [""] * len(items)
    places: dict[str, str] = {}
    for path, line, names in zip(items["path"], lines, labels, strict=True):
        for name in names:
            places.setdefault(name, f"line {line} ({path})" if line else path)
    return places
