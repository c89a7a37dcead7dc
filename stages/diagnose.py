"""A verdict on each fit, from the histories: part of `evaluate`."""

from typing import Any

import pandas as pd

from stages.common.paths import Paths
from thaw.chance import chance_of, error_name, error_of, noise_of, telling_metric
from thaw.core.files import write_json
from thaw.diagnosis import Curve, Diagnosis, diagnose

RATE = "lr_"  # begins the columns of epochs.csv with the largest rate of each parameter group


def diagnose_fits(predictions: pd.DataFrame, vocab: Any, paths: Paths) -> None:
    """Write diagnosis.json, an entry per fit, and say what is not as it should be."""
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
        remedy = to_try(diagnosis, f"recipes.{paths.recipe}.{fit}", rates)
        found[str(fit)] = {"verdict": diagnosis.verdict, "why": diagnosis.why, **remedy}
        if diagnosis.verdict != "good":
            print(f"{fit}: {diagnosis.verdict}: {diagnosis.why}.")
        if remedy:
            print(f"  In params.yaml, try {remedy['parameter']}: {remedy['try']}")
    write_json(paths.result("evaluate", "diagnosis.json"), found)


def to_try(diagnosis: Diagnosis, section: str, rates: list[float]) -> dict[str, Any]:
    """Name a parameter of params.yaml and a value for it, if one is to be changed.

    Args:
        diagnosis: of the fit.
        section: of params.yaml.
        rates: the largest learning rate of each parameter group.
    """
    if diagnosis.epochs is not None:
        return {"parameter": f"{section}.epochs", "try": diagnosis.epochs}
    if diagnosis.factor is None:
        return {}
    scaled = [float(f"{rate * diagnosis.factor:.1e}") for rate in rates]
    return {"parameter": f"{section}.lr", "try": scaled if len(set(scaled)) > 1 else scaled[0]}
