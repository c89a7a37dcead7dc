"""Bodies: torchvision classification architectures, cut before their pooling."""

from collections import OrderedDict
from functools import cached_property
from statistics import fmean

import torch
from torch import Tensor, fx, nn

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean

# Children that pool, classify, or only help training from scratch.
AFTER_THE_BODY = ("avgpool", "classifier", "fc", "head", "heads", "dropout", "flatten")
AUXILIARY = ("aux1", "aux2", "AuxLogits")
EARLY_STRIDE = 8
# Per channel, of pixels in [0, 1]: what torchvision's weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DRY_RUN_SIDE = 224  # pixels; every architecture takes it


def channel_statistics(channels: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation by which each channel is normalised.

    Three are red, green and blue, as the weights were trained with. Of more, the first three are;
    a further one, of which the weights know nothing, gets the mean of theirs, as does one grey.

    Args:
        channels: of an image.
    """
    colours = len(IMAGENET_MEAN) if channels >= len(IMAGENET_MEAN) else 0
    further = channels - colours
    return (
        [*IMAGENET_MEAN[:colours], *[fmean(IMAGENET_MEAN)] * further],
        [*IMAGENET_STD[:colours], *[fmean(IMAGENET_STD)] * further],
    )


class HalfRange(nn.Module):
    """Turn the normalisation into (pixel - 0.5) / 0.5, which some weights expect."""

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [n, c, h, w]."""
        return to_half_range(images)


@fx.wrap  # one call in a traced body, which cannot ask how many channels there will be
def to_half_range(images: Tensor) -> Tensor:
    """Normalise images anew, that `channel_statistics` has normalised: by 0.5 and 0.5."""
    means, stds = channel_statistics(images.shape[1])
    scale = images.new_tensor([std / 0.5 for std in stds]).view(1, -1, 1, 1)
    shift = images.new_tensor([(mean - 0.5) / 0.5 for mean in means]).view(1, -1, 1, 1)
    return images * scale + shift


class Body(nn.Sequential):
    """An architecture's convolutional part: float [n, channels, h, w] to [n, features, h', w']."""

    @cached_property
    def shapes(self) -> list[torch.Size]:
        """Shapes after each of its `blocks_of`, of one image of DRY_RUN_SIDE, in eval mode."""
        was_training = self.training
        self.eval()
        weight = first_convolution(self).weight
        image = weight.new_zeros(1, input_channels(self), DRY_RUN_SIDE, DRY_RUN_SIDE)
        found = []
        with torch.no_grad():
            for block in blocks_of(self):
                image = block(image)
                found.append(image.shape)
        self.train(was_training)
        return found


def blocks_of(body: nn.Sequential) -> list[nn.Module]:
    """List the parts that follow each other: the children, of sequences their children."""
    return [
        block
        for child in body.children()
        for block in (child.children() if isinstance(child, nn.Sequential) else [child])
    ]


def build_body(arch: str, channels: int = 3) -> Body:
    """Build an architecture's convolutional part with random weights.

    The parameters keep torchvision's names, so torchvision's weights load into it, and in eval
    mode it computes what the architecture computes before it pools.

    Args:
        arch: name of a torchvision classification architecture.
        channels: of the input; other than 3 draws the first convolution anew, as fastai does
            where there are no weights to keep.

    Returns:
        The body, in eval mode.

    Raises:
        UserError: an unknown name, or an architecture without pooled features (ViT).
    """
    # Costs seconds to import: torchvision pulls in torch's compiler.
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    if arch not in known:
        raise UserError(f"model.arch: {arch!r} is not in torchvision; {did_you_mean(arch, known)}")
    # Silences torchvision's warning that these two will draw their weights differently some day.
    options = {"init_weights": True} if arch in ("googlenet", "inception_v3") else {}
    network = torchvision.models.get_model(arch, weights=None, **options)
    body = cut(network).eval()
    if channels != len(IMAGENET_MEAN):
        replace_first_convolution(body, channels)
    if not ends_with_maps(body):
        raise UserError(
            f"model.arch: {arch!r} has no pooled convolutional features to build on. Choose an "
            "architecture that pools before its classifier, such as resnet34 or mobilenet_v2."
        )
    return body


def ends_with_maps(body: Body) -> bool:
    """Say whether a body makes feature maps [n, features, h', w']."""
    try:
        return len(body.shapes[-1]) == 4
    except AssertionError:  # ViT's encoder takes only what its forward makes of the maps
        return False


def cut(network: nn.Module) -> Body:
    """Keep an architecture's children up to its pooling, under their own names."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if hasattr(network, "transform_input"):  # torchvision sets it with the published weights
        parts["transform_input"] = HalfRange()
    for name, child in network.named_children():
        if name in AFTER_THE_BODY:
            break
        if name in AUXILIARY:
            continue
        parts[name] = nn.Sequential(*child) if isinstance(child, nn.ModuleList) else child
    if type(network).__name__ == "DenseNet":  # its forward ends with a bare F.relu
        parts["relu"] = nn.ReLU(inplace=True)
    return Body(parts)


def early_and_late(body: Body) -> tuple[list[nn.Module], list[nn.Module]]:
    """Split a body's blocks where it halves the image for the fourth time.

    Blocks at a stride of 8 or less are early, which for ResNets is fastai's split after layer2.
    """
    # A side, whether the channels are second or, as in Swin, last.
    sides = [shape[2] for shape in body.shapes]
    early = [place for place, side in enumerate(sides, 1) if side * EARLY_STRIDE >= DRY_RUN_SIDE]
    blocks, halved = blocks_of(body), max(early, default=0)
    return blocks[:halved], blocks[halved:]


def input_channels(body: nn.Module) -> int:
    """Return the channels of an image that a body expects."""
    return first_convolution(body).in_channels


def feature_count(body: Body) -> int:
    """Return the number of feature maps that a body ends with."""
    return body.shapes[-1][1]


def adapt_first_convolution(body: nn.Module, channels: int) -> None:
    """Replace the first convolution, one for colours, by one for `channels`, keeping what it knows.

    As fastai: one channel gets the sum over red, green and blue; two get the first two, times
    1.5; further channels start at zero.

    Raises:
        UserError: it is not one for three colours.
    """
    old, before = first_convolution(body).weight.data, input_channels(body)
    if before != len(IMAGENET_MEAN):
        raise UserError(
            f"weights.source: a body for {before} channels cannot be adapted to {channels} "
            f"(model.channels). Take weights for 3 or for {channels}."
        )
    if channels == 1:
        weight = old.sum(1, keepdim=True)
    elif channels == 2:
        weight = old[:, :2] * 1.5
    else:
        weight = torch.cat([old, old.new_zeros(len(old), channels - 3, *old.shape[2:])], 1)
    bias = first_convolution(body).bias
    adapted = replace_first_convolution(body, channels)
    adapted.weight = nn.Parameter(weight.contiguous())
    adapted.bias = bias


def first_convolution(body: nn.Module) -> nn.Conv2d:
    """Return the convolution that sees the image."""
    return next(m for m in body.modules() if isinstance(m, nn.Conv2d))


def replace_first_convolution(body: nn.Module, channels: int) -> nn.Conv2d:
    """Put one for `channels` channels in its place, with random weights; return it."""
    first = first_convolution(body)
    name = next(name for name, module in body.named_modules() if module is first)
    new = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    parent, _, leaf = name.rpartition(".")
    setattr(body.get_submodule(parent), leaf, new)
    return new
