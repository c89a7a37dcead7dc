"""What an answer that ignores its input would get: the yardstick of a diagnosis."""

from typing import Any

import numpy as np
import pandas as pd

from thaw.diagnosis import Chance
from thaw.vision.task import task_of

LESS_IS_BETTER = (
    "error_rate", "mean_distance", "median_distance", "rmse", "mae", "valid_loss",
)  # fmt: skip


def error_of(metric: str, value: float) -> float:
    """Turn a metric so that less is better; scores of at most 1 become what they lack of it."""
    return value if metric in LESS_IS_BETTER else 1.0 - value


def noise_of(metric: str, error: float, items: int) -> float:
    """Return the standard error of an error rate; of other errors, for want of it, a twentieth."""
    if metric in ("error_rate", "accuracy"):
        return float(np.sqrt(error * (1 - error) / items))
    return 0.05 * error


def chance_of(metric: str, predictions: pd.DataFrame, vocab: Any) -> Chance | None:
    """Measure the best constant answer on the held-out items.

    Args:
        metric: a column of a fit's history.
        predictions: as the last fit wrote them.
        vocab: class names; empty for points, an object for ratings.

    Returns:
        None where there is no such answer: for points, which are predicted in other units than
        they are evaluated in, and for metrics that no constant is best at.
    """
    if "rating" in predictions:
        return _of_ratings(metric, predictions["rating"].to_numpy(np.float64))
    match task_of(predictions, vocab):
        case "label":
            return _of_label(metric, predictions["target"].to_numpy())
        case "labels":
            return _of_labels(metric, np.stack(predictions["target"].to_list()))
        case "points":
            return None


def _of_label(metric: str, targets: np.ndarray) -> Chance | None:
    """Take the most frequent class; its loss is the entropy of the classes' shares."""
    if metric not in ("error_rate", "accuracy"):
        return None
    shares = np.unique(targets, return_counts=True)[1] / len(targets)
    return Chance(float(1 - shares.max()), float(-(shares * np.log(shares)).sum()))


def _of_labels(metric: str, targets: np.ndarray) -> Chance | None:
    """Give every item each label's share as its probability."""
    shares = targets.mean(0, dtype=np.float64)
    errors = {
        "accuracy_multi": np.minimum(shares, 1 - shares).mean(),
        "mean_average_precision": 1 - shares[shares > 0].mean(),
    }
    if metric not in errors:
        return None
    both = np.stack([shares, 1 - shares])
    entropy = -(both * np.log(both, where=both > 0, out=np.zeros_like(both))).sum(0)
    return Chance(float(errors[metric]), float(entropy.mean()))


def _of_ratings(metric: str, ratings: np.ndarray) -> Chance | None:
    """Answer the mean, or for the absolute error the median."""
    errors = {"rmse": ratings.std(), "mae": np.abs(ratings - np.median(ratings)).mean()}
    return Chance(float(errors[metric]), float(ratings.var())) if metric in errors else None
