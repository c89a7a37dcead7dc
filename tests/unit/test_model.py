"""The network: groups, freezing, training modes, files."""

import pytest
import torch
from torch import nn

from thaw.core.errors import UserError
from thaw.core.files import file_sha256
from thaw.training.body import Body
from thaw.training.model import (
    Network,
    ScaledSigmoid,
    build_head,
    freeze,
    load_weights,
    parameter_groups,
    save_weights,
    state_differences,
    training_mode,
    unfreeze,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


def batch_norms(module: nn.Module) -> set[str]:
    return {n for n, m in module.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}


def test_groups_hold_each_parameter_once_from_early_to_late(tiny_network):
    network = tiny_network()
    early, late, head = parameter_groups(network)
    found = [id(p) for group in (early, late, head) for p in group]
    assert sorted(found) == sorted(id(p) for p in network.parameters())
    assert {id(p) for p in early} == {
        id(p) for part in (network.body.stem, network.body.layer1) for p in part.parameters()
    }
    assert {id(p) for p in head} == {id(p) for p in network.head.parameters()}


def test_the_groups_do_not_depend_on_what_is_frozen_and_leave_buffers_alone(tiny_network):
    network = tiny_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    unfrozen = parameter_groups(network.train())
    freeze(network, train_bn=False)
    frozen = parameter_groups(network)
    assert [[id(p) for p in g] for g in frozen] == [[id(p) for p in g] for g in unfrozen]
    assert network.body.training
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


@pytest.mark.parametrize("train_bn", [True, False])
def test_a_frozen_body_trains_its_norms_at_most(tiny_network, train_bn):
    network = tiny_network()
    network.requires_grad_(False)
    freeze(network, train_bn)
    norms = {
        name
        for name in trained(network.body)
        if name.rpartition(".")[0] in batch_norms(network.body)
    }
    assert trained(network.head) == {name for name, _ in network.head.named_parameters()}
    assert trained(network.body) == norms
    assert len(norms) == (8 if train_bn else 0)  # weight and bias of four norms


@pytest.mark.parametrize("norm", [nn.LayerNorm(5), nn.GroupNorm(1, 5), nn.BatchNorm2d(5)])
def test_every_kind_of_norm_counts(norm):
    network = Network(Body(nn.Conv2d(3, 5, 1), norm), nn.Sequential(nn.Linear(10, 2)))
    freeze(network, train_bn=True)
    assert trained(network.body) == {"1.weight", "1.bias"}


def test_unfreezing_lets_everything_train_again(tiny_network):
    network = tiny_network()
    freeze(network, train_bn=False)
    unfreeze(network)
    assert trained(network) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize("frozen", [True, False])
def test_without_train_bn_a_bodys_statistics_stay(tiny_network, frozen):
    network = tiny_network()
    before = {name: tensor.clone() for name, tensor in network.body.state_dict().items()}
    training_mode(network, train_bn=False, frozen=frozen)
    network(torch.randn(4, 3, 32, 32))
    assert all(torch.equal(t, before[name]) for name, t in network.body.state_dict().items())
    assert network.head[0].num_batches_tracked == 1
    assert network.head[1].training  # the head's dropout
    assert network.body.stem.training == (not frozen)


@pytest.mark.parametrize("frozen", [True, False])
def test_with_train_bn_a_bodys_statistics_follow_the_data(tiny_network, frozen):
    network = tiny_network().eval()
    before = {name: tensor.clone() for name, tensor in network.body.state_dict().items()}
    training_mode(network, train_bn=True, frozen=frozen)
    network(torch.randn(4, 3, 32, 32))
    changed = {n for n, t in network.body.state_dict().items() if not torch.equal(t, before[n])}
    assert {name.rpartition(".")[0] for name in changed} == batch_norms(network.body)
    assert all(module.training for module in network.modules())


def test_a_frozen_body_without_train_bn_computes_what_it_computes_in_validation(tiny_network):
    network = tiny_network()
    network.body.add_module("dropout", nn.Dropout(0.5))
    images = torch.randn(4, 3, 32, 32)
    training_mode(network, train_bn=False, frozen=True)
    training = network.features(images)
    assert torch.equal(training, network.eval().features(images))


def test_a_part_without_a_body_simply_trains(tiny_network):
    head = tiny_network().head.eval()
    training_mode(head, train_bn=False, frozen=True)
    assert all(module.training for module in head.modules())


def test_outputs_come_from_the_features(tiny_network):
    network = tiny_network().eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(images), network.head(network.features(images)))
    assert network.features(images).shape == (2, 16)


def test_weights_come_back_as_they_were_and_give_the_same_bytes_again(tmp_path, tiny_network):
    network = tiny_network(seed=1)
    network(torch.randn(4, 3, 32, 32))  # moves the statistics
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_weights(first, network)
    other = tiny_network(seed=2)
    load_weights(first, other)
    save_weights(second, other)
    assert all(torch.equal(t, other.state_dict()[n]) for n, t in network.state_dict().items())
    assert file_sha256(first) == file_sha256(second)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    # Loading keeps the layout in memory that makes convolutions fast.
    weight = other.body.layer1[0][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_another_networks_weights_are_refused_with_the_differences(tmp_path, tiny_network):
    path = tmp_path / "weights.safetensors"
    save_weights(path, tiny_network(outputs=3))
    network = tiny_network(outputs=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    message = r"weights\.safetensors does not fit the model: head\.6\.weight has shape \[3, 8\] in"
    with pytest.raises(UserError, match=message):
        load_weights(path, network)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_differences_name_what_is_missing_unknown_and_of_another_shape():
    one, two = torch.zeros(1), torch.zeros(2)
    found = state_differences({"a": one, "b": one}, {"b": two, "c": one})
    assert found == [
        "c is missing",
        "b has shape [1] instead of [2]",
        "a is unknown",
    ]
    assert state_differences({"a": one}, {"a": two[:1]}) == []


def test_a_scaled_sigmoid_spans_its_range():
    squash = ScaledSigmoid(-2.0, 6.0)
    assert squash(torch.tensor([-100.0, 0.0, 100.0])).tolist() == [-2.0, 2.0, 6.0]


def test_a_head_with_a_range_ends_in_it():
    head = build_head(6, 2, [], y_range=[-1.0, 1.0])
    assert [type(layer).__name__ for layer in head] == [
        "BatchNorm1d", "Dropout", "Linear", "ScaledSigmoid",
    ]  # fmt: skip
    outputs = head(torch.randn(50, 6) * 1000)
    assert outputs.min() >= -1
    assert outputs.max() <= 1


def test_several_hidden_layers_share_out_the_dropout():
    head = build_head(16, 3, [10, 8], dropout=0.4)
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.2, 0.2, 0.4]
    widths = [(m.in_features, m.out_features) for m in head if isinstance(m, nn.Linear)]
    assert widths == [(16, 10), (10, 8), (8, 3)]
    assert not isinstance(head[-1], nn.ReLU)


def test_norms_and_biases_alone_are_spared_from_decay(tiny_network):
    from thaw.training.optimizer import build_adamw

    network = tiny_network()
    optimizer = build_adamw(network, parameter_groups(network), weight_decay=0.3)
    names = {id(p): name for name, p in network.named_parameters()}
    decays = {
        names[id(p)]: part["weight_decay"]
        for part in optimizer.param_groups
        for p in part["params"]
    }
    assert decays.keys() == {name for name, _ in network.named_parameters()}
    spared = {name for name, decay in decays.items() if decay == 0}
    norms = batch_norms(network)
    assert spared == {n for n in decays if n.endswith("bias") or n.rpartition(".")[0] in norms}
    assert all(decay == 0.3 for name, decay in decays.items() if name not in spared)
    assert {part["group"] for part in optimizer.param_groups} == {0, 1, 2}


def test_the_optimizer_gets_what_trains_and_its_groups_rates(tiny_network):
    from thaw.training.optimizer import build_adamw, set_step
    from thaw.training.schedule import Step

    network = tiny_network()
    freeze(network, train_bn=True)
    optimizer = build_adamw(network, parameter_groups(network), weight_decay=0.01)
    set_step(optimizer, Step([1e-5, 1e-4, 1e-3], 0.87))
    names = {id(p): name for name, p in network.named_parameters()}
    rates = {names[id(p)]: part["lr"] for part in optimizer.param_groups for p in part["params"]}
    assert rates.keys() == trained(network)
    assert rates["body.layer1.0.1.weight"] == 1e-5
    assert rates["body.layer3.0.1.bias"] == 1e-4
    assert rates["head.2.weight"] == 1e-3
    assert {part["betas"] for part in optimizer.param_groups} == {(0.87, 0.99)}
    assert {part["eps"] for part in optimizer.param_groups} == {1e-5}


@pytest.fixture
def recipe():
    from thaw.params.training.model import Model

    return Model(arch="squeezenet1_1", hidden=[16])


def test_the_same_seed_builds_the_same_network_whatever_was_drawn_before(recipe):
    from thaw.training.model import build_network

    torch.manual_seed(1)
    first = build_network(recipe, 3, seed=7)
    state = torch.get_rng_state()
    again = build_network(recipe, 3, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    other = build_network(recipe, 3, seed=8)
    tensors = first.state_dict()
    assert all(torch.equal(t, tensors[n]) for n, t in again.state_dict().items())
    assert not torch.equal(other.head[2].weight, first.head[2].weight)
    assert not torch.equal(other.body.features[0].weight, first.body.features[0].weight)


def test_a_networks_head_does_not_depend_on_its_body(recipe):
    from dataclasses import replace

    from thaw.training.model import build_network

    grey = build_network(replace(recipe, channels=1), 3, seed=7)
    colour = build_network(recipe, 3, seed=7)
    assert torch.equal(grey.head[2].weight, colour.head[2].weight)


def test_loading_another_architecture_is_refused(recipe, tmp_path):
    from dataclasses import replace

    from thaw.training.model import build_network

    path = tmp_path / "model.safetensors"
    save_weights(path, build_network(replace(recipe, arch="mobilenet_v3_small"), 3, seed=7))
    with pytest.raises(UserError, match=r"does not fit the model: body\.features.* is missing"):
        load_weights(path, build_network(recipe, 3, seed=7))
