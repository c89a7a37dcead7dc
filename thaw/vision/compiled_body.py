"""A frozen body as oneDNN's graph compiler runs it: for many images, on a CPU, in fp32."""

import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from thaw.training.body import Body
from thaw.training.model import Network
from thaw.vision.folding import fold_batch_norms, folded, has_numbers

Maps = Callable[[Tensor], Tensor]
CHUNK = 16  # images; in larger ones compiling takes longer, and the rest no less


class CompiledBody(nn.Module):
    """A folded body in eval mode, compiled for each shape of images that it gets.

    Where a depthwise convolution follows a pointwise one, the compiler makes one pass of both: what
    is between them never comes to memory. It compiles in the second run; the first is computed in
    another way. So both are runs on zeros, and all that counts comes out the same in every process.
    An image's maps depend on no other image.

    Args:
        body: float [n, c, h, w] to [n, f, h', w'], traceable by torch.jit, on a CPU.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body.requires_grad_(False).to(memory_format=torch.channels_last)
        self._compiled: dict[torch.Size, tuple[Tensor, Maps]] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Map float [n, c, h, w] to [n, f, h', w']; without gradients."""
        shape = images.shape[1:]
        if shape not in self._compiled:
            zeros = images.new_zeros(CHUNK, *shape).to(memory_format=torch.channels_last)
            self._compiled[shape] = zeros, self._compile(zeros)
        chunk, maps = self._compiled[shape]

        def of(part: Tensor) -> Tensor:
            # Always these strides: with others, one channel's may be, it would compile anew.
            chunk[: len(part)] = part
            return maps(chunk)[: len(part)]

        return torch.cat([of(part) for part in images.split(CHUNK)])

    def _compile(self, zeros: Tensor) -> Maps:
        def maps(images: Tensor) -> Tensor:
            found: Tensor = self.body(images)
            return found

        if maps(zeros[:1]).shape[2:].numel() == 1:
            return maps  # the compiler fails where a map is one pixel
        try:
            with on_onednn():
                # A function's weights are constants; to look through all modules takes longer.
                compiled: Maps = torch.jit.trace(maps, zeros[:1], check_trace=False)
                for _ in range(2):
                    compiled(zeros)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            print(f"features take a little longer, as oneDNN does not compile this body: {reason}")
            return maps
        return compiled


def fold_and_compile(network: Network) -> Network:
    """Return a copy whose body is folded as by `fold_batch_norms`, and compiled if that is quicker.

    That is with grouped convolutions. The same function up to rounding, for eval mode alone; the
    head is shared.
    """
    if can_be_compiled(network.body) and has_groups(network.body):
        body = folded(network.body)
        if has_numbers(body):
            return Network(Body(CompiledBody(body)), network.head)
    return fold_batch_norms(network)


def can_be_compiled(body: nn.Module) -> bool:
    """Say whether a body is on a CPU for which torch's builds have the compiler: x86, of Linux."""
    on_cpu = next(body.parameters()).device.type == "cpu"
    return on_cpu and (sys.platform, platform.machine()) == ("linux", "x86_64")


def has_groups(body: nn.Module) -> bool:
    """Say whether a body has convolutions that see a part of the channels each."""
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in body.modules())


@contextmanager
def on_onednn() -> Iterator[None]:
    """Let torch.jit hand what it compiles to oneDNN."""
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # that torch.jit ends
        torch.jit.enable_onednn_fusion(True)
        try:
            yield
        finally:
            torch.jit.enable_onednn_fusion(False)
