"""Bodies of every family of torchvision's architectures. (torchvision takes seconds to import.)"""

import pytest
import torch
import torchvision
from torch import nn

from thaw.core.errors import UserError
from thaw.params.training.model import Model
from thaw.training.body import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    HalfRange,
    adapt_first_convolution,
    build_body,
    channel_statistics,
    cut,
    early_and_late,
    feature_count,
    input_channels,
)
from thaw.training.model import build_head, parameters

pytestmark = pytest.mark.usefixtures("one_thread")

# What each architecture does with its feature maps, after its own source.
ENDINGS = {
    "alexnet": lambda n, x: n.classifier(n.avgpool(x).flatten(1)),
    "convnext_tiny": lambda n, x: n.classifier(n.avgpool(x)),
    "densenet121": lambda n, x: n.classifier(n_mean(x)),
    "efficientnet_b0": lambda n, x: n.classifier(n.avgpool(x).flatten(1)),
    "googlenet": lambda n, x: n.fc(n.avgpool(x).flatten(1)),
    "inception_v3": lambda n, x: n.fc(n.avgpool(x).flatten(1)),
    "maxvit_t": lambda n, x: n.classifier(x),
    "mnasnet0_5": lambda n, x: n.classifier(x.mean([2, 3])),
    "mobilenet_v2": lambda n, x: n.classifier(n_mean(x)),
    "mobilenet_v3_small": lambda n, x: n.classifier(n.avgpool(x).flatten(1)),
    "regnet_y_400mf": lambda n, x: n.fc(n.avgpool(x).flatten(1)),
    "resnet18": lambda n, x: n.fc(n.avgpool(x).flatten(1)),
    "shufflenet_v2_x0_5": lambda n, x: n.fc(x.mean([2, 3])),
    "squeezenet1_1": lambda n, x: n.classifier(x).flatten(1),
    "swin_t": lambda n, x: n.head(n.avgpool(x).flatten(1)),
    "vgg11_bn": lambda n, x: n.classifier(n.avgpool(x).flatten(1)),
}
SLOW = ("maxvit_t", "swin_t", "vgg11_bn")
NOT_META = ("maxvit_t", "swin_t", "regnet_y_400mf")  # these compute with tensors while built
SIDES = {"maxvit_t": 224, "inception_v3": 80}
FAMILIES = [
    pytest.param(arch, marks=pytest.mark.slow) if arch in SLOW else arch for arch in ENDINGS
]


def n_mean(maps):
    return nn.functional.adaptive_avg_pool2d(maps, (1, 1)).flatten(1)


def build(arch):
    """Build an architecture with random numbers everywhere: ones and zeros hide mistakes."""
    half_range = arch in ("googlenet", "inception_v3")  # as torchvision builds them with weights
    options = {"init_weights": True, "transform_input": True} if half_range else {}
    generator = torch.Generator().manual_seed(0)
    with torch.device("cpu" if arch in NOT_META else "meta"):  # meta: torchvision draws nothing
        network = torchvision.models.get_model(arch, weights=None, **options)
    if arch not in NOT_META:
        network.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            bound = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5
            parameter.uniform_(-bound, bound, generator=generator)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.add_(1)
                module.running_mean.uniform_(-0.1, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.num_batches_tracked.zero_()
    return network.eval()


@pytest.mark.parametrize("arch", FAMILIES)
def test_body_and_the_architectures_own_ending_give_its_own_output(arch):
    network = build(arch)
    side = SIDES.get(arch, 64)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    body = cut(network).eval()
    with torch.no_grad():
        wanted = network(images)
        features = body(images.clone())
        found = ENDINGS[arch](network, features)

    assert features.ndim == 4
    assert features.shape[1] == feature_count(body)
    assert not torch.equal(wanted[0], wanted[1])
    assert torch.equal(found, wanted)

    # The two early groups share the body between them, and both have something to train.
    early, late = (parameters(blocks) for blocks in early_and_late(body))
    assert early
    assert late
    assert [id(p) for p in (*early, *late)] == [id(p) for p in body.parameters()]


def test_a_built_body_takes_the_architectures_tensors_under_their_own_names():
    network = build("resnet18")
    body = build_body("resnet18")
    state = {n: t for n, t in network.state_dict().items() if not n.startswith("fc.")}
    body.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = body(images)
        assert torch.equal(ENDINGS["resnet18"](network, features), network(images))


def test_the_early_part_of_a_resnet_ends_after_layer2():
    body = build_body("resnet18")
    early, late = early_and_late(body)
    assert early[-1] is body.layer2[-1]
    assert late[0] is body.layer3[0]


def test_dividing_a_body_leaves_its_mode_and_buffers_alone():
    body = cut(build("squeezenet1_1")).train()
    body.add_module("norm", nn.BatchNorm2d(512))
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    early_and_late(body)  # looks for the shapes, which are known then
    assert feature_count(body) == 512
    assert all(module.training for module in body.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())


def test_a_body_is_divided_wherever_its_weights_are():
    """Torch's device without memory stands in for a GPU: it refuses tensors of another one too."""
    body = cut(build("squeezenet1_1")).to("meta")
    assert feature_count(body) == 512
    assert [len(blocks) for blocks in early_and_late(body)] == [5, 8]


def test_vision_transformers_are_refused_by_name():
    with pytest.raises(UserError, match=r"model\.arch: 'vit_b_16' has no pooled .* resnet34"):
        build_body("vit_b_16")


def test_an_unknown_architecture_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"model\.arch: 'resnet43' .* did you mean 'resnet34'\?"):
        build_body("resnet43")


def test_architectures_for_other_tasks_are_unknown():
    with pytest.raises(UserError, match="not in torchvision"):
        build_body("fasterrcnn_resnet50_fpn")


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_numbers_of_channels_keep_what_the_first_convolution_knows(channels):
    body = build_body("squeezenet1_1")
    old = next(m for m in body.modules() if isinstance(m, nn.Conv2d))
    images = torch.randn(2, channels, 32, 32)

    adapt_first_convolution(body, channels)

    new = next(m for m in body.modules() if isinstance(m, nn.Conv2d))
    assert new is body.features[0]
    assert input_channels(body) == channels
    if channels == 1:  # the same grey three times
        wanted = old(images.expand(-1, 3, -1, -1))
    elif channels == 2:  # half as much again makes up for the third
        wanted = old(torch.cat([images * 1.5, torch.zeros(2, 1, 32, 32)], 1))
    else:  # further channels are not looked at yet
        wanted = old(images[:, :3])
    assert torch.allclose(new(images), wanted, atol=1e-5)
    assert torch.equal(new.bias, old.bias)
    assert body(images).shape[1] == 512


@pytest.mark.parametrize(
    ("channels", "wanted"),
    [(1, [7.0]), (2, [1.5, 3.0]), (3, [1.0, 2.0, 4.0]), (5, [1.0, 2.0, 4.0, 0.0, 0.0])],
)
def test_weights_of_the_first_convolution_are_adapted_by_fastais_formula(channels, wanted):
    """Of red 1, green 2, blue 4: their sum; half as much again of two; zeros for what is new."""
    body = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.Conv2d(2, 2, 1))
    body[0].weight.data[:] = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    adapt_first_convolution(body, channels)
    assert body[0].weight.shape == (2, channels, 1, 1)
    assert body[0].weight.flatten(1).tolist() == [wanted, wanted]
    assert body[0].bias is None
    assert body[1].in_channels == 2


def test_only_a_convolution_for_colours_can_be_adapted():
    body = nn.Sequential(nn.Conv2d(5, 2, 1))
    with pytest.raises(UserError, match="a body for 5 channels cannot be adapted to 7"):
        adapt_first_convolution(body, 7)


@pytest.mark.parametrize(
    ("arch", "name"),
    [("resnet18", "conv1"), ("mobilenet_v2", "features.0.0"), ("squeezenet1_1", "features.0")],
)
def test_bodies_are_built_for_other_numbers_of_channels(arch, name):
    """Without weights to keep all channels are drawn, as fastai does it."""
    body = build_body(arch, channels=5)
    assert body.get_submodule(name).in_channels == input_channels(body) == 5
    assert (body.get_submodule(name).weight.abs().amax((0, 2, 3)) > 0).all()
    assert body(torch.zeros(1, 5, 64, 64)).ndim == 4


def test_further_channels_are_normalised_by_the_mean_of_the_colours():
    mean, std = channel_statistics(5)
    assert mean == pytest.approx([0.485, 0.456, 0.406, 0.449, 0.449])
    assert std == pytest.approx([0.229, 0.224, 0.225, 0.226, 0.226])
    assert channel_statistics(3) == (list(IMAGENET_MEAN), list(IMAGENET_STD))
    assert channel_statistics(1) == (pytest.approx([0.449]), pytest.approx([0.226]))
    assert channel_statistics(2)[0] == pytest.approx([0.449, 0.449])


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_half_range_undoes_the_normalisation_of_any_number_of_channels(channels):
    pixels = torch.rand(2, channels, 3, 3)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in channel_statistics(channels))
    assert torch.allclose(HalfRange()((pixels - mean) / std), pixels * 2 - 1, atol=1e-6)


def test_the_head_fits_a_body_of_a_recipe():
    recipe = Model(arch="squeezenet1_1", hidden=[32])
    body = build_body(recipe.arch)
    head = build_head(2 * feature_count(body), 3, recipe.hidden).eval()
    maps = body(torch.zeros(2, 3, 64, 64))
    pooled = torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)
    assert head(pooled).shape == (2, 3)
