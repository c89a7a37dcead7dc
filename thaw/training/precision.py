"""Number formats: a rule instead of a measurement, so that it is the same each time."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from thaw.params.training.model import Precision

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(wanted: Precision, device: torch.device) -> Precision:
    """Resolve `auto`: fp16 on a GPU; on a CPU bf16 where the hardware computes in it, else fp32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "fp16"
    return "bf16" if cpu_computes_bf16() else "fp32"


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
        if type(module) is nn.Conv2d and module.groups == module.in_channels > 1:
            module.__class__ = DepthwiseConv2d
