"""Which classes are taken for which."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]
OUTCOMES = ("found", "missed", "false")


def confusion_counts(answers: Ints, targets: Ints, classes: int) -> Ints:
    """Count answers of one label, int64 [actual, predicted].

    Args:
        answers: int [n], the classes answered.
        targets: int [n], the right ones.
        classes: how many there are.
    """
    from sklearn.metrics import confusion_matrix

    counts: Ints = confusion_matrix(targets, answers, labels=np.arange(classes))
    return counts


def confusion_cells(counts: Ints, vocab: list[str]) -> pd.DataFrame:
    """Return a row per cell: actual, predicted, count; both in vocabulary order."""
    names = np.array(vocab, object)
    return pd.DataFrame(
        {
            "actual": np.repeat(names, len(vocab)),
            "predicted": np.tile(names, len(vocab)),
            "count": counts.ravel(),
        }
    )


def most_confused(counts: Ints, vocab: list[str], at_least: int) -> pd.DataFrame:
    """Return the classes that are taken for others most often.

    Args:
        counts: int64 [actual, predicted].
        vocab: class names.
        at_least: the least count that is listed.

    Returns:
        actual, predicted, count; most first, ties in vocabulary order.
    """
    cells = confusion_cells(counts * ~np.eye(len(vocab), dtype=bool), vocab)
    cells = cells[cells["count"] >= at_least]
    return cells.sort_values("count", ascending=False, kind="stable").reset_index(drop=True)


def counts_of_each(given: NDArray[np.bool_], there: NDArray[np.bool_]) -> Ints:
    """Count answers of several labels, int64 [classes, actual, predicted]: a 2x2 table per class.

    Args:
        given: bool [n, classes], the labels answered.
        there: bool [n, classes], the right ones.
    """
    # scikit-learn's own takes a single class for two.
    cells = [[~there & ~given, ~there & given], [there & ~given, there & given]]
    counts: Ints = np.array(cells).sum(2).transpose(2, 0, 1)
    return counts


def cells_of_each(counts: Ints, vocab: list[str]) -> pd.DataFrame:
    """Return a row per class in vocabulary order, with the four cells of its table."""
    cells = counts.reshape(len(vocab), 4)
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    return pd.DataFrame({"class": vocab} | dict(zip(names, cells.T, strict=True)))


def outcomes(counts: Ints, vocab: list[str]) -> pd.DataFrame:
    """Count for each class the answers that found it, missed it, or named it falsely.

    Args:
        counts: int64 [actual, predicted] of one label, or [classes, actual, predicted] of several.
        vocab: class names; none for points.

    Returns:
        class, outcome, count: three rows a class, in vocabulary order.
    """
    if counts.ndim == 2:
        found = counts.diagonal()
        missed, false = counts.sum(1) - found, counts.sum(0) - found
    else:
        found, missed, false = counts[:, 1, 1], counts[:, 1, 0], counts[:, 0, 1]
    return pd.DataFrame(
        {
            "class": np.repeat(np.array(vocab, object), len(OUTCOMES)),
            "outcome": OUTCOMES * len(vocab),
            "count": np.stack([found, missed, false], 1).ravel(),
        }
    )
