"""Train on images with fastai and with Thaw in turn: seconds of each phase, ratios, error rates.

    python -m benchmarks.images_beside_fastai pets --archives ARCHIVES --weights mobilenet_v2.pth
    python -m benchmarks.images_beside_fastai resnet34 --archives ARCHIVES

The same images, weights, split, batch size of 64 and epochs: frozen ones, then one unfrozen. `pets`
is mobilenet_v2 at 160 px, `resnet34` that at 224 px with random weights (there, only seconds tell).
fastai as it comes, with the batch norms fixed, and in its best setting; its loaders have as many
worker processes as it chooses. Thaw as a flow runs it, its stages forked off a warm worker: with a
fresh view of each image every epoch, and with one cached view. Imports are left out on both sides,
and so is fastai's making of its learner. Thaw's frozen seconds are those of the whole stage, files
included, its unfrozen ones those of the epoch, as fastai's are; its whole stage is printed as well.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision

from benchmarks import fastai_env
from benchmarks.warm_stages import warm_stages

ROOT = Path(__file__).parents[1]
BATCH = 64
FRESH, CACHED = "Thaw, fresh views", "Thaw, one cached view"
# Options of fastai_images.py for fastai in its usual settings; its best are the work's own.
SETTINGS = {"fastai as it comes": [], "fastai, batch norms fixed": ["--freeze-bn"]}
Run = Callable[[Path, str, str], None]
PREPARING = ("download", "untar", "weights", "split", "pack", "lr_frozen")


@dataclass(frozen=True)
class Work:
    """What both have to do.

    Attributes:
        arch: torchvision's name.
        side: of the model's images, in pixels.
        presize: of the decoded ones.
        frozen: epochs.
        best: the options of fastai that make it fastest.
    """

    arch: str
    side: int
    presize: int
    frozen: int
    best: list[str]


WORKS = {
    "pets": Work("mobilenet_v2", 160, 182, 3, ["--freeze-bn", "--channels-last"]),
    "resnet34": Work("resnet34", 224, 256, 1, ["--freeze-bn", "--channels-last", "--bf16"]),
}


def main() -> None:
    """Run rounds, a seed each, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--archives", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--weights", type=Path, help="mobilenet_v2's .pth")
    parser.add_argument("--fastai", type=Path, default=Path("fastai-env"), help="its environment")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    python = fastai_env.install(chosen.fastai)
    with tempfile.TemporaryDirectory() as name, warm_stages() as run:
        weights = (chosen.weights or random_weights(Path(name), chosen.work)).resolve()
        rows = [
            one_round(seed, WORKS[chosen.work], chosen.archives, weights, python, run)
            for seed in range(chosen.rounds)
        ]
    show(rows)


def random_weights(folder: Path, arch: str) -> Path:
    """Write weights that nobody trained."""
    torch.manual_seed(0)
    file = folder / f"{arch}.pth"
    torch.save(torchvision.models.get_model(arch, weights=None).state_dict(), file)
    return file


def one_round(
    seed: int, work: Work, archives: Path, weights: Path, python: Path, run_stage: Run
) -> dict[str, dict[str, float]]:
    """Train in every way with one seed; return seconds and error rates by way."""
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = functools.partial(run_stage, folder, recipe="pets")
        write_recipe(folder, recipe(work, archives, weights, seed, views=work.frozen))
        for stage in PREPARING:
            run(stage)
        rows[FRESH] = fitted(folder, run)
        write_recipe(folder, recipe(work, archives, weights, seed, views=1))
        run("lr_frozen")
        shutil.rmtree(folder / ".thaw/features")  # or the view would be there already
        rows[CACHED] = fitted(folder, run)
        rows[CACHED]["frozen, with packing"] = rows[CACHED]["frozen"] + seconds(folder, "pack")
        for way, options in {**SETTINGS, "fastai, its best": work.best}.items():
            rows[way] = run_fastai(folder, work, weights, seed, python, options)
    for way, row in rows.items():
        print(seed, way, {key: round(value, 3) for key, value in row.items()}, flush=True)
    return rows


def recipe(work: Work, archives: Path, weights: Path, seed: int, views: int) -> dict[str, Any]:
    """Return the pets recipe of the realdata tests with this work's epochs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from real_recipes import real_recipe

    return real_recipe("pets", archives.resolve(), weights) | {
        "seed": seed,
        "threads": os.cpu_count(),
        "data": {"folder": "oxford-iiit-pet/images", "presize": work.presize, "max_bad": 0.0},
        "model": {"arch": work.arch, "train_bn": False},
        "augment": {"image_side": work.side, "views": views},
        "lr_frozen": {"steps": 0},
        "fit_frozen": {"epochs": work.frozen, "lr": 3e-3, "batch_size": BATCH},
        "fit_unfrozen": {"epochs": 1, "lr": [1e-5, 1e-4], "batch_size": BATCH},
    }


def write_recipe(folder: Path, values: dict[str, Any]) -> None:
    """Write it as the only one of a params.yaml."""
    (folder / "params.yaml").write_text(json.dumps({"recipes": {"pets": values}}))


def fitted(folder: Path, run: Callable[[str], None]) -> dict[str, float]:
    """Run both fits; return their seconds, and the error rate after each."""
    row = {}
    for phase in ("frozen", "unfrozen"):
        run(f"fit_{phase}")
        row[f"{phase} stage"] = row[phase] = seconds(folder, f"fit_{phase}")
        if phase == "unfrozen":
            row[phase] = seconds(folder, f"fit_{phase}", "seconds_per_epoch")
        metrics = json.loads((folder / f"results/pets/fit_{phase}/metrics.json").read_text())
        row[f"error, {phase}"] = metrics["valid/error_rate"]
        if phase == "frozen":
            run("lr_unfrozen")
    return row


def seconds(folder: Path, stage: str, name: str = "seconds") -> float:
    """Return how long a stage took by its own watch, or one of its epochs."""
    return json.loads((folder / f"results/pets/{stage}/timing.json").read_text())[name]


def run_fastai(
    folder: Path, work: Work, weights: Path, seed: int, python: Path, options: list[str]
) -> dict[str, float]:
    """Run fastai on the split that Thaw made; return its seconds and errors."""
    told = fastai_env.run(python, "fastai_images.py", [
        "--items", f"{folder}/data/pets/items.parquet",
        "--images", f"{folder}/data/pets/raw/oxford-iiit-pet/images",
        "--arch", work.arch, "--weights", str(weights), "--side", str(work.side),
        "--frozen", str(work.frozen), "--unfrozen", "1", "--batch", str(BATCH),
        "--seed", str(seed), *options,
    ])  # fmt: skip
    frozen, unfrozen = (told["history"][epoch] for epoch in (work.frozen - 1, work.frozen))
    return {
        "frozen": frozen["seconds"],
        "error, frozen": frozen["error_rate"],
        "unfrozen": unfrozen["seconds"] - frozen["seconds"],
        "error, unfrozen": unfrozen["error_rate"],
    }


def show(rounds: list[dict[str, dict[str, float]]]) -> None:
    """Print medians of all rounds, the least and the most, and the ratios of the medians."""

    def found(way: str, measure: str) -> list[float]:
        return [one[way][measure] for one in rounds]

    theirs = [way for way in rounds[0] if way.startswith("fastai")]
    for phase in ("frozen", "unfrozen"):
        print(f"\n{phase}")
        for way in rounds[0]:
            times, errors = found(way, phase), found(way, f"error, {phase}")
            print(
                f"{way:27} {statistics.median(times):7.2f} s ({min(times):.2f} to {max(times):.2f})"
                f"  error {statistics.mean(errors):.3f}"
            )
        ours = (
            {FRESH: phase}
            if phase == "unfrozen"
            else {FRESH: phase, CACHED: f"{phase}, with packing"}
        )
        for mine, measure in ours.items():
            for way in theirs:
                print(f"{ratio_text(found(way, phase), found(mine, measure))}: {way} / {mine}")


def ratio_text(theirs: list[float], ours: list[float]) -> str:
    """State the ratio of medians, and those of single rounds."""
    single = [one / other for one, other in zip(theirs, ours, strict=True)]
    ratio = statistics.median(theirs) / statistics.median(ours)
    return f"ratio {ratio:.1f} ({min(single):.1f} to {max(single):.1f})"


if __name__ == "__main__":
    main()
