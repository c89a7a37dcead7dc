"""Time frozen bodies folded alone and compiled as well: images per second, seconds to compile.

    python -m benchmarks.compiled_bodies
    python -m benchmarks.compiled_bodies mobilenet_v2 --chunk 64

Random weights, images of 160 px, batches of 64, fp32, two threads, five rounds in turn. Compiled is
every body here, with grouped convolutions or without.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from stages.common.torch_setup import set_up_torch
from thaw.params.training.model import Model
from thaw.training.model import build_network
from thaw.vision import compiled_body
from thaw.vision.folding import fold_batch_norms, folded

ARCHITECTURES = (
    "mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0", "efficientnet_b0", "convnext_tiny",
    "regnet_y_400mf", "shufflenet_v2_x1_0", "resnet18", "resnet50", "densenet121", "googlenet",
)  # fmt: skip
BATCH, SIDE, ROUNDS = 64, 160, 5


def main() -> None:
    """Print a line for each architecture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arch", nargs="*", default=ARCHITECTURES)
    parser.add_argument("--chunk", type=int, default=compiled_body.CHUNK)
    chosen = parser.parse_args()
    compiled_body.CHUNK = chosen.chunk
    set_up_torch(threads=2)
    images = torch.randn(BATCH, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    for arch in chosen.arch:
        print(arch, compared(arch, images), flush=True)


@torch.no_grad()
def compared(arch: str, images: Tensor) -> str:
    """Say how fast a body is in both ways."""
    network = build_network(Model(arch=arch), 2, seed=0).eval()
    alone = fold_batch_norms(network).body
    compiled = compiled_body.CompiledBody(folded(network.body))
    before, after = alone(images), compiled(images)
    started = time.perf_counter()
    compiled_body.CompiledBody(folded(network.body))(images[:1])
    seconds = time.perf_counter() - started
    rounds = [(rate(alone, images), rate(compiled, images)) for _ in range(ROUNDS)]
    slow, quick = (statistics.median(column) for column in zip(*rounds, strict=True))
    difference = ((after - before).abs().max() / before.abs().max()).item()
    return (
        f"{slow:.0f} -> {quick:.0f} images/s, {quick / slow:.2f}x; compiled in {seconds:.1f} s; "
        f"largest difference {difference:.0e} of the largest value"
    )


def rate(body: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Return images per second of one pass."""
    started = time.perf_counter()
    body(images)
    return len(images) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
