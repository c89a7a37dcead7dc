"""The least seconds that the works of images_beside_fastai.py can take on this machine.

    python -m benchmarks.limits

No convolution that multiplies all that it has to goes faster than a large matrix product. Counts a
forward pass's floating-point operations with torch's own counter, a backward pass as two of them
(the gradients of inputs and of weights), and times such products in the number format that Thaw
takes. Decoding, augmentation and all that moves memory are left out.
"""

import argparse
import os
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.images_beside_fastai import WORKS
from stages.common.torch_setup import set_up_torch
from thaw.params.training.model import Model, Precision
from thaw.training.model import build_network
from thaw.training.precision import DTYPES, choose_precision

TRAINING, VALIDATION, CLASSES = 494, 123, 37  # of the pets archive, as it is split there
SIDE, REPEATED = 2048, 50


def main() -> None:
    """Count, measure and print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    set_up_torch(os.cpu_count() or 1)
    for name, work in WORKS.items():
        network = build_network(Model(arch=work.arch, train_bn=False), CLASSES, seed=0).eval()
        precision = choose_precision("auto", torch.device("cpu"), network)
        forward = operations(network, work.side)
        speed = product_speed(precision)
        frozen = (work.frozen * TRAINING + VALIDATION) * forward / speed
        unfrozen = (3 * TRAINING + VALIDATION) * forward / speed
        print(
            f"{name}, {precision}: {forward / 1e9:.2f} GFLOP an image forwards, products of "
            f"{speed / 1e9:.0f} GFLOP/s; the frozen phase {frozen:.1f} s at least, an unfrozen "
            f"epoch {unfrozen:.1f} s"
        )


def operations(network: nn.Module, side: int) -> int:
    """Count the floating-point operations of an image's forward pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    return counter.get_total_flops()


def product_speed(precision: Precision) -> float:
    """Return the operations a second of products of square matrices, at best."""
    matrix = torch.randn(SIDE, SIDE).to(DTYPES.get(precision, torch.float32))
    times = []
    for _ in range(REPEATED):
        began = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - began)
    return 2 * SIDE**3 / min(times)


if __name__ == "__main__":
    main()
