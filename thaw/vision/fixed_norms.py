"""Batch norms with fixed statistics, computed as part of the convolutions before them.

In eval mode a batch norm is a factor and an offset per map. Applied to the convolution's weights
instead of to its output, it costs no pass over the maps, neither forwards nor backwards.
"""

from torch import Tensor, fx, nn

from thaw.params.training.model import Precision


class NormedConv2d(nn.Conv2d):
    """A convolution followed by the batch norm `norm`, in eval mode; both train."""

    # In a list, as the norm is a child of another module and must not become one of this.
    norm: list[nn.BatchNorm2d]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise [n, c, h, w]."""
        norm = self.norm[0]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        mean = norm.running_mean if self.bias is None else norm.running_mean - self.bias
        weight = self.weight * scale.view(-1, 1, 1, 1)
        y: Tensor = self._conv_forward(x, weight, norm.bias - mean * scale)
        return y


class AppliedNorm(nn.BatchNorm2d):
    """A batch norm that the convolution before it has applied already."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, c, h, w] as it is."""
        return x


def norms_are_applied(precision: Precision, train_bn: bool) -> bool:
    """Say whether an unfrozen fit applies norms in convolutions, and so what answers as it did.

    Not in fp16, where a small variance could make weights too large.
    """
    return not train_bn and precision != "fp16"


def apply_norms_in_convolutions(body: nn.Module) -> int:
    """Let each convolution apply the batch norm that alone follows it; names stay as they are.

    The same function up to rounding, gradients included, for norms that stay in eval mode.

    Args:
        body: changed in place; must be traceable.

    Returns:
        How many pairs were found.
    """
    modules = dict(body.named_modules())
    pairs = 0
    for node in _Tracer().trace(body).nodes:
        if node.op != "call_module" or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        before, norm = node.args[0], modules[node.target]
        conv = modules.get(str(before.target)) if before.op == "call_module" else None
        if type(norm) is nn.BatchNorm2d and type(conv) is nn.Conv2d and len(before.users) == 1:
            norm.__class__ = AppliedNorm
            conv.__class__ = NormedConv2d
            conv.norm = [norm]  # type: ignore[assignment]
            pairs += 1
    return pairs


class _Tracer(fx.Tracer):
    """Does not look into convolutions, this project's own included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)
