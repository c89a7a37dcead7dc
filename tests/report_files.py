"""What the stages of a recipe of each kind leave for its report, without training anything."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages import evaluate, threshold
from stages.common.paths import Paths
from thaw.core.files import write_csv, write_json, write_parquet
from thaw.params.split import FolderLabel, RandomSplit, Split
from thaw.params.threshold import Threshold

VALID = 24
HOSTILE = "<script>alert(1)</script>"
CLASSES = [HOSTILE, "007", "None"]
EPOCHS = 3
CHOSEN = 2e-3
RECIPE: dict[str, Any] = {
    "seed": 1,
    "threads": 1,
    "precision": "fp32",
    "split": {"label": {"rule": "regex", "pattern": "<b>(.+)</b>"}, "by": {"valid": 0.2}},
    "threshold": {},
}
SPLIT = Split(label=FolderLabel(rule="folder"), by=RandomSplit(rule="random", valid=0.25))
METRICS = {
    "label": ["error_rate"],
    "labels": ["accuracy_multi", "mean_average_precision"],
    "points": ["mean_distance"],
    "ratings": ["rmse", "mae"],
}


def predictions_of(kind: str) -> pd.DataFrame:
    """Answers that are right more often than not."""
    draw = np.random.default_rng(3)
    rows = np.arange(VALID)
    table = pd.DataFrame({"path": [f"{row:02}.jpg" for row in rows], "split": "valid"})
    if kind == "label":
        targets = rows % 3
        logits = draw.normal(size=(VALID, 3)) + 1.5 * np.eye(3)[targets]
        return table.assign(
            label=[CLASSES[t] for t in targets], target=targets, logits=list(logits)
        )
    if kind == "labels":
        targets = np.stack([rows % 2, rows % 3 == 0, rows % 5 > 2], 1).astype(np.float32)
        logits = draw.normal(size=(VALID, 3)) + 2 * targets - 1
        return table.assign(label="", target=list(targets), logits=list(logits))
    if kind == "points":
        targets = draw.uniform(0, 40, (VALID, 2))
        away = targets + draw.normal(size=(VALID, 2))
        return table.assign(
            label="",
            target=list(targets),
            prediction=list(away),
            frame=[(0.0, 0.0, 40.0, 40.0)] * VALID,
            folder=(rows % 2).astype(str),
        )
    ratings = 1.0 + rows % 5
    return pd.DataFrame(
        {
            "user": (rows % 7).astype(str),
            "item": (rows % 4).astype(str),
            "rating": ratings,
            "prediction": ratings + draw.normal(size=VALID) / 2,
            "split": "valid",
        }
    )


def vocab_of(kind: str) -> Any:
    if kind == "ratings":
        names = [str(number) for number in range(7)]
        return {"users": names, "items": names[:4], "titles": [f"Film {n}" for n in names[:4]]}
    return [] if kind == "points" else CLASSES


def write_recipe(recipe: str, kind: str) -> None:
    """Write all that the stages before `report` leave, below the current folder."""
    paths = Paths(recipe)
    tests, fits = ("lr_find",), ("fit",)
    if kind != "ratings":
        tests, fits = ("lr_frozen", "lr_unfrozen"), ("fit_frozen", "fit_unfrozen")
    predictions = predictions_of(kind)
    write_parquet(paths.predictions, predictions)
    write_parquet(paths.items, pd.DataFrame({"split": ["valid"] * VALID}))
    write_json(paths.vocab, vocab_of(kind))
    model = {"factors": 5} if kind == "ratings" else {"arch": "resnet18"}
    about = {"task": kind, "model": model, "device": "cpu", "precision": "fp32"}
    write_json(paths.model_json, about)
    noun = "ratings" if kind == "ratings" else "items"
    counts = {"items": 96, f"train/{noun}": 72, f"valid/{noun}": VALID}
    write_json(paths.result("split", "metrics.json"), counts)
    for test in tests:
        write_lr_test(paths, test)
    tables = [write_fit(paths, fit, METRICS[kind]) for fit in fits]
    write_csv(paths.epochs, pd.concat(tables))
    evaluate.run(evaluate.Params(split=SPLIT), paths)
    if kind == "ratings":
        write_json(paths.threshold, {})
        return
    paths.packed.mkdir(exist_ok=True)
    (paths.packed / "pixels.bin").write_bytes(b"pixels")
    write_json(paths.result("pack", "metrics.json"), {"images": 96, "bytes": 1_234_567})
    threshold.run(threshold.Params(seed=1, threshold=Threshold()), paths)
    write_pictures(paths)


def write_lr_test(paths: Paths, test: str) -> None:
    rates = np.geomspace(1e-7, 10, 50)
    loss = 2 - np.exp(-((np.log10(rates) + 1) ** 2)) + (rates > 1) * rates
    curve = pd.DataFrame({"lr": rates, "loss": loss + 0.05 * np.cos(rates), "smoothed": loss})
    found = {"steepest": 1e-2, "minimum": 1e-2, "valley": CHOSEN, "rise": 0.3, "chosen": CHOSEN}
    if test == "lr_unfrozen":
        curve, found = curve[:0], dict.fromkeys(found) | {"reason": "the test was left out"}
    write_csv(paths.result(test, "curve.csv"), curve)
    write_json(paths.result(test, "suggestion.json"), {"reason": ""} | found)


def write_fit(paths: Paths, fit: str, metrics: list[str]) -> pd.DataFrame:
    steps = np.arange(12)
    batches = {"step": steps, "loss": 1.0, "lr": 1e-3 * (1 + steps), "momentum": 0.95 - steps / 99}
    write_csv(paths.result(fit, "batches.csv"), pd.DataFrame(batches))
    epochs = np.arange(EPOCHS)
    losses = {"train_loss": 2.0 / (1 + epochs), "valid_loss": 2.2 / (1 + epochs)}
    rest = dict.fromkeys(metrics, 0.5 / (1 + epochs))
    return pd.DataFrame({"fit": fit, "lr_head": 1e-3, "epoch": epochs} | losses | rest)


def write_pictures(paths: Paths) -> None:
    """A sheet of each stage, a table with a hostile name, and a picture that nobody knows."""
    for stage, name in (("look", "batch"), ("interpret", "top_losses"), ("interpret", "later")):
        file = paths.result(stage, f"pictures/{name}.jpg")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (900, 300), (200, 60, 60)).save(file)
    losses = pd.DataFrame({"path": [f"{HOSTILE}.jpg"] * 30, "loss": np.linspace(3, 1, 30)})
    write_csv(paths.result("interpret", "tables/top_losses.csv"), losses)


def results_folder(recipe: str) -> Path:
    return Path("results", recipe)
