"""What a held-out person costs: the head-pose sample by person, and at random, side by side.

    dvc repro fit_unfrozen@source_sample
    python -m benchmarks.held_out_person --persons 02 05 07

Runs biwi_sample once for each held-out person, and as often with as many images held out at
random (seeds 0, 1, 2, …); prints mean errors in pixels of the originals, and their ratio.
"""

import argparse
from pathlib import Path
from statistics import mean

from benchmarks.samples import run_sample, sample_recipes, scratch_with_source

RECIPE = "biwi_sample"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", nargs="+", default=["02", "05", "07"])
    chosen = parser.parse_args()
    with scratch_with_source() as scratch:
        by_person, at_random = [], []
        for seed, person in enumerate(chosen.persons):
            group = {"rule": "group", "column": "folder", "valid": [person]}
            by_person.append(pixels(scratch, seed, group))
            at_random.append(pixels(scratch, seed, {"rule": "random", "valid": 0.125}))
            print(
                f"person {person}: {by_person[-1]:.2f}, at random: {at_random[-1]:.2f}", flush=True
            )
    ratio = mean(by_person) / mean(at_random)
    print(f"mean: {mean(by_person):.2f}, at random: {mean(at_random):.2f}, ratio {ratio:.2f}")


def pixels(scratch: Path, seed: int, by: dict) -> float:
    """Run the recipe with one split; return the mean error in pixels."""
    recipe = sample_recipes()[RECIPE] | {"seed": seed}
    recipe["split"] = recipe["split"] | {"by": by}
    return run_sample(scratch, RECIPE, recipe)["valid/mean_pixels"]


if __name__ == "__main__":
    main()
