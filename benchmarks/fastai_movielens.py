"""Fit fastai's collaborative model on given ratings, for side-by-side measurements.

Runs in an environment of its own, because fastai is no dependency of this project (see
fastai_images.py); benchmarks/movielens.py starts it:

    fastai-env/bin/python benchmarks/fastai_movielens.py --items items.csv --epochs 5

The model is the lesson's `collab_learner` with `y_range=(0, 5.5)`. Prints one JSON object.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import fastai
import pandas as pd
import torch
from fastai.callback.schedule import Learner  # the import adds fit_one_cycle to it
from fastai.collab import TabularCollab, collab_learner
from fastai.data.block import TransformBlock
from fastai.tabular.core import Categorify
from fastai.torch_core import set_seed


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--items", type=Path, required=True, help="CSV with user, item, rating and split"
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--factors", type=int, default=50)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own)")
    return parser.parse_args()


def make_learner(args: argparse.Namespace) -> Learner:
    """Build fastai's loaders and its model on the given split."""
    table = pd.read_csv(args.items, dtype={"user": str, "item": str})
    splits = tuple(table.index[table["split"] == side].tolist() for side in ("train", "valid"))
    collab = TabularCollab(
        table,
        [Categorify],
        ["user", "item"],
        y_names=["rating"],
        y_block=TransformBlock(),
        splits=splits,
    )
    loaders = collab.dataloaders(bs=args.batch)
    return collab_learner(loaders, n_factors=args.factors, y_range=(0, 5.5))


def main() -> None:
    """Fit once and print what came out."""
    args = arguments()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    set_seed(args.seed)
    learn = make_learner(args)
    losses: list[float] = []

    def note(row: Any) -> None:
        losses.append(list(row)[2])

    learn.logger = note
    started = time.perf_counter()
    with learn.no_bar():
        learn.fit_one_cycle(args.epochs, args.lr, wd=args.weight_decay)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seconds": round(seconds, 3),
                "mse": losses[-1],
                "epochs": losses,
                "threads": torch.get_num_threads(),
                "fastai": fastai.__version__,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
