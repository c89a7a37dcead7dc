"""Is transfer real on the samples? Each recipe with the source's body and from random weights.

    dvc repro fit_unfrozen@source_sample
    python -m benchmarks.transfer --seeds 0 1 2

Runs the sample recipes as they are in params.yaml, and again with `weights: none` and nothing
else changed, with each seed for split, initial head, shuffling and augmentation; prints error
rates, means and the difference.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

from benchmarks.samples import run_sample, sample_recipes, scratch_with_source

SAMPLES = ("pets_sample", "dogscats_sample", "bears_sample")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(SAMPLES))
    chosen = parser.parse_args()
    recipes = sample_recipes()
    with scratch_with_source() as scratch:
        for name in chosen.recipes:
            errors: dict[str, list[float]] = {"transfer": [], "random": []}
            for seed in chosen.seeds:
                for kind, found in errors.items():
                    found.append(error(scratch, name, recipes[name], seed, kind))
                    print(name, seed, kind, round(found[-1], 4), flush=True)
            means = {kind: round(mean(found), 4) for kind, found in errors.items()}
            margin = round(means["random"] - means["transfer"], 4)
            print(name, json.dumps(means | {"margin": margin}), flush=True)


def error(scratch: Path, name: str, recipe: dict, seed: int, kind: str) -> float:
    """Run one recipe; return its final error rate."""
    recipe = recipe | {"seed": seed}
    if kind == "random":
        recipe["weights"] = {"source": "none", "after": "stages/weights.py"}
    return run_sample(scratch, name, recipe)["valid/error_rate"]


if __name__ == "__main__":
    main()
