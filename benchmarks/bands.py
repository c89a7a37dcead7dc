"""What further bands tell: the sample of five bands, and its first three alone.

    dvc repro fit_unfrozen@source_sample
    python -m benchmarks.bands --seeds 42 0

Runs bands_sample as it is in params.yaml, and with the first of an item's files alone and nothing
else changed, with each seed for split, initial head, shuffling and augmentation; prints errors.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from statistics import mean

from ruamel.yaml import YAML

from benchmarks.real_archives import ROOT, STAGES, python, read

RECIPE, SOURCE = "bands_sample", Path("models", "source_sample")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 0])
    chosen = parser.parse_args()
    found: dict[int, list[float]] = {5: [], 3: []}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / SOURCE).mkdir(parents=True)
        for file in ("model.safetensors", "model.json"):
            shutil.copy(ROOT / SOURCE / file, scratch / SOURCE / file)
        for seed in chosen.seeds:
            for channels, errors in found.items():
                errors.append(error(scratch, seed, channels))
                print(f"seed {seed}, {channels} channels: {errors[-1]:.3f}", flush=True)
    for channels, errors in found.items():
        print(f"{channels} channels, mean: {mean(errors):.3f}")


def error(scratch: Path, seed: int, channels: int) -> float:
    """Run the recipe with all channels, or with those of its first file; return the error rate."""
    recipes = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())["recipes"]
    recipe = recipes[RECIPE] | {"seed": seed}
    if channels == 3:
        data = recipe["data"]
        recipe["data"] = data | {"bands": data["bands"][:1], "channels": channels}
        recipe["model"] = recipe["model"] | {"channels": channels}
    with (scratch / "params.yaml").open("w") as file:
        YAML().dump({"recipes": {RECIPE: recipe}}, file)
    for stage in STAGES:
        python(scratch, "-m", "stages", stage, RECIPE)
    return read(scratch / "results" / RECIPE / "evaluate" / "metrics.json")["valid/error_rate"]


if __name__ == "__main__":
    main()
