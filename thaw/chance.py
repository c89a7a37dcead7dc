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
    """Measure a constant answer on the held-out items: the best one, or close to it.

    It is chosen knowing them, so that no training could find a better one.

    Args:
        metric: a column of a fit's history, or ``mean_pixels``.
        predictions: as the last fit wrote them.
        vocab: class names; empty for points, an object for ratings.

    Returns:
        Only a loss for metrics that no constant is best at. None where that says nothing: for
        held-out items that are all alike; for points whose predictions do not say what was seen of
        the images.
    """
    found: Chance | None = None
    if "rating" in predictions:
        found = _of_ratings(metric, predictions["rating"].to_numpy(np.float64))
    elif (task := task_of(predictions, vocab)) == "label":
        found = _of_label(metric, predictions["target"].to_numpy())
    elif task == "labels":
        found = _of_labels(metric, np.stack(predictions["target"].to_list()))
    elif "frame" in predictions:
        found = _of_points(metric, predictions)
    return found if found and found.error != 0 and found.loss > 0 else None


def _chance(metric: str, loss: float, errors: dict[str, float]) -> Chance:
    found = (errors | {"valid_loss": loss}).get(metric)
    return Chance(None if found is None else float(found), float(loss))


def _of_label(metric: str, targets: np.ndarray) -> Chance:
    """Take the most frequent class; its loss is the entropy of the classes' shares."""
    shares = np.unique(targets, return_counts=True)[1] / len(targets)
    error = 1 - shares.max()
    errors = {"error_rate": error, "accuracy": error}
    return _chance(metric, -(shares * np.log(shares)).sum(), errors)


def _of_labels(metric: str, targets: np.ndarray) -> Chance:
    """Give every item each label's share as its probability.

    That orders nothing, so the average precision of a label is its share; above a half it gives
    those labels that most items have, and is wrong about the others' positives: the accuracy is
    the share of negatives, where no label is that frequent.
    """
    shares = targets.mean(0, dtype=np.float64)
    there = shares[shares > 0]
    both = np.stack([shares, 1 - shares])
    errors = {
        "mean_average_precision": 1 - there.mean() if len(there) else 0.0,
        "accuracy_multi": both.min(0).mean(),
    }
    entropy = -(both * np.log(both, where=both > 0, out=np.zeros_like(both))).sum(0)
    return _chance(metric, entropy.mean(), errors)


def _of_points(metric: str, predictions: pd.DataFrame) -> Chance:
    """Answer the middle of the held-out points, in the terms of what the model sees.

    Distances are in half sides of what it sees, as in a fit's history, or in pixels of the original
    images. That place has the smallest squared error; the smallest distance is nearby.
    """
    targets, frames = (
        np.stack(predictions[n].to_list()).astype(float) for n in ("target", "frame")
    )
    middle = (frames[:, None, :2] + frames[:, None, 2:]) / 2
    half_sides = (frames[:, None, 2:] - frames[:, None, :2]) / 2
    seen = (targets.reshape(len(targets), -1, 2) - middle) / half_sides
    away = seen - seen.mean(0)
    distances = np.linalg.norm(away, axis=2)
    errors = {
        "mean_distance": distances.mean(),
        "median_distance": np.median(distances),
        "mean_pixels": np.linalg.norm(away * half_sides, axis=2).mean(),
    }
    return _chance(metric, (away**2).mean(), errors)


def _of_ratings(metric: str, ratings: np.ndarray) -> Chance:
    """Answer the mean, or for the absolute error the median."""
    errors = {"rmse": ratings.std(), "mae": np.abs(ratings - np.median(ratings)).mean()}
    return _chance(metric, ratings.var(), errors)
