"""Number formats: a rule instead of a measurement, so that it is the same each time."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from thaw.params.training.model import Precision

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(wanted: Precision, device: torch.device, model: nn.Module) -> Precision:
    """Resolve `auto`: fp16 on a GPU; on a CPU bf16 where it pays, else fp32.

    It pays where the hardware computes in it and all convolutions are dense. In a network with
    depthwise ones rounding adds up to a third of the spread of mobilenet_v2's features, and costs
    accuracy (docs/decisions/0015-bf16-where-it-pays.md).
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "fp16"
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    pays = convolutions and not any(map(is_depthwise, convolutions))
    return "bf16" if pays and cpu_computes_bf16() else "fp32"


def is_depthwise(convolution: nn.Conv2d) -> bool:
    """Say whether a convolution keeps each of its maps to itself."""
    return convolution.groups == convolution.in_channels > 1


def cpu_computes_bf16() -> bool:
    """Say whether this CPU multiplies bf16 matrices in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context for forward passes; for fp32 it does nothing, at no cost."""
    if precision not in DTYPES:
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return a scaler against fp16's underflow (Micikevicius 2018, section 3.2), else an idle one.

    A step whose gradients overflow is skipped and the scale halved; the schedule goes on.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that trains in fp32 inside autocast.

    On CPUs its bf16 backward is slower than fp32; in a forward pass alone bf16 is faster.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [n, c, h, w]; in fp32 whenever a gradient will be asked for."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_depthwise_fp32(model: nn.Module) -> None:
    """Turn a model's depthwise convolutions into ones that train in fp32 (weights untouched)."""
    for module in model.modules():
        if type(module) is nn.Conv2d and is_depthwise(module):
            module.__class__ = DepthwiseConv2d
