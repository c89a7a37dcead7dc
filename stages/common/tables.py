"""The tables that fits and LR tests leave in results/."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import pandas as pd

from stages.common.paths import Paths
from thaw.core.files import read_json, write_csv, write_json
from thaw.training.lr_curve import Curve, Suggestion
from thaw.training.schedule import GROUPS

if TYPE_CHECKING:
    from thaw.training.fit import History


def write_history(history: "History", metrics: Sequence[str], paths: Paths, stage: str) -> None:
    """Write history.csv, a row per epoch, and batches.csv, a row per step."""
    epoch_columns = ["epoch", "train_loss", "valid_loss", *metrics, "lr"]
    epochs = pd.DataFrame(history.epochs, columns=epoch_columns)
    steps = pd.DataFrame(history.steps, columns=["step", "loss", "lr", "momentum"])
    write_csv(paths.result(stage, "history.csv"), epochs)
    write_csv(paths.result(stage, "batches.csv"), steps)


def parts_row(history: "History") -> dict[str, float]:
    """Return train_parts, in how many parts batches went, if not at once."""
    return {"train_parts": history.parts} if history.parts > 1 else {}


def write_fit_metrics(
    last: dict[str, float],
    lrs: Sequence[float],
    items: int,
    paths: Paths,
    stage: str,
    groups: Sequence[str] = GROUPS,
) -> None:
    """Write metrics.json: the last epoch's row, the largest rate per group, and the item count."""
    metrics: dict[str, float] = {"train/items": items}
    for name, value in last.items():
        if name.startswith("train_"):
            metrics[f"train/{name.removeprefix('train_')}"] = value
        elif name not in ("epoch", "lr"):
            metrics[f"valid/{name.removeprefix('valid_')}"] = value
    metrics |= {f"lr/{group}": lr for group, lr in zip(groups, lrs, strict=True)}
    write_json(paths.result(stage, "metrics.json"), metrics)


def write_epochs(paths: Paths, fits: Sequence[str]) -> None:
    """Write epochs.csv: the fits' histories below each other, with each group's largest rate."""
    tables = []
    for fit in fits:
        history = pd.read_csv(paths.result(fit, "history.csv")).drop(columns="lr")
        metrics = read_json(paths.result(fit, "metrics.json")).items()
        rates = {name.replace("/", "_"): lr for name, lr in metrics if name.startswith("lr/")}
        first = pd.DataFrame({"fit": fit, **rates}, index=history.index)
        tables.append(pd.concat([first, history], axis=1))
    write_csv(paths.epochs, pd.concat(tables, ignore_index=True))


def write_lr_test(curve: Curve, suggestion: Suggestion, paths: Paths, stage: str) -> None:
    """Write curve.csv and suggestion.json."""
    table = pd.DataFrame(asdict(curve), columns=["lr", "loss", "smoothed"])
    write_csv(paths.result(stage, "curve.csv"), table)
    write_json(paths.result(stage, "suggestion.json"), asdict(suggestion))
    if suggestion.chosen is None:
        print(f"no learning rate suggested: {suggestion.reason}")
    else:
        print(
            f"learning rates: valley {suggestion.valley:.2e}, steepest {suggestion.steepest:.2e}, "
            f"minimum/10 {suggestion.minimum:.2e}; chosen {suggestion.chosen:.2e}"
        )
