"""Do the samples show a mistake? Each recipe as it is, and again with one thing broken.

    dvc repro fit_unfrozen@source_sample
    python -m benchmarks.broken_samples --seeds 0 1 2

Runs the sample recipes as they are in params.yaml, and with nothing else changed: with training
images under one another's labels; with training images turned by a quarter while validation sees
them upright, as an augmentation does that swaps x and y; with colours that only training has
inverted; and with a head that never learned. Prints error rates, and their means over the seeds.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd

from benchmarks.real_archives import ROOT, STAGES, python, read
from benchmarks.samples import sample_recipes, scratch_with_source, write_params
from stages.common.paths import SCRATCH, Paths

RECIPES = ("pets_sample", "dogscats_sample", "bears_sample")
PREPARED = ("download", "untar", "weights", "split", "pack")
TRAINED = tuple(stage for stage in STAGES if stage not in (*PREPARED, "threshold"))
# Run in place of `python -m stages`: training's random views are all turned or relit.
BROKEN = """
import sys, torch, stages.command, thaw.training.batches as batches
random_view = batches.random_view
def broken(*arguments):
    view = random_view(*arguments)
    {change}
    return view
batches.random_view = broken
sys.exit(stages.command.main(sys.argv[1:]))
"""
CHANGES = {
    "turned": "view.matrices[:, :2] = view.matrices[:, [1, 0]]",
    "inverted": "view.lighting[:, 1] *= -1",
}
BREAKAGES = ("labels", *CHANGES, "unlearned")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--wrong", type=float, default=1.0, help="share of labels that are swapped")
    parser.add_argument("--broken", nargs="+", choices=BREAKAGES, default=BREAKAGES)
    chosen = parser.parse_args()
    for recipe in chosen.recipes:
        rows = [errors(ROOT, recipe, seed, chosen.broken, chosen.wrong) for seed in chosen.seeds]
        for seed, row in zip(chosen.seeds, rows, strict=True):
            print(recipe, seed, {name: round(value, 3) for name, value in row.items()})
        means = {name: round(mean(row[name] for row in rows), 3) for name in rows[0]}
        print(recipe, "mean", means, flush=True)


def errors(
    project: Path,
    recipe: str,
    seed: int,
    breakages: Sequence[str] = BREAKAGES,
    wrong: float = 1.0,
) -> dict[str, float]:
    """Return the error rates of one recipe, as it is and with each breakage.

    Args:
        project: where the source's model is.
        recipe: one of `RECIPES`.
        seed: for everything.
        breakages: some of `BREAKAGES`.
        wrong: the share of training images that swap their labels.
    """
    values = sample_recipes()[recipe] | {"seed": seed}
    with scratch_with_source(project) as scratch:
        write_params(scratch, recipe, values)
        for stage in PREPARED:
            python(scratch, "-m", "stages", stage, recipe)
        found = {"as it is": trained_error(scratch, recipe, ["-m", "stages"])}
        for breakage in breakages:
            items = (scratch / Paths(recipe).items).read_bytes()
            how = ["-m", "stages"]
            if breakage == "labels":
                swap_labels(scratch / Paths(recipe).items, wrong, seed)
            elif breakage == "unlearned":
                write_params(scratch, recipe, unlearned(values))
            else:
                how = ["-c", BROKEN.format(change=CHANGES[breakage])]
            found[breakage] = trained_error(scratch, recipe, how)
            (scratch / Paths(recipe).items).write_bytes(items)
            write_params(scratch, recipe, values)
    return found


def trained_error(folder: Path, recipe: str, command: Sequence[str]) -> float:
    """Train and evaluate what is prepared; return the error rate."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)  # features that were computed unbroken
    for stage in TRAINED:
        python(folder, *command, stage, recipe)
    return read(folder / Paths(recipe).result("evaluate", "metrics.json"))["valid/error_rate"]


def swap_labels(items: Path, share: float, seed: int) -> None:
    """Give a share of the training items one another's labels."""
    table = pd.read_parquet(items)
    random = np.random.default_rng(seed)
    training = np.flatnonzero(table["split"] == "train")
    some = random.choice(training, round(share * len(training)), replace=False)
    for column in ("label", "target"):
        values = table[column].to_numpy().copy()
        values[some] = values[np.roll(some, 1)]
        table[column] = values
    table.to_parquet(items)


def unlearned(values: dict) -> dict:
    """Return a recipe whose fits take steps too small to learn anything."""
    still = {"epochs": 1, "lr": 1e-9}
    return values | {name: values[name] | still for name in ("fit_frozen", "fit_unfrozen")}


if __name__ == "__main__":
    sys.exit(main())
