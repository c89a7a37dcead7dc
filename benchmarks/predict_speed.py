"""How much of the bare forward pass's speed `thaw.predict` reaches, from image files on.

    python -m benchmarks.predict_speed pets --archives ARCHIVES --weights mobilenet_v2.pth
    python -m benchmarks.predict_speed resnet34 --archives ARCHIVES

A thousand photos of the pets archive (some twice) are decoded, seen as in validation and answered,
beside the model's forward pass of as many images that are on the device already, in turn in one
process: of the model as it is, in the same precision, channels last, and of the model made quick in
the same way. The works are those of images_beside_fastai.py; the model has not been trained, which
changes no speed. Prints images per second and predict's share of them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.images_beside_fastai import WORKS, random_weights, recipe, write_recipe
from benchmarks.warm_stages import warm_stages
from stages.common.torch_setup import set_up_torch
from thaw.bands import reader
from thaw.predict import BATCH, answers
from thaw.predictor import Predictor, open_model, open_predictor
from thaw.training.precision import autocast

IMAGES = 1000
STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen",
)  # fmt: skip


def main() -> None:
    """Make the model, run both in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--archives", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--weights", type=Path, help="mobilenet_v2's .pth")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        compare(prepare(Path(name), chosen), Path(name), chosen.rounds)


def prepare(folder: Path, chosen: argparse.Namespace) -> Predictor:
    """Run the stages up to a model, with no epochs; open it."""
    work = WORKS[chosen.work]
    weights = (chosen.weights or random_weights(folder, work.arch)).resolve()
    values = recipe(work, chosen.archives, weights, seed=0, views=0)
    for phase in ("fit_frozen", "fit_unfrozen"):
        values[phase] |= {"epochs": 0}
    write_recipe(folder, values)
    with warm_stages() as run:
        for stage in STAGES:
            run(folder, stage, "pets")
    set_up_torch(values["threads"])
    return open_predictor(folder / "models/pets", IMAGES)


def compare(predictor: Predictor, folder: Path, rounds: int) -> None:
    """Answer for the files, and run the model alone, in turn."""
    files = sorted(folder.glob("data/pets/raw/oxford-iiit-pet/images/*.jpg"))
    files = (files * (IMAGES // len(files) + 1))[:IMAGES]
    as_it_is = open_model(folder / "models/pets")
    as_it_is.network.to(memory_format=torch.channels_last)
    ways = {
        "predict": from_files(predictor, files),
        "bare, as it is": forward(as_it_is, files[0]),
        "bare, made quick": forward(predictor, files[0]),
    }
    for run in ways.values():
        run()
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            speeds[way].append(IMAGES / (time.perf_counter() - began))
    print(f"{predictor.precision}, {IMAGES} images in batches of {BATCH}")
    for way, found in speeds.items():
        shares = [one / other for one, other in zip(speeds["predict"], found, strict=True)]
        share = statistics.median(speeds["predict"]) / statistics.median(found)
        print(
            f"{way:16} {statistics.median(found):.1f} images/s, best {max(found):.1f}; "
            f"predict's share of it {share:.3f} ({min(shares):.3f} to {max(shares):.3f})"
        )


def from_files(predictor: Predictor, files: list[Path]) -> Callable[[], object]:
    """Return what `python -m thaw.predict` does between its imports and its printing."""
    return lambda: list(answers(predictor, files, {}))


def forward(predictor: Predictor, file: Path) -> Callable[[], object]:
    """Return the forward passes alone, of an image repeated."""
    about = predictor.about
    image = reader(about.model.channels, about.bands)(file, about.presize)
    side = about.augment.height_width
    pixels = torch.tensor(image.pixels).permute(2, 0, 1).float()[None]
    one = torch.nn.functional.interpolate(pixels, side) / 255
    batch = one.expand(BATCH, -1, -1, -1).to(
        predictor.device, memory_format=torch.channels_last, copy=True
    )
    sizes = [BATCH] * (IMAGES // BATCH) + ([IMAGES % BATCH] if IMAGES % BATCH else [])

    @torch.inference_mode()
    def run() -> None:
        for size in sizes:
            with autocast(predictor.precision, predictor.device):
                predictor.network(batch[:size]).float().cpu()

    return run


if __name__ == "__main__":
    main()
