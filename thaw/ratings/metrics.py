"""Errors of predicted ratings."""

import numpy as np
import pandas as pd

METRICS = ("rmse", "mae")  # columns of a fit's history, beside the loss, which is their MSE


def errors(predictions: np.ndarray, ratings: np.ndarray) -> dict[str, float]:
    """Return root mean squared and mean absolute error, computed in float64."""
    off = predictions.astype(np.float64) - ratings
    return {"rmse": float(np.sqrt((off**2).mean())), "mae": float(np.abs(off).mean())}


def final_errors(predictions: np.ndarray, ratings: np.ndarray) -> dict[str, float]:
    """Measure predictions of held-out ratings.

    Args:
        predictions: float [n].
        ratings: float [n].

    Returns:
        items, mse with its standard error, rmse, mae.
    """
    squares = (predictions.astype(np.float64) - ratings) ** 2
    return {
        "items": len(ratings),
        "mse": float(squares.mean()),
        "mse_se": float(squares.std() / np.sqrt(len(squares))),
    } | errors(predictions, ratings)


def nearest_level(predictions: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Round predictions to the nearest rating that was given, the lower of two as near."""
    levels = np.unique(ratings)
    nearest: np.ndarray = levels[np.abs(predictions[:, None] - levels).argmin(1)]
    return nearest


def per_level(predictions: np.ndarray, ratings: np.ndarray) -> pd.DataFrame:
    """Return for each rating that was given what was predicted for it.

    Returns:
        A row per level: class (the rating), items, prediction (the mean), rmse, mae.
    """
    rows = []
    for level in np.unique(ratings):
        of = predictions[ratings == level]
        rows.append(
            {"class": level, "items": len(of), "prediction": of.astype(np.float64).mean()}
            | errors(of, np.full(len(of), level))
        )
    return pd.DataFrame(rows)
