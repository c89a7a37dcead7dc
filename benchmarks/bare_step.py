"""How much of the bare model's speed training reaches, from packed images on.

    python -m benchmarks.bare_step pets --archives ARCHIVES --weights mobilenet_v2.pth
    python -m benchmarks.bare_step resnet34 --archives ARCHIVES

An unfrozen epoch as the stage trains it (reading, augmentation, schedule, checks of the losses)
beside as many steps of the same model, precision, layout and optimizer on batches that were made
before, in turn in one process. The works are those of images_beside_fastai.py. Prints images per
second and the share, by round and of the medians.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.images_beside_fastai import (
    BATCH,
    PREPARING,
    WORKS,
    random_weights,
    recipe,
    write_recipe,
)
from benchmarks.warm_stages import warm_stages
from stages.common.paths import Paths
from stages.fit_unfrozen import Params
from stages.recipe import read_params
from stages.training import Phase, Training, open_training, unfrozen_phase
from thaw.params.training.fit import OneCycle
from thaw.training.accumulation import Accumulation
from thaw.training.batches import steps_per_epoch
from thaw.training.fit import Setting, train_one_epoch
from thaw.training.model import load_weights
from thaw.training.optimizer import build_adamw
from thaw.training.precision import autocast, gradient_scaler
from thaw.training.schedule import one_cycle
from thaw.vision.losses import LOSSES

LRS = (1e-6, 1e-6, 1e-5)


def main() -> None:
    """Prepare the data, run both in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--archives", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--weights", type=Path, help="mobilenet_v2's .pth")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), chosen)
        with contextlib.chdir(name):
            compare(chosen.rounds)


def prepare(folder: Path, chosen: argparse.Namespace) -> None:
    """Run the stages before training."""
    weights = (chosen.weights or random_weights(folder, WORKS[chosen.work].arch)).resolve()
    write_recipe(folder, recipe(WORKS[chosen.work], chosen.archives, weights, seed=0, views=0))
    with warm_stages() as run:
        for stage in PREPARING:
            run(folder, stage, "pets")


def compare(rounds: int) -> None:
    """Train an epoch each way, in turn."""
    os.environ["TQDM_DISABLE"] = "1"
    training = open_training(read_params("pets", Params), Paths("pets"), "fit_unfrozen")
    load_weights(Paths("pets").pretrained, training.network.body)
    phase = unfrozen_phase(training, BATCH)
    ready = list(phase.batches.train(0))
    ways = {"training": whole_epoch(training, phase), "bare": bare_epoch(training, phase, ready)}
    for run in ways.values():  # memory is fetched once
        run()
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            speeds[way].append(phase.batches.items / (time.perf_counter() - began))
    print(f"{training.precision}, {phase.batches.items} images in batches of {BATCH}")
    for way, found in speeds.items():
        print(f"{way:9} {statistics.median(found):.1f} images/s, best {max(found):.1f}")
    shares = [one / other for one, other in zip(*speeds.values(), strict=True)]
    share = statistics.median(speeds["training"]) / statistics.median(speeds["bare"])
    print(f"share {share:.3f} ({min(shares):.3f} to {max(shares):.3f})")


def whole_epoch(training: Training, phase: Phase) -> Callable[[], object]:
    """Return the stage's training epoch."""
    plan = OneCycle(epochs=1, batch_size=BATCH)
    setting = Setting(
        stage="fit_unfrozen",
        seed=0,
        plan=plan,
        lrs=LRS,
        groups=phase.groups,
        loss=LOSSES[training.task],
        measure=lambda outputs, targets: {},
        precision=training.precision,
        device=training.device,
        training_mode=phase.training_mode,
    )
    steps = one_cycle(
        steps_per_epoch(phase.batches.items, BATCH),
        LRS,
        pct_start=plan.pct_start,
        div=plan.div,
        div_final=plan.div_final,
        moms=plan.moms,
    )
    optimizer = build_adamw(phase.model, phase.groups, plan.weight_decay)
    scaler = gradient_scaler(training.precision, training.device)
    gradients = Accumulation(setting.loss, training.precision, training.device, setting.stage)

    def run() -> None:
        train_one_epoch(phase.model, phase.batches, 0, steps, optimizer, scaler, setting, gradients)

    return run


def bare_epoch(
    training: Training, phase: Phase, ready: list[tuple[Tensor, Tensor]]
) -> Callable[[], object]:
    """Return the steps alone."""
    optimizer = build_adamw(phase.model, phase.groups, 0.01)
    for group in optimizer.param_groups:
        group["lr"] = LRS[0]
    loss = LOSSES[training.task]
    scaler = gradient_scaler(training.precision, training.device)

    def run() -> None:
        phase.training_mode(phase.model)
        for images, targets in ready:
            with autocast(training.precision, training.device):
                outputs = phase.model(images)
            scaler.scale(loss(outputs.float(), targets)).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        if training.device.type == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
