"""What a recipe is judged by."""

from collections.abc import Collection

# The first of these that its metrics have.
HEADLINES = ("error_rate", "mean_average_precision", "mean_pixels", "rmse")


def headline_metric(values: Collection[str]) -> str:
    """Return the metric that a recipe is judged by, of the names of those that it has."""
    return next(name for name in HEADLINES if name in values)
