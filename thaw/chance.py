"""What an answer that ignores its input would get: the yardstick of a diagnosis."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from thaw.diagnosis import Chance
from thaw.vision.task import task_of

# The metrics that a fit can be judged by, the most telling first: accuracies of several labels
# hide behind their negatives. Not `coverage` and `confident_error_rate`, each a half of a bargain.
TELLING = (
    "error_rate", "mean_average_precision", "rmse", "mean_distance", "accuracy", "f1_macro",
    "median_distance", "top_k_error_rate", "mae", "f1_micro", "accuracy_multi", "valid_loss",
)  # fmt: skip
MORE_IS_BETTER = (
    "mean_average_precision", "accuracy", "f1_macro", "f1_micro", "accuracy_multi",
)  # fmt: skip


def telling_metric(measured: Collection[str]) -> str:
    """Choose what to judge a fit by; its validation loss if there is nothing better."""
    return next((name for name in TELLING if name in measured), "valid_loss")


def error_name(metric: str) -> str:
    """Name what `error_of` returns."""
    return f"1 - {metric}" if metric in MORE_IS_BETTER else metric


def error_of(metric: str, value: float) -> float:
    """Turn a metric so that less is better; scores of at most 1 become what they lack of it."""
    return 1.0 - value if metric in MORE_IS_BETTER else value


def noise_of(metric: str, error: float, items: int) -> float:
    """Return the standard error of an error rate; of other errors, for want of it, a twentieth."""
    if metric in ("error_rate", "accuracy", "top_k_error_rate"):
        return float(np.sqrt(error * (1 - error) / items))
    return 0.05 * error


def chance_of(metric: str, predictions: pd.DataFrame, vocab: Any) -> Chance | None:
    """Measure the best constant answer on the held-out items.

    Args:
        metric: a column of a fit's history.
        predictions: as the last fit wrote them.
        vocab: class names; empty for points, an object for ratings.

    Returns:
        None where that says nothing: for points, which are predicted in other units than they are
        evaluated in; for metrics that no constant is best at, or that it is nearly perfect at
        (accuracies of several labels); for held-out items that are all alike.
    """
    if "rating" in predictions:
        found = _of_ratings(metric, predictions["rating"].to_numpy(np.float64))
    elif (task := task_of(predictions, vocab)) == "label":
        found = _of_label(metric, predictions["target"].to_numpy())
    elif task == "labels":
        found = _of_labels(metric, np.stack(predictions["target"].to_list()))
    else:
        found = None
    return found if found and found.error > 0 and found.loss > 0 else None


def _of_label(metric: str, targets: np.ndarray) -> Chance | None:
    """Take the most frequent class; its loss is the entropy of the classes' shares."""
    if metric not in ("error_rate", "accuracy"):
        return None
    shares = np.unique(targets, return_counts=True)[1] / len(targets)
    return Chance(float(1 - shares.max()), float(-(shares * np.log(shares)).sum()))


def _of_labels(metric: str, targets: np.ndarray) -> Chance | None:
    """Give every item each label's share as its probability."""
    if metric != "mean_average_precision":
        return None
    shares = targets.mean(0, dtype=np.float64)
    both = np.stack([shares, 1 - shares])
    entropy = -(both * np.log(both, where=both > 0, out=np.zeros_like(both))).sum(0)
    return Chance(float(1 - shares[shares > 0].mean()), float(entropy.mean()))


def _of_ratings(metric: str, ratings: np.ndarray) -> Chance | None:
    """Answer the mean, or for the absolute error the median."""
    errors = {"rmse": ratings.std(), "mae": np.abs(ratings - np.median(ratings)).mean()}
    return Chance(float(errors[metric]), float(ratings.var())) if metric in errors else None
