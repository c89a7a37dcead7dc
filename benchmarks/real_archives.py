"""Results on real archives, by fold or by seed, beside a logistic regression on the same features.

    python -m benchmarks.real_archives pets --archives ARCHIVES --weights WEIGHTS.pth
    python -m benchmarks.real_archives dogscats --fixed …       # the archive's own split
    python -m benchmarks.real_archives bears --set fit_frozen.epochs=36 …
    python -m benchmarks.real_archives pascal --seeds 0 1 2 …      # the archive's own split

Runs the stages of a recipe per fold in a scratch folder, as a flow does, without their imports.
Prints a line per fold, then means with standard errors as JSON. The logistic regression sees the
frozen body's pooled features of the unaugmented images, standardised; its strength is chosen by
cross-validation inside the training part of each fold. Pascal has no such baseline here.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from benchmarks.warm_stages import warm_stages

ROOT = Path(__file__).parents[1]
STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold", "evaluate",
)  # fmt: skip
TRAINING = STAGES[5:9]
Run = Callable[[Path, str, str], None]
LESSONS_SWEEP = np.linspace(0.05, 0.95, 29)
STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]
PREDICT = """
import sys; from pathlib import Path; import numpy as np
from stages.common.paths import Paths; from stages.recipe import read_params
from stages.fit_frozen import Params; from stages.training import open_training
from thaw.vision.features import compute_features; from thaw.training.model import load_weights
recipe, target = sys.argv[1:]
opened = open_training(read_params(recipe, Params), Paths(recipe), "fit_frozen")
load_weights(Paths(recipe).pretrained, opened.network.body)
parts = {}
for name, images in (("train", opened.training), ("valid", opened.validation)):
    features = compute_features(opened.network, images, images.plain(), opened.precision, name)
    parts |= {f"{name}_x": features.numpy(), f"{name}_y": images.targets.numpy()}
np.savez(target, **parts)
"""


def main() -> None:
    """Run all folds of one archive and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=["pets", "dogscats", "bears", "pascal"])
    parser.add_argument("--archives", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2's .pth")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="one fold alone")
    parser.add_argument("--fixed", action="store_true", help="the recipe's fixed split instead")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--set", action="append", default=[], metavar="[SECTION.]KEY=VALUE")
    parser.add_argument("--no-baseline", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, warm_stages() as run:
        fixed = chosen.fixed or chosen.recipe == "pascal"
        folds: Sequence[int | None] = [None] if fixed else range(chosen.folds)
        if chosen.only is not None:
            folds = [chosen.only]
        cases = [(seed, fold) for seed in chosen.seeds for fold in folds]
        rows = [run_fold(Path(scratch), run, chosen, *case) for case in cases]
    print(json.dumps(summary(rows), indent=2))


def run_fold(
    scratch: Path, run: Run, chosen: argparse.Namespace, seed: int, fold: int | None
) -> dict[str, float]:
    """Run the recipe on one fold, and the baseline; return what was measured."""
    recipe = recipe_of(chosen, seed, fold)
    with (scratch / "params.yaml").open("w") as file:
        YAML().dump({"recipes": {chosen.recipe: recipe}}, file)
    wall = time.perf_counter()
    for stage in STAGES:
        run(scratch, stage, chosen.recipe)
    wall = time.perf_counter() - wall
    results = scratch / "results" / chosen.recipe
    row = measured(results, chosen.recipe) | {
        "training_seconds": sum(read(results / s / "timing.json")["seconds"] for s in TRAINING),
        "wall_seconds": wall,
    }
    if not (chosen.no_baseline or chosen.recipe == "pascal"):
        python(scratch, "-c", PREDICT, chosen.recipe, str(scratch / "features.npz"))
        row["logistic_error"] = logistic_regression(scratch / "features.npz")
    print(seed, fold, {name: round(value, 4) for name, value in row.items()}, flush=True)
    return row


def measured(results: Path, recipe: str) -> dict[str, float]:
    """Read the metrics that a recipe is judged by."""
    metrics = read(results / "evaluate" / "metrics.json")
    if recipe == "pascal":
        curve = pd.read_csv(results / "threshold" / "curve.csv")
        lessons = curve["threshold"].round(6).isin(LESSONS_SWEEP.round(6))
        return {
            "mean_average_precision": metrics["valid/mean_average_precision"],
            "best_accuracy_multi": float(curve.loc[lessons, "accuracy_multi"].max()),
        }
    history = pd.read_csv(results / "fit_frozen" / "history.csv")
    return {
        "error": metrics["valid/error_rate"],
        "frozen_error": float(history["error_rate"].iloc[-1]),
    }


def recipe_of(chosen: argparse.Namespace, seed: int, fold: int | None) -> dict[str, Any]:
    """Take the recipe that the realdata tests run, on this fold."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from real_recipes import real_recipe

    recipe = real_recipe(chosen.recipe, chosen.archives.resolve(), chosen.weights.resolve())
    recipe["seed"] = seed
    if fold is not None:
        recipe["split"]["by"] = {
            "rule": "folds", "of": "stratified", "folds": chosen.folds, "fold": fold,
        }  # fmt: skip
    for change in chosen.set:
        path, text = change.split("=", 1)
        section, _, key = path.partition(".")
        value = YAML(typ="safe", pure=True).load(text)
        recipe[section] = recipe[section] | {key: value} if key else value
    return recipe


def logistic_regression(file: Path) -> float:
    """Return the error rate of a cross-validated logistic regression on frozen features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    data = np.load(file)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    search = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, cv=3)
    with threadpool_limits(1):  # small matrices: threads only wait for each other
        search.fit(data["train_x"], data["train_y"])
    return float((search.predict(data["valid_x"]) != data["valid_y"]).mean())


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return mean and standard error over the folds of each measure."""
    return {
        name: {
            "mean": round(mean(row[name] for row in rows), 4),
            "se": round(stdev([row[name] for row in rows]) / len(rows) ** 0.5, 4)
            if len(rows) > 1
            else None,
        }
        for name in rows[0]
    }


def python(folder: Path, *arguments: str) -> None:
    """Run Python on this project in another folder."""
    subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "true"},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def read(file: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(file.read_text())


if __name__ == "__main__":
    main()
