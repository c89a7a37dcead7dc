"""A recipe's result in a sentence."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from thaw.chance import chance_of, error_of
from thaw.headline import headline_metric
from thaw.vision.task import task_of

# What a recipe is judged by, in words.
SENTENCES = {
    "error_rate": "It gets {value} of {items} held-out items wrong (error rate)",
    "mean_average_precision": "It finds the labels of {items} held-out items with a mean average "
    "precision of {value}",
    "mean_pixels": "On {items} held-out items its points lie {value} pixels off on average",
    "rmse": "It predicts {items} held-out ratings with a root mean squared error of {value}",
}
CELLS = "accuracy_multi"
BY_CHANCE = {
    "error_rate": "the most frequent class as every answer would get {value} wrong",
    "mean_average_precision": "each label's share as its probability for all would get {value}",
    "mean_pixels": "the middle of their points as every answer would be {value} off",
    "rmse": "the mean rating as every answer would get {value}",
}
KINDS = {
    "label": "one label an image",
    "labels": "several labels, or none",
    "points": "points on an image",
    "ratings": "ratings",
}


def kind_of(predictions: pd.DataFrame, vocab: Any) -> str:
    """Name what a recipe answers: `label`, `labels`, `points` or `ratings`."""
    return "ratings" if "rating" in predictions else task_of(predictions, vocab)


def result_sentence(metrics: Mapping[str, float], predictions: pd.DataFrame, vocab: Any) -> str:
    """Say what the final metrics come to, beside an answer that ignores its input.

    Args:
        metrics: as `evaluate` wrote them, ``valid/error_rate`` for one.
        predictions: as the last fit wrote them.
        vocab: class names; empty for points, an object for ratings.
    """
    values = {name.removeprefix("valid/"): value for name, value in metrics.items()}
    metric = headline_metric(values)
    said = SENTENCES[metric].format(
        items=f"{values['items']:,.0f}", value=with_error(values, metric, places(metric))
    )
    if "median_pixels" in values:
        said += (
            f", half of them within {values['median_pixels']:.1f} and nine in ten within "
            f"{values['p90_pixels']:.1f}"
        )
    if "mse" in values:
        said += f" (mean squared error {with_error(values, 'mse', 3)})"
    chance = chance_of(metric, predictions, vocab)
    if chance is not None and chance.error is not None:
        value = f"{error_of(metric, chance.error):.{places(metric)}f}"
        said += f"; by chance, {BY_CHANCE[metric].format(value=value)}"
    return f"{said}.{_of_cells(values, predictions, vocab)}"


def _of_cells(values: Mapping[str, float], predictions: pd.DataFrame, vocab: Any) -> str:
    """Say what the accuracy of several labels is worth: nearly all of it is absent labels."""
    if CELLS not in values:
        return ""
    right, chance = values[CELLS], chance_of(CELLS, predictions, vocab)
    said = f" {right:.3f} of all yes and no are right"
    if chance is None or chance.error is None:
        return f"{said}."
    return f"{said}, by chance {error_of(CELLS, chance.error):.3f}."


def places(metric: str) -> int:
    """Return how many digits behind the point say something."""
    return 1 if metric.endswith("pixels") else 3


def with_error(values: Mapping[str, float], metric: str, digits: int) -> str:
    """Write a metric, and its standard error if there is one."""
    error = values.get(f"{metric}_se")
    said = f"{values[metric]:.{digits}f}"
    return said if error is None else f"{said} ± {error:.{digits}f}"
