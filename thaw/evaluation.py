"""Final metrics from saved predictions."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from thaw.vision.several import labels_metrics, per_label
from thaw.vision.task import task_of

EVEN = 0.5  # the threshold of what is measured here; the stage `threshold` chooses one
QUANTILES = {"median_pixels": 0.5, "p90_pixels": 0.9}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` writes.

    Attributes:
        metrics: of all held-out items.
        per_class: a row per class; for points a row per group, of every further column of the items
            whose values repeat.
        confusion: a row per item, ``actual`` and ``predicted``; empty unless items have one label.
        headline: the result in a few words.
    """

    metrics: dict[str, float]
    per_class: pd.DataFrame
    headline: str
    confusion: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["actual", "predicted"])
    )


def evaluate(predictions: pd.DataFrame, vocab: list[str]) -> Evaluation:
    """Measure the predictions of a vision recipe.

    Args:
        predictions: a row per held-out item, as the last fit wrote them.
        vocab: class names; empty for points.
    """
    match task_of(predictions, vocab):
        case "label":
            return evaluate_label(predictions, vocab)
        case "labels":
            return evaluate_labels(predictions, vocab)
        case "points":
            return evaluate_points(predictions)


def evaluate_label(predictions: pd.DataFrame, vocab: list[str]) -> Evaluation:
    """Measure answers of one label."""
    logits = np.stack(predictions["logits"].to_list())
    targets = predictions["target"].to_numpy()
    answers = logits.argmax(1)
    metrics = final_metrics(logits, targets)
    return Evaluation(
        metrics,
        per_class(answers, targets, vocab),
        f"error rate {metrics['error_rate']:.4f} ± {metrics['error_rate_se']:.4f}",
        pd.DataFrame({"actual": predictions["label"], "predicted": [vocab[a] for a in answers]}),
    )


def evaluate_labels(predictions: pd.DataFrame, vocab: list[str]) -> Evaluation:
    """Measure answers of several labels; a label is given when its probability is above a half."""
    logits = np.stack(predictions["logits"].to_list()).astype(np.float64)
    targets = np.stack(predictions["target"].to_list()).astype(np.float64)
    probabilities = sigmoid(logits)
    loss = np.logaddexp(0, logits) - targets * logits
    measured = labels_metrics(probabilities, targets, EVEN)
    metrics = {"items": len(logits), "loss": float(loss.mean())} | measured
    return Evaluation(
        metrics,
        per_label(probabilities, targets, vocab, np.full(len(vocab), EVEN)),
        f"mean average precision {metrics['mean_average_precision']:.4f}",
    )


def evaluate_points(predictions: pd.DataFrame) -> Evaluation:
    """Measure points in pixels of the original images, for all items and for each group."""
    outputs, targets = (
        np.stack(predictions[name].to_list()).astype(np.float64)
        for name in ("prediction", "target")
    )
    distances = np.linalg.norm((outputs - targets).reshape(len(outputs), -1, 2), axis=2)
    rows = [
        {"group": group, "items": len(places)} | pixel_metrics(distances[places])
        for group, places in groups_of(predictions).items()
    ]
    metrics = {"items": len(outputs), **pixel_metrics(distances)}
    return Evaluation(
        metrics,
        pd.DataFrame(rows, columns=["group", "items", "mean_pixels", *QUANTILES]),
        f"mean error {metrics['mean_pixels']:.2f} pixels",
    )


def groups_of(predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the rows of each group of every further column of the items whose values repeat.

    Args:
        predictions: of points, a row per held-out item.

    Returns:
        int [rows] by name, such as "folder 13".
    """
    own = ("path", "label", "split", "target", "prediction", "frame")
    return {
        f"{column} {group}": places
        for column in predictions.columns
        if column not in own and predictions[column].nunique() < len(predictions)
        for group, places in sorted(predictions.groupby(column).indices.items())
    }


def pixel_metrics(distances: np.ndarray) -> dict[str, float]:
    """Return mean, median and 90th percentile of distances in pixels."""
    return {"mean_pixels": float(distances.mean())} | {
        name: float(np.quantile(distances, share)) for name, share in QUANTILES.items()
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64 [n, classes]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(1, keepdims=True)
    return probabilities


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, of the same shape."""
    # Through tanh, which does not overflow.
    probabilities: np.ndarray = (1 + np.tanh(logits.astype(np.float64) / 2)) / 2
    return probabilities


def final_metrics(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Measure predictions on held-out items.

    Args:
        logits: float [n, classes].
        targets: int [n].

    Returns:
        items, error_rate with its standard error, accuracy, loss, top_5_error_rate, f1_macro.
    """
    probabilities = softmax(logits)
    answers = logits.argmax(1)
    n = len(targets)
    error = float((answers != targets).mean())
    rank = (logits > logits[np.arange(n), targets][:, None]).sum(1)
    table = per_class(answers, targets, [str(c) for c in range(logits.shape[1])])
    return {
        "items": n,
        "error_rate": error,
        "error_rate_se": float(np.sqrt(error * (1 - error) / n)),
        "accuracy": 1 - error,
        "loss": float(-np.log(probabilities[np.arange(n), targets].clip(1e-300)).mean()),
        "top_5_error_rate": float((rank >= 5).mean()),
        "f1_macro": float(table["f1"].mean()),
    }


def per_class(answers: np.ndarray, targets: np.ndarray, vocab: list[str]) -> pd.DataFrame:
    """Return precision, recall and F1 of each class, 0 where there is nothing to divide by.

    Args:
        answers: int [n], the classes answered.
        targets: int [n], the right ones.
        vocab: class names.

    Returns:
        A row per class in vocabulary order: class, items, precision, recall, f1.
    """
    classes = len(vocab)
    right = np.bincount(targets[answers == targets], minlength=classes)
    items = np.bincount(targets, minlength=classes)
    answered = np.bincount(answers, minlength=classes)
    return pd.DataFrame(
        {
            "class": vocab,
            "items": items,
            "precision": right / np.maximum(answered, 1),
            "recall": right / np.maximum(items, 1),
            "f1": 2 * right / np.maximum(items + answered, 1),
        }
    )
