"""Final metrics of one-label predictions, from saved logits."""

import numpy as np
import pandas as pd


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64 [n, classes]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(1, keepdims=True)
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
