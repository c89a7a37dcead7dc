"""A frozen body made quick: batch norms and activations as part of the convolutions before them."""

from collections import Counter

import torch
from torch import Tensor, fx, nn

from thaw.training.body import Body
from thaw.training.model import Network

# What torch's compiler calls on CPUs, by another name for each function, with its bounds.
FUSED: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}


class ActivatedConv2d(nn.Conv2d):
    """A convolution followed by `activation`, which a CPU applies while it writes the result."""

    # In a list, as it is a child of another module as well, and no part of this one's state.
    activation: list[nn.Module]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and activate float [n, c, h, w]; without gradients."""
        if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            y: Tensor = self.activation[0](super().forward(x))
            return y
        name, bounds = FUSED[type(self.activation[0])]
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups,
            name, bounds, "",
        )  # fmt: skip
        return fused


def fold_batch_norms(network: Network) -> Network:
    """Return a copy whose body's batch norms are part of its convolutions, for eval mode alone.

    So is each activation that alone follows a convolution, unless weights are no numbers: of those
    a fused one would make numbers. The same function up to rounding; the head is shared.
    """
    body = folded(network.body)
    if has_numbers(body):
        apply_activations(body)
    return Network(Body(body), network.head).to(memory_format=torch.channels_last)


def folded(body: nn.Module) -> fx.GraphModule:
    """Return a copy, in eval mode, whose batch norms are part of the convolutions before them."""
    # Seconds to import, and only needed where features are computed.
    from torch.fx.experimental.optimization import fuse

    copy = fuse(body.eval())
    assert isinstance(copy, fx.GraphModule)
    return copy


def has_numbers(body: nn.Module) -> bool:
    """Say whether all weights are numbers; if not, no activation must make numbers of them."""
    return all(bool(parameter.isfinite().all()) for parameter in body.parameters())


def apply_activations(body: fx.GraphModule) -> None:
    """Let each convolution apply the activation that alone follows it; changed in place."""
    modules = dict(body.named_modules())
    calls = [node for node in body.graph.nodes if node.op == "call_module"]
    often = Counter(node.target for node in calls)
    for node in calls:
        if type(modules[node.target]) not in FUSED or not node.args or node.args[0] not in calls:
            continue
        before = node.args[0]
        conv = modules[before.target]
        alone = len(before.users) == often[before.target] == 1
        if alone and type(conv) is nn.Conv2d and pads_with_zeros(conv):
            conv.__class__ = ActivatedConv2d
            conv.activation = [modules[node.target]]  # type: ignore[assignment]
            node.replace_all_uses_with(before)
            body.graph.erase_node(node)
    body.recompile()


def pads_with_zeros(conv: nn.Conv2d) -> bool:
    """Say whether the padding is so many zeros, as all of torchvision's are."""
    return conv.padding_mode == "zeros" and isinstance(conv.padding, tuple)
