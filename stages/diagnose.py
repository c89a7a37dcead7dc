"""A verdict on each fit, from the histories: part of `evaluate`."""

from typing import Any

import pandas as pd

from stages.common.paths import Paths
from thaw.chance import chance_of, error_of, noise_of
from thaw.core.files import write_json
from thaw.diagnosis import Curve, Diagnosis, diagnose

NOT_METRICS = ("fit", "epoch", "train_loss", "valid_loss", "largest_lr")
TELLING = "mean_average_precision"  # what accuracies of several labels hide behind their negatives


def diagnose_fits(predictions: pd.DataFrame, vocab: Any, paths: Paths) -> None:
    """Write diagnosis.json, an entry per fit, and say what is not as it should be."""
    epochs = pd.read_csv(paths.epochs)
    metrics = [name for name in epochs if name not in NOT_METRICS and epochs[name].notna().all()]
    metric = TELLING if TELLING in metrics else [*metrics, "valid_loss"][0]
    chance = chance_of(metric, predictions, vocab)
    found = {}
    for fit, rows in epochs.groupby("fit", sort=False):
        errors = [error_of(metric, value) for value in rows[metric]]
        noise = noise_of(metric, min(errors), len(predictions))
        losses = rows["train_loss"].to_list(), rows["valid_loss"].to_list()
        curve = Curve(*losses, errors, noise)
        diagnosis = diagnose(curve, chance)
        entry = advice(diagnosis, f"recipes.{paths.recipe}.{fit}", rows["largest_lr"].iloc[-1])
        found[str(fit)] = {"metric": metric, **entry}
        if "parameter" in entry:
            print(f"{fit}: {diagnosis.verdict}: {diagnosis.why}.")
            print(f"  In params.yaml, try {entry['parameter']}: {entry['try']}")
    write_json(paths.result("evaluate", "diagnosis.json"), found)


def advice(diagnosis: Diagnosis, section: str, largest_lr: float) -> dict[str, Any]:
    """Turn a diagnosis into parameters of params.yaml and values to try."""
    entry: dict[str, Any] = {"verdict": diagnosis.verdict, "why": diagnosis.why}
    if diagnosis.knob is None:
        return entry
    rate = largest_lr * diagnosis.factor if diagnosis.factor else None
    tried = diagnosis.epochs if rate is None else float(f"{rate:.1e}")
    return entry | {"parameter": f"{section}.{diagnosis.knob}", "try": tried}
