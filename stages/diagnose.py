"""A verdict on each fit, from the histories: part of `evaluate`."""

from typing import Any

import pandas as pd

from stages.common.paths import Paths
from thaw.chance import chance_of, error_name, error_of, noise_of, telling_metric
from thaw.core.files import read_json, write_json
from thaw.diagnosis import Curve, Diagnosis, diagnose
from thaw.params.split import SplitRule
from thaw.remedies import Remedy, more_variety

RATE = "lr_"  # begins the columns of epochs.csv with the largest rate of each parameter group


def diagnose_fits(predictions: pd.DataFrame, vocab: Any, by: SplitRule, paths: Paths) -> None:
    """Write diagnosis.json, an entry per fit, and say what is not as it should be.

    Args:
        predictions: as the last fit wrote them.
        vocab: class names; empty for points, an object for ratings.
        by: what is held out, and how much.
        paths: of the recipe.
    """
    model = read_json(paths.model_json)
    counts = read_json(paths.result("split", "metrics.json"))
    items = counts["train/ratings" if model["task"] == "ratings" else "train/items"]
    found: dict[str, dict[str, Any]] = {}
    before: tuple[str, float] | None = None
    for fit, epochs in pd.read_csv(paths.epochs).groupby("fit", sort=False):
        metric = telling_metric(epochs.columns[epochs.notna().all()])
        errors = [error_of(metric, value) for value in epochs[metric]]
        curve = Curve(
            train_loss=epochs["train_loss"].to_list(),
            valid_loss=epochs["valid_loss"].to_list(),
            error=errors,
            noise=noise_of(metric, min(errors), len(predictions)),
            name=error_name(metric),
            before=before[1] if before and before[0] == metric else None,
        )
        before = metric, errors[-1]
        diagnosis = diagnose(curve, chance_of(metric, predictions, vocab))
        rates = epochs.filter(regex=f"^{RATE}").iloc[0].dropna().to_list()
        why, remedy = diagnosis.why, to_try(diagnosis, str(fit), rates)
        if diagnosis.variety:
            why += f"; {items:,} items to train on"
            varied = more_variety(model, by, str(fit), diagnosis.epochs or len(epochs), items)
            if remedy:
                why += f". After that: {varied.parameter}: {varied.value}"
            remedy = remedy or varied
        found[str(fit)] = {"verdict": diagnosis.verdict, "why": why}
        if diagnosis.verdict != "good":
            print(f"{fit}: {diagnosis.verdict}: {why}.")
        if remedy:
            parameter = f"recipes.{paths.recipe}.{remedy.parameter}"
            found[str(fit)] |= {"parameter": parameter, "try": remedy.value}
            print(f"  In params.yaml, try {parameter}: {remedy.value}")
    write_json(paths.result("evaluate", "diagnosis.json"), found)


def to_try(diagnosis: Diagnosis, fit: str, rates: list[float]) -> Remedy | None:
    """Name the parameter of a fit's section to change, and a value for it, if one is.

    Args:
        diagnosis: of the fit.
        fit: its name, and its section's.
        rates: the largest learning rate of each parameter group.
    """
    if diagnosis.epochs is not None:
        return Remedy(f"{fit}.epochs", diagnosis.epochs)
    if diagnosis.factor is None:
        return None
    scaled = [float(f"{rate * diagnosis.factor:.1e}") for rate in rates]
    return Remedy(f"{fit}.lr", scaled if len(set(scaled)) > 1 else scaled[0])
