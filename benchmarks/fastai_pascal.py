"""Train the pascal recipe with fastai, for side-by-side measurements.

Runs in an environment of its own (see fastai_images.py):

    fastai-env/bin/python benchmarks/fastai_pascal.py --folder pascal_2007 \
        --weights mobilenet_v2-1efb22c2.pth

The recipe is the lesson's: `RandomResizedCrop(128, min_scale=0.35)`, `fine_tune(3, 3e-3,
freeze_epochs=4)`. The body is torchvision's mobilenet_v2 with the weights of a file. Prints one
JSON object.
"""

import argparse
import json
import time
from pathlib import Path

import fastai
import numpy as np
import pandas as pd
import torch
from fastai.data.block import DataBlock, MultiCategoryBlock
from fastai.data.transforms import ColReader, ColSplitter
from fastai.torch_core import set_seed
from fastai.vision.augment import RandomResizedCrop
from fastai.vision.data import ImageBlock
from fastai_images import learner
from sklearn.metrics import average_precision_score

SWEEP = np.linspace(0.05, 0.95, 29)


def main() -> None:
    """Train once and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="with train/ and train.csv")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2 state dict")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--frozen", type=int, default=4)
    parser.add_argument("--unfrozen", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    set_seed(args.seed)
    table = pd.read_csv(args.folder / "train.csv", keep_default_na=False)
    block = DataBlock(
        blocks=(ImageBlock, MultiCategoryBlock),
        splitter=ColSplitter(),
        get_x=ColReader("fname", pref=f"{args.folder}/train/"),
        get_y=ColReader("labels", label_delim=" "),
        item_tfms=RandomResizedCrop(args.side, min_scale=0.35),
    )
    learn = learner(block.dataloaders(table, bs=64), args.weights)
    started = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(args.unfrozen, 3e-3, freeze_epochs=args.frozen)
    seconds = time.perf_counter() - started
    with learn.no_bar(), learn.no_logging():
        probabilities, targets = (part.numpy() for part in learn.get_preds())
    accuracy = [float(((probabilities > t) == targets).mean()) for t in SWEEP]
    print(
        json.dumps(
            {
                "mean_average_precision": average_precision_score(targets, probabilities),
                "best_accuracy_multi": max(accuracy),
                "best_threshold": float(SWEEP[int(np.argmax(accuracy))]),
                "accuracy_multi_at_0.2": float(((probabilities > 0.2) == targets).mean()),
                "seconds": round(seconds, 2),
                "threads": torch.get_num_threads(),
                "fastai": fastai.__version__,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
