"""Metrics of answers with several labels, from probabilities."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[Any]


def labels_metrics(probabilities: Floats, targets: Floats, threshold: float) -> dict[str, float]:
    """Return `cell_metrics`, and the mean average precision over the classes that occur.

    Args:
        probabilities: float [n, classes].
        targets: [n, classes], 0 or 1.
        threshold: a label is given when its probability is strictly above, as in the lessons.

    Returns:
        mean_average_precision, 0 if no item has any label, and the metrics of the cells.
    """
    precisions = average_precisions(probabilities, targets)
    mean = float(np.nanmean(precisions)) if targets.any() else 0.0
    return {"mean_average_precision": mean} | cell_metrics(probabilities, targets, threshold)


def cell_metrics(
    probabilities: Floats, targets: Floats, thresholds: float | Floats
) -> dict[str, float]:
    """Measure all cells (an item, a class) at once.

    Args:
        probabilities: float [n, classes].
        targets: [n, classes], 0 or 1.
        thresholds: one, or float [classes].

    Returns:
        accuracy_multi: the share of right cells, the many absent labels included; f1_macro;
        f1_micro, precision and recall of the cells.
    """
    given, there = probabilities > thresholds, targets > 0.5
    right = (given & there).sum(0)
    f1 = _precision_recall_f1(right, given.sum(0), there.sum(0))[2]
    precision, recall, f1_micro = _precision_recall_f1(right.sum(), given.sum(), there.sum())
    return {
        "accuracy_multi": float((given == there).mean()),
        "f1_macro": float(f1.mean()),
        "f1_micro": float(f1_micro),
        "precision": float(precision),
        "recall": float(recall),
    }


def average_precisions(probabilities: Floats, targets: Floats) -> NDArray[np.float64]:
    """Return each class's average precision, float64 [classes]; NaN where no item has the label."""
    # A second to import, which recipes of one label need not pay.
    from sklearn.metrics import average_precision_score

    return np.array(
        [
            average_precision_score(there, scores) if there.any() else np.nan
            for there, scores in zip((targets > 0.5).T, probabilities.T, strict=True)
        ]
    )


def per_label(
    probabilities: Floats, targets: Floats, vocab: list[str], thresholds: Floats
) -> pd.DataFrame:
    """Return precision, recall, F1 and average precision of each class.

    Args:
        probabilities: float [n, classes].
        targets: [n, classes], 0 or 1.
        vocab: class names.
        thresholds: float [classes].

    Returns:
        A row per class in vocabulary order.
    """
    given, there = probabilities > thresholds, targets > 0.5
    precision, recall, f1 = _precision_recall_f1((given & there).sum(0), given.sum(0), there.sum(0))
    return pd.DataFrame(
        {
            "class": vocab,
            "items": there.sum(0),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "average_precision": average_precisions(probabilities, targets),
        }
    )


def _precision_recall_f1(right: Any, given: Any, there: Any) -> tuple[Any, Any, Any]:
    """Divide counts, 0 where there is nothing to divide by."""
    return (
        right / np.maximum(given, 1),
        right / np.maximum(there, 1),
        2 * right / np.maximum(given + there, 1),
    )
