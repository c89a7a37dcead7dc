"""The model: a body, fastai's head, three parameter groups, freezing, and its files."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thaw.core.errors import UserError
from thaw.core.files import replacing, require
from thaw.core.randomness import seeded
from thaw.params.training.model import Model
from thaw.training.body import Body, build_body, early_and_late, feature_count

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class ScaledSigmoid(nn.Module):
    """A sigmoid with the range (low, high)."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Squash any float tensor into the range."""
        return torch.sigmoid(x) * (self.high - self.low) + self.low


class Network(nn.Module):
    """A body and a head. The pooled features between them may be computed once and kept."""

    def __init__(self, body: Body, head: nn.Sequential) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def features(self, images: Tensor) -> Tensor:
        """Concatenate max-pooled and average-pooled features: [n, c, h, w] to [n, 2 * f]."""
        maps = self.body(images)
        return torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [n, c, h, w] to outputs [n, outputs]."""
        outputs: Tensor = self.head(self.features(images))
        return outputs


def build_head(
    features: int,
    outputs: int,
    hidden: Sequence[int] = (512,),
    dropout: float = 0.5,
    y_range: Sequence[float] | None = None,
) -> nn.Sequential:
    """Build fastai's head, from pooled features on.

    Each linear layer, without a bias, follows a batch norm and a dropout (the last layer's
    `dropout`, half of it before); weights are drawn by He et al. 2015, biases are zero.

    Args:
        features: width of the pooled features (twice the body's feature maps).
        outputs: classes or values.
        hidden: widths between them.
        dropout: probability before the last layer.
        y_range: the outputs' range, if they have one.
    """
    widths = [features, *hidden, outputs]
    layers: list[nn.Module] = []
    for position, (fan_in, fan_out) in enumerate(pairwise(widths)):
        last = position == len(widths) - 2
        linear = nn.Linear(fan_in, fan_out, bias=False)
        nn.init.kaiming_normal_(linear.weight)
        layers += [nn.BatchNorm1d(fan_in), nn.Dropout(dropout if last else dropout / 2), linear]
        if not last:
            layers.append(nn.ReLU(inplace=True))
    if y_range is not None:
        layers.append(ScaledSigmoid(*y_range))
    return nn.Sequential(*layers)


def build_network(model: Model, outputs: int, seed: int) -> Network:
    """Build a model with random weights, the same for the same seed.

    Raises:
        UserError: the architecture does not exist or has no pooled features.
    """
    with seeded(seed, "init", "body"):
        body = build_body(model.arch, model.channels)
    with seeded(seed, "init", "head"):
        head = build_head(
            2 * feature_count(body), outputs, model.hidden, model.dropout, model.y_range
        )
    network = Network(body, head)
    return network.to(memory_format=torch.channels_last)


def parameter_groups(network: Network) -> list[list[nn.Parameter]]:
    """Return the parameters of the early body, the late body and the head."""
    early, late = early_and_late(network.body)
    return [parameters(early), parameters(late), parameters([network.head])]


def parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Return all parameters of several modules in order."""
    return [parameter for module in modules for parameter in module.parameters()]


def freeze(network: Network, train_bn: bool) -> None:
    """Let the head train alone; with `train_bn` the body's norms train too, as in fastai."""
    network.body.requires_grad_(False)
    if train_bn:
        for module in network.body.modules():
            if isinstance(module, NORMS):
                module.requires_grad_(True)
    network.head.requires_grad_(True)


def unfreeze(network: Network) -> None:
    """Let everything train."""
    network.requires_grad_(True)


def training_mode(model: nn.Module, train_bn: bool, frozen: bool) -> None:
    """Put a model into training mode, its body as the phase wants it.

    With `train_bn` all is as in fastai. Without it the body's batch norms keep their
    statistics, and a frozen body computes exactly what it computes in validation.
    """
    model.train()
    body = getattr(model, "body", None)
    if body is None or train_bn:
        return
    if frozen:
        body.eval()
    for module in body.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's parameters and buffers as safetensors."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    with replacing(path) as part:
        save_file(tensors, part)


def load_weights(path: Path, module: nn.Module) -> None:
    """Load a safetensors file into a module whose names and shapes it must match.

    Raises:
        FileNotFoundError: it is not there.
        UserError: the file is broken, or belongs to another architecture, with the first
            differences.
    """
    require(path)  # safetensors' own error has no filename
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} cannot be read: {error}. Make it anew.") from error
    differences = state_differences(tensors, module.state_dict())
    if differences:
        raise UserError(f"{path} does not fit the model: {'; '.join(differences[:3])}.")
    module.load_state_dict(tensors)


def state_differences(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> list[str]:
    """Describe missing, superfluous and differently shaped tensors."""
    missing = [f"{name} is missing" for name in wanted if name not in given]
    extra = [f"{name} is unknown" for name in given if name not in wanted]
    shapes = [
        f"{name} has shape {list(given[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    return missing + shapes + extra
