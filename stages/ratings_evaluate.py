"""Measure saved predictions of ratings: what `evaluate` does for recipes of ratings."""

import pandas as pd

from stages.common.paths import Paths
from thaw.core.files import write_csv, write_json
from thaw.ratings.metrics import final_errors, nearest_level, per_level


def evaluate_ratings(
    predictions: pd.DataFrame, vocabulary: dict[str, list[str]], paths: Paths
) -> None:
    """Write errors, those of each rating, and for DVC's confusion plot the nearest ratings."""
    known = predictions["user"].isin(vocabulary["users"])
    known &= predictions["item"].isin(vocabulary["items"])
    predicted, ratings = (predictions[name].to_numpy() for name in ("prediction", "rating"))
    metrics = final_errors(predicted, ratings) | {"unknown": int((~known).sum())}
    write_json(
        paths.result("evaluate", "metrics.json"),
        {f"valid/{name}": value for name, value in metrics.items()},
    )
    write_csv(paths.result("evaluate", "per_class.csv"), per_level(predicted, ratings))
    write_csv(
        paths.result("evaluate", "confusion.csv"),
        pd.DataFrame({"actual": ratings, "predicted": nearest_level(predicted, ratings)}),
    )
    print(
        f"MSE {metrics['mse']:.4f} ± {metrics['mse_se']:.4f}, RMSE {metrics['rmse']:.4f}, "
        f"MAE {metrics['mae']:.4f} on {metrics['items']} ratings, {metrics['unknown']} of them "
        "of unknown users or items"
    )
