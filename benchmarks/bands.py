"""What further bands tell: the sample of five bands, and its first three alone.

    dvc repro fit_unfrozen@source_sample
    python -m benchmarks.bands --seeds 42 0

Runs bands_sample as it is in params.yaml, and with the first of an item's files alone and nothing
else changed, with each seed for split, initial head, shuffling and augmentation; prints errors.
"""

import argparse
from pathlib import Path
from statistics import mean

from benchmarks.samples import run_sample, sample_recipes, scratch_with_source

RECIPE = "bands_sample"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 0])
    chosen = parser.parse_args()
    found: dict[int, list[float]] = {5: [], 3: []}
    with scratch_with_source() as scratch:
        for seed in chosen.seeds:
            for channels, errors in found.items():
                errors.append(error(scratch, seed, channels))
                print(f"seed {seed}, {channels} channels: {errors[-1]:.3f}", flush=True)
    for channels, errors in found.items():
        print(f"{channels} channels, mean: {mean(errors):.3f}")


def error(scratch: Path, seed: int, channels: int) -> float:
    """Run the recipe with all channels, or with those of its first file; return the error rate."""
    recipe = sample_recipes()[RECIPE] | {"seed": seed}
    if channels == 3:
        data = recipe["data"]
        recipe["data"] = data | {"bands": data["bands"][:1], "channels": channels}
        recipe["model"] = recipe["model"] | {"channels": channels}
    return run_sample(scratch, RECIPE, recipe)["valid/error_rate"]


if __name__ == "__main__":
    main()
