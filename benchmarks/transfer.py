"""Is transfer real on the samples? Each recipe with the source's body and from random weights.

    dvc repro fit_unfrozen@source_sample
    python benchmarks/transfer.py --seeds 0 1 2

Runs the sample recipes as they are in params.yaml, and again with `weights: none` and nothing
else changed, with each seed for split, initial head, shuffling and augmentation; prints error
rates, means and the difference.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SAMPLES = ("pets_sample", "dogscats_sample", "bears_sample")
STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "evaluate",
)  # fmt: skip
SOURCE = Path("models", "source_sample")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(SAMPLES))
    chosen = parser.parse_args()
    recipes = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())["recipes"]
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / SOURCE).mkdir(parents=True)
        for file in ("model.safetensors", "model.json"):
            shutil.copy(ROOT / SOURCE / file, Path(scratch) / SOURCE / file)
        for name in chosen.recipes:
            errors: dict[str, list[float]] = {"transfer": [], "random": []}
            for seed in chosen.seeds:
                for kind, found in errors.items():
                    found.append(error(Path(scratch), name, recipes[name], seed, kind))
                    print(name, seed, kind, round(found[-1], 4), flush=True)
            means = {kind: round(mean(found), 4) for kind, found in errors.items()}
            margin = round(means["random"] - means["transfer"], 4)
            print(name, json.dumps(means | {"margin": margin}), flush=True)


def error(scratch: Path, name: str, recipe: dict, seed: int, kind: str) -> float:
    """Run one recipe; return its final error rate."""
    recipe = recipe | {"seed": seed}
    if kind == "random":
        recipe["weights"] = {"source": "none", "after": "stages/weights.py"}
    with (scratch / "params.yaml").open("w") as file:
        YAML().dump({"recipes": {name: recipe}}, file)
    for stage in STAGES:
        subprocess.run(
            [sys.executable, "-m", "stages", stage, name],
            cwd=scratch,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    metrics = json.loads((scratch / "results" / name / "evaluate" / "metrics.json").read_text())
    return metrics["valid/error_rate"]


if __name__ == "__main__":
    main()
