"""Weights from outside: only tensors, verified, and of the right architecture."""

import hashlib
import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from thaw.core.errors import UserError
from thaw.core.files import file_sha256
from thaw.training.body import adapt_first_convolution
from thaw.training.model import save_weights
from thaw.weights import (
    check_hash_in_name,
    load_body,
    read_state,
    state_channels,
    torchvision_address,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def body(channels=3, width=4):
    """A body of two convolutions and a norm, named as torchvision names a ResNet's."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, width, 3),
            bn1=nn.BatchNorm2d(width),
            layer1=nn.Sequential(nn.Conv2d(width, 6, 3)),
        )
    )


def whole_model():
    """What a file of torchvision holds: the body and a classifier."""
    torch.manual_seed(1)
    return {**body().state_dict(), "fc.weight": torch.ones(5, 6), "fc.bias": torch.ones(5)}


class Runs:
    """Pickles as an order to create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_come_back_from_either_kind_of_file(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    state = whole_model()
    if suffix == ".pth":
        torch.save(OrderedDict(state), path)
    else:
        save_file(state, path)
    found = read_state(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_torchs_oldest_format_is_read_as_well(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(whole_model(), path, _use_new_zipfile_serialization=False)
    assert read_state(path).keys() == whole_model().keys()


@pytest.mark.parametrize("kind", ["zip", "old", "bare pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, kind):
    path, proof = tmp_path / "model.pth", tmp_path / "proof"
    state = whole_model() | {"extra": Runs(proof)}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps({"extra": Runs(proof)}, protocol=2))
        with pytest.raises(UserError):
            read_state(path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
        with pytest.raises(UserError, match=r"model\.pth .*more in it than tensors.*safetensors"):
            read_state(path)
    assert not proof.exists()
    order, arguments = Runs(proof).__reduce__()  # what reading the pickle would have called
    order(*arguments).close()
    assert proof.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404 not found</html>", b"\0" * 100, b"PK\x03\x04" + b"\0" * 60, b"\x80\x02N."],
)
def test_files_of_anything_else_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="model"):
        read_state(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_half_a_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    torch.save(whole_model(), path) if suffix == ".pth" else save_file(whole_model(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_state(path)


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "."])
def test_a_missing_file_and_a_folder_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"weights\.source: there is no file"):
        read_state(tmp_path / name)


@pytest.mark.parametrize("content", [{"model": {"a": torch.zeros(1)}}, [torch.zeros(1)], {"a": 1}])
def test_tensors_in_another_arrangement_are_refused(tmp_path, content):
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match="is not a state_dict: it must map names to tensors"):
        read_state(path)


def test_the_hash_in_a_name_is_checked(tmp_path, capsys):
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    good = tmp_path / f"resnet34-{digest[:8]}.pth"
    whole = tmp_path / f"resnet34-{digest}.safetensors"
    damaged = tmp_path / "resnet34-b627a593.pth"
    for path in (good, whole, damaged):
        path.write_bytes(content)
    check_hash_in_name(good)
    check_hash_in_name(whole)
    assert capsys.readouterr().out == ""
    message = rf"damaged .* SHA-256 {digest[:12]}… does not begin with b627a593\. Fetch it again"
    with pytest.raises(UserError, match=message):
        check_hash_in_name(damaged)


@pytest.mark.parametrize("name", ["model.pth", "resnet34-latest.pth", "model-2024.safetensors"])
def test_a_name_without_a_hash_is_told(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"weights")
    check_hash_in_name(tmp_path / name)
    assert f"{name} carries no hash in its name" in capsys.readouterr().out


def test_a_body_takes_its_tensors_and_leaves_the_classifier_out(capsys):
    state, target = whole_model(), body()
    load_body(target, state, "model.pth")
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, state[name])
    # 4 of convolutions, 5 of the norm
    assert capsys.readouterr().out == "body: 9 tensors loaded, 2 others left out\n"


def test_counters_of_seen_batches_may_be_missing():
    state = {n: t for n, t in whole_model().items() if "num_batches" not in n}
    target = body()
    load_body(target, state, "model.pth")
    assert torch.equal(target.conv1.weight, state["conv1.weight"])
    assert target.bn1.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer1.0.weight"), r"layer1\.0\.weight is missing"),
        (lambda state: state.update({"conv1.weight": torch.ones(9, 3, 3, 3)}), r"\[9, 3, 3, 3\]"),
    ],
)
def test_another_architectures_tensors_are_refused(change, message):
    state, target = whole_model(), body()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    change(state)
    expected = rf"weights\.source: model\.pth does not fit model\.arch: .*{message}.*another arch"
    with pytest.raises(UserError, match=expected):
        load_body(target, state, "model.pth")
    assert all(torch.equal(t, before[n]) for n, t in target.state_dict().items())


def test_a_model_of_another_recipe_gives_its_body(tmp_path, tiny_network, capsys):
    network, other = tiny_network(seed=1, outputs=5), tiny_network(seed=2)
    network(torch.randn(4, 3, 32, 32))
    path = tmp_path / "model.safetensors"
    save_weights(path, network)
    state = read_state(path)
    assert state_channels(other.body, state) == 3
    load_body(other.body, state, str(path))
    for name, tensor in network.body.state_dict().items():
        assert torch.equal(other.body.state_dict()[name], tensor)
    assert not torch.equal(other.head[2].weight, network.head[2].weight)


@pytest.mark.parametrize("prefix", ["", "body."])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_number_of_channels_is_the_first_convolutions(tmp_path, prefix, channels):
    """Whatever the order in the file, which for safetensors is the alphabet's."""
    late_name = nn.Sequential(
        OrderedDict(stem=nn.Conv2d(channels, 4, 3), blocks=nn.Conv2d(4, 6, 3))
    )
    path = tmp_path / "model.safetensors"
    save_file({f"{prefix}{n}": t for n, t in late_name.state_dict().items()}, path)
    state = read_state(path)
    assert next(iter(state)) == f"{prefix}blocks.bias"
    target = nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 3), blocks=nn.Conv2d(4, 6, 3)))
    assert state_channels(target, state) == channels
    if channels != 3:
        adapt_first_convolution(target, channels)
    load_body(target, state, "model.safetensors")
    assert torch.equal(target.stem.weight, late_name.stem.weight)


def test_without_the_first_convolution_the_loading_tells():
    assert state_channels(body(), {"other": torch.zeros(2, 9, 1, 1)}) == 3


def test_torchvisions_own_densenet_files_have_older_names():
    block = nn.Sequential(OrderedDict(norm1=nn.BatchNorm2d(3), conv1=nn.Conv2d(3, 4, 1)))
    target = nn.Sequential(
        OrderedDict(features=nn.Sequential(OrderedDict(denselayer12=block)), relu=nn.ReLU())
    )
    prefix = "features.denselayer12"
    state = {
        f"{prefix}.norm.1.weight": torch.full((3,), 2.0),
        f"{prefix}.norm.1.bias": torch.full((3,), 3.0),
        f"{prefix}.norm.1.running_mean": torch.full((3,), 4.0),
        f"{prefix}.norm.1.running_var": torch.full((3,), 5.0),
        f"{prefix}.conv.1.weight": torch.full((4, 3, 1, 1), 6.0),
        f"{prefix}.conv.1.bias": torch.full((4,), 7.0),
        "classifier.weight": torch.ones(2, 4),
    }
    load_body(target, state, "densenet121-a639ec97.pth")
    assert block.norm1.running_var.tolist() == [5.0] * 3
    assert block.conv1.weight.unique().item() == 6.0


def test_files_of_the_same_weights_have_the_same_bytes(tmp_path):
    torch.manual_seed(1)
    module = body()
    for name in ("one", "two"):
        save_weights(tmp_path / f"{name}.safetensors", module)
    assert file_sha256(tmp_path / "one.safetensors") == file_sha256(tmp_path / "two.safetensors")


def test_torchvisions_addresses_carry_hashes():
    address = torchvision_address("resnet34", "IMAGENET1K_V1")
    assert address == "https://download.pytorch.org/models/resnet34-b627a593.pth"
    assert torchvision_address("resnet50", "DEFAULT").startswith("https://download.pytorch.org/")


def test_unknown_names_of_torchvision_are_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"resnet34 has no weights 'IMAGENET1K_V3'; did you mean"):
        torchvision_address("resnet34", "IMAGENET1K_V3")
    with pytest.raises(UserError, match=r"model\.arch: 'resnt34' .* did you mean 'resnet34'"):
        torchvision_address("resnt34", "DEFAULT")
