"""What single changes are worth, each beside what it replaced, in one process.

    python -m benchmarks.step_speed --weights mobilenet_v2-1efb22c2.pth

mobilenet_v2 at 160 px in fp32, and where it is said resnet34 at 224 px in bf16, batch 64, two
threads; the best of several alternating runs of each.
"""

import argparse
import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.fx.experimental.optimization import fuse
from torch.nn.functional import cross_entropy

from stages.common.torch_setup import set_up_torch
from thaw.core.memory import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory
from thaw.params.training.model import Model, Precision
from thaw.training.body import Body
from thaw.training.model import Network, build_network, parameter_groups, training_mode
from thaw.training.optimizer import build_adamw
from thaw.training.precision import autocast
from thaw.vision.compiled_body import fold_and_compile
from thaw.vision.fixed_norms import apply_norms_in_convolutions
from thaw.vision.folding import fold_batch_norms
from thaw.weights import load_body, read_state

BATCH, SIDE, RESNET_SIDE, CLASSES, ROUNDS = 64, 160, 224, 37, 5


def main() -> None:
    """Measure and print images per second, before and after each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    chosen = parser.parse_args()
    set_up_torch(threads=2)
    images, large = (
        torch.rand(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
        for side in (SIDE, RESNET_SIDE)
    )
    targets = torch.randint(CLASSES, (BATCH,))

    def network() -> Network:
        built = build_network(Model(arch="mobilenet_v2", train_bn=False), CLASSES, seed=1)
        load_body(built.body, read_state(chosen.weights), str(chosen.weights))
        return built

    plain = network()
    training_mode(plain, train_bn=False, frozen=True)
    folded = fold_batch_norms(plain)
    compare("frozen features: all folded", features(plain, images), features(folded, images))
    norms_alone = Network(Body(fuse(plain.body)), plain.head)
    compare(
        "frozen features: activations in convolutions",
        features(norms_alone.to(memory_format=torch.channels_last), images),
        features(folded, images),
    )
    compare("frozen features: tensors not filled", filled(features(folded, images)),
            features(folded, images))  # fmt: skip
    compare("frozen features: compiled by oneDNN", features(folded, images),
            features(fold_and_compile(plain), images))  # fmt: skip
    applied = network()
    apply_norms_in_convolutions(applied.body)
    compare("unfrozen step: fixed norms in convolutions", step(network(), images, targets),
            step(applied, images, targets))  # fmt: skip
    resnets = [build_network(Model(arch="resnet34"), CLASSES, seed=1) for _ in range(2)]
    apply_norms_in_convolutions(resnets[1].body)
    compare("unfrozen step of resnet34 in bf16: fixed norms in convolutions",
            *(step(resnet, large, targets, "bf16") for resnet in resnets))  # fmt: skip
    compare("frozen features: freed memory kept", gives_back(features(folded, images)),
            keeps(features(folded, images)))  # fmt: skip
    compare("unfrozen step: freed memory kept", gives_back(step(applied, images, targets)),
            keeps(step(applied, images, targets)))  # fmt: skip


def features(network: Network, images: torch.Tensor) -> Callable[[], object]:
    """Return a forward pass without gradients."""

    def run() -> None:
        with torch.no_grad():
            network.features(images)

    return run


def filled(run: Callable[[], object]) -> Callable[[], object]:
    """Return the same, with deterministic mode filling every new tensor first."""

    def run_filled() -> None:
        torch.utils.deterministic.fill_uninitialized_memory = True
        run()
        torch.utils.deterministic.fill_uninitialized_memory = False

    return run_filled


def gives_back(run: Callable[[], object]) -> Callable[[], object]:
    """Return the same, with freed memory given back at once, as by glibc's defaults."""

    def run_giving_back() -> None:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, 128 * 1024)
        libc.mallopt(M_MMAP_MAX, 65_536)
        libc.malloc_trim(0)
        run()

    return run_giving_back


def keeps(run: Callable[[], object]) -> Callable[[], object]:
    """Return the same, with freed memory kept; what was given back has to be fetched once more."""

    def run_keeping() -> None:
        keep_freed_memory()
        run()

    return run_keeping


def step(
    network: Network, images: torch.Tensor, targets: torch.Tensor, precision: Precision = "fp32"
) -> Callable[[], object]:
    """Return a training step of the whole network."""
    training_mode(network, train_bn=False, frozen=False)
    optimizer = build_adamw(network, parameter_groups(network), 0.01)

    def run() -> None:
        with autocast(precision, images.device):
            outputs = network(images)
        cross_entropy(outputs.float(), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def compare(name: str, before: Callable[[], object], after: Callable[[], object]) -> None:
    """Run both in turn, and print the best of each."""
    seconds: dict[str, list[float]] = {"before": [], "after": []}
    for _ in range(ROUNDS):
        for when, run in (("before", before), ("after", after)):
            started = time.perf_counter()
            run()
            seconds[when].append(time.perf_counter() - started)
    speeds = [BATCH / min(taken) for taken in seconds.values()]
    print(f"{name}: {speeds[0]:.0f} -> {speeds[1]:.0f} images/s, {speeds[1] / speeds[0]:.2f}x")


if __name__ == "__main__":
    main()
