"""Choose the probability from which an answer is taken, on one half of the held-out items."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.core.errors import UserError
from thaw.params.threshold import Threshold
from thaw.tables.splits import FEWEST, shuffled
from thaw.vision.several import cell_metrics

Floats = NDArray[Any]
Mask = NDArray[np.bool_]

# The lessons' sweep, and a fine one in steps of a two-hundredth.
LESSON = np.linspace(0.05, 0.95, 29)
FINE = np.linspace(0.005, 0.995, 199)
SWEEP = np.unique(np.round(np.concatenate([LESSON, FINE]), 9))


@dataclass(frozen=True)
class Choice:
    """A chosen threshold.

    Attributes:
        thresholds: one a class for several labels, one for one label, none for points.
        curve: a row per threshold of the sweep, measured on all held-out items.
        metrics: of the chosen threshold on the half it was chosen on, on the other, and on all.
        y: the curve's column that the choice was made by.
    """

    thresholds: list[float]
    curve: pd.DataFrame
    metrics: dict[str, float]
    y: str


def halves(items: int, seed: int) -> Mask:
    """Return which items a threshold is chosen on: half of them, drawn by the seed.

    Raises:
        UserError: fewer than two items.
    """
    if items < FEWEST:
        raise UserError(
            f"a threshold is chosen on one half of the held-out items, but there is {items}. "
            "Hold out more (split.by)."
        )
    chosen = np.zeros(items, bool)
    chosen[shuffled(items, seed, "threshold")[: items // 2]] = True
    return chosen


def on_parts(half: Mask, measure: Callable[[Mask], dict[str, float]]) -> dict[str, float]:
    """Measure the half that a threshold was chosen on, the other one, and all held-out items."""
    parts = {"chosen_on": half, "other_half": ~half, "valid": np.full(len(half), True)}
    return {
        f"{part}/{name}": value
        for part, rows in parts.items()
        for name, value in measure(rows).items()
    }


def choose_for_labels(probabilities: Floats, targets: Floats, plan: Threshold, seed: int) -> Choice:
    """Choose when a label is given.

    Args:
        probabilities: float [n, classes].
        targets: [n, classes], 0 or 1.
        plan: what is to be largest.
        seed: draws the half.
    """
    half = halves(len(targets), seed)
    here = probabilities[half], targets[half]
    if plan.per_class:
        best = np.array([best_f1(p, t) for p, t in zip(here[0].T, here[1].T, strict=True)])
    else:
        scores = [cell_metrics(*here, threshold)[plan.best] for threshold in SWEEP]
        best = np.full(targets.shape[1], middle_of_best(np.array(scores)))
    metrics = on_parts(half, lambda rows: cell_metrics(probabilities[rows], targets[rows], best))
    curve = pd.DataFrame(
        [{"threshold": t} | cell_metrics(probabilities, targets, t) for t in SWEEP.tolist()]
    )
    return Choice(best.tolist(), curve, metrics, "f1_macro" if plan.per_class else plan.best)


def best_f1(probabilities: Floats, targets: Floats) -> float:
    """Return the threshold with the largest F1 of one class; a half where it does not occur.

    Args:
        probabilities: float [n].
        targets: [n], 0 or 1.
    """
    if not targets.any():
        return 0.5
    columns = probabilities[:, None], targets[:, None]
    return middle_of_best(np.array([cell_metrics(*columns, t)["f1_micro"] for t in SWEEP]))


def middle_of_best(scores: Floats) -> float:
    """Return the middle of the first run of thresholds with the largest score: the steadiest."""
    best = np.flatnonzero(scores == scores.max())
    run = best[: int(np.argmax(np.diff(best, append=best[-1] + 2) > 1)) + 1]
    return float(SWEEP[run[len(run) // 2]])


def choose_for_label(
    probabilities: Floats, targets: NDArray[np.int64], plan: Threshold, seed: int
) -> Choice:
    """Choose the confidence under which an answer is withheld.

    Args:
        probabilities: float [n, classes].
        targets: int64 [n].
        plan: the error that answers may have.
        seed: draws the half.
    """
    confidence, wrong = probabilities.max(1), probabilities.argmax(1) != targets
    half = halves(len(targets), seed)
    best = lowest_good(confidence[half], wrong[half], plan.max_error)
    metrics = on_parts(half, lambda rows: withheld(confidence[rows], wrong[rows], best))
    curve = pd.DataFrame(
        [{"threshold": t} | withheld(confidence, wrong, t) for t in SWEEP.tolist()]
    )
    return Choice([best], curve, metrics, "error_rate")


def lowest_good(confidence: Floats, wrong: Mask, max_error: float) -> float:
    """Return the lowest threshold whose answers are good enough; else that of the best answers.

    A threshold that no answer reaches is none.
    """
    rows = [(t, withheld(confidence, wrong, t)) for t in SWEEP.tolist()]
    given = [(t, row["error_rate"]) for t, row in rows if row["coverage"] > 0]
    good = [t for t, error in given if error <= max_error]
    best = min(given, key=lambda pair: pair[1], default=(float(SWEEP[0]), 0.0))
    return good[0] if good else best[0]


def withheld(confidence: Floats, wrong: Mask, threshold: float) -> dict[str, float]:
    """Return the share of answers above a confidence, and how many of these are wrong."""
    given = confidence > threshold
    return {
        "coverage": float(given.mean()),
        "error_rate": float((wrong & given).sum() / max(given.sum(), 1)),
    }


def no_choice() -> Choice:
    """Return what stands where nothing is to be chosen: points."""
    return Choice([], pd.DataFrame(columns=["threshold", "error_rate"]), {}, "error_rate")
