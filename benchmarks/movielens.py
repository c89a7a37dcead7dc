"""Fit MovieLens 100k with Thaw, and side by side with fastai, on the same splits.

    python benchmarks/movielens.py --archive ml-100k.zip --seeds 0 1 2 3 4
    python benchmarks/movielens.py --archive ml-100k.zip --seeds 42 1 \
        --fastai-python fastai-env/bin/python

Thaw's stages run in a temporary folder, fastai in an environment of its own (see
fastai_images.py) on the very items table that `split` wrote. The times are of the fits alone,
validation after each epoch included; reading the data and imports are left out on both sides.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("download", "untar", "split", "lr_find", "fit", "evaluate")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True, help="ml-100k.zip")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of split and training")
    parser.add_argument("--fastai-python", type=Path, help="its environment's python; none: skip")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="Thaw's; fastai takes torch's own")
    parser.add_argument(
        "--fastai-threads", type=int, help="fastai's (default: torch's own, all cores)"
    )
    return parser.parse_args()


def recipe(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the lesson's recipe: 50 factors with biases, weight decay 0.1."""
    return {
        "seed": seed,
        "threads": args.threads,
        "precision": "fp32",
        "data": {"folder": "ml-100k"},
        "model": {"factors": 50, "bias": True, "y_range": [0.0, 5.5]},
        "download": {"url": str(args.archive.resolve())},
        "untar": {},
        "split": {"label": {"rule": "ratings"}, "by": {"rule": "random", "valid": 0.2}},
        "lr_find": {"steps": 0},
        "fit": {
            "epochs": args.epochs,
            "lr": 5e-3,
            "batch_size": args.batch,
            "weight_decay": 0.1,
        },
    }


def run_thaw(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, float]:
    """Run every stage; return errors and seconds of the fit."""
    text = json.dumps({"recipes": {"ml": recipe(args, seed)}})
    (folder / "params.yaml").write_text(text)
    for stage in STAGES:
        subprocess.run(
            [sys.executable, "-m", "stages", stage, "ml"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    results = folder / "results/ml"
    metrics = json.loads((results / "evaluate/metrics.json").read_text())
    timing = json.loads((results / "fit/timing.json").read_text())
    errors = {name: metrics[f"valid/{name}"] for name in ("mse", "rmse", "mae")}
    return errors | {"seconds": timing["fit_seconds"]}


def run_fastai(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, float]:
    """Fit fastai's model on the split that Thaw has made."""
    items = folder / "items.csv"
    pd.read_parquet(folder / "data/ml/items.parquet").to_csv(items, index=False)
    command = [
        str(args.fastai_python.absolute()), str(ROOT / "benchmarks/fastai_movielens.py"),
        "--items", str(items), "--seed", str(seed),
        "--epochs", str(args.epochs), "--batch", str(args.batch),
    ]  # fmt: skip
    if args.fastai_threads is not None:
        command += ["--threads", str(args.fastai_threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a line for each seed, and the means."""
    args = arguments()
    ours, theirs = [], []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as name:
            ours.append(run_thaw(args, seed, Path(name)))
            line = "  ".join(f"{key} {value:.4f}" for key, value in ours[-1].items())
            if args.fastai_python:
                theirs.append(run_fastai(args, seed, Path(name)))
                ratio = theirs[-1]["seconds"] / ours[-1]["seconds"]
                line += f"  fastai: mse {theirs[-1]['mse']:.4f}  seconds "
                line += f"{theirs[-1]['seconds']:.2f}  ratio {ratio:.1f}"
            print(f"seed {seed}: {line}", flush=True)
    for name, runs in (("thaw", ours), ("fastai", theirs)):
        if runs:
            errors = [run["mse"] for run in runs]
            spread = f" ± {stdev(errors) / len(errors) ** 0.5:.4f}" if len(errors) > 1 else ""
            seconds = mean(run["seconds"] for run in runs)
            print(f"{name}: mean mse {mean(errors):.4f}{spread}, {seconds:.2f} s")


if __name__ == "__main__":
    main()
