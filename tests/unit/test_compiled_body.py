"""A compiled body computes what the network does, whatever its batches and its process."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from thaw.images import Decoded
from thaw.params.training.model import Model
from thaw.predictor import MANY, open_predictor
from thaw.training.model import Network, build_network, save_weights
from thaw.vision.compiled_body import CHUNK, CompiledBody, fold_and_compile
from thaw.vision.folding import folded
from thaw.vision.model_file import ModelFile, write_model_file

pytestmark = pytest.mark.usefixtures("one_thread")
x86_linux = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="torch has no compiler here"
)


def network_of(arch: str, channels: int = 3) -> Network:
    network = build_network(Model(arch=arch, channels=channels), 2, 0).eval()
    draws = torch.Generator().manual_seed(0)
    for module in network.body.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics unlike fresh ones
            module.running_mean.uniform_(-0.5, 0.5, generator=draws)
            module.running_var.uniform_(0.5, 2.0, generator=draws)
    return network


def images(count: int, channels: int = 3) -> torch.Tensor:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, 64, 64, generator=draws)


@x86_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    "arch", ["mobilenet_v2", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf"]
)
def test_a_compiled_body_computes_the_same(arch: str) -> None:
    network, seen = network_of(arch), images(5)
    compiled = fold_and_compile(network)
    assert isinstance(compiled.body[0], CompiledBody)
    with torch.no_grad():
        live = network.features(seen)
        features = compiled.features(seen)
    torch.testing.assert_close(features, live, rtol=1e-4, atol=1e-4 * live.abs().max().item())
    assert "oneDNNFusionGroup" in str(torch.jit.last_executed_optimized_graph())
    assert not torch._C._jit_llga_enabled()  # others' scripts are compiled as before


@x86_linux
@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_has_the_same_maps_in_every_batch(channels: int) -> None:
    compiled = fold_and_compile(network_of("mnasnet0_5", channels))
    seen = images(2 * CHUNK + 5, channels)
    with torch.no_grad():
        features = compiled.features(seen)
        last_first = seen.flip(0).contiguous(memory_format=torch.channels_last)
        assert torch.equal(compiled.features(last_first).flip(0), features)
        for position in (0, CHUNK, 2 * CHUNK + 4):
            one = seen[position : position + 1]
            assert torch.equal(compiled.features(one)[0], features[position])


DIGITS = """
import hashlib
import torch
from tests.unit.test_compiled_body import fold_and_compile, images, network_of
torch.set_num_threads(1)
with torch.no_grad():
    features = fold_and_compile(network_of("mnasnet0_5")).features(images(20)[{first}:])
print(hashlib.sha256(features[-3:].numpy().tobytes()).hexdigest())
"""


@x86_linux
@pytest.mark.slow
def test_every_process_computes_the_same_bits() -> None:
    def digits(first: int) -> str:
        command = [sys.executable, "-c", DIGITS.format(first=first)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert digits(first=0) == digits(first=11)


@x86_linux
@pytest.mark.slow
def test_many_images_are_answered_by_a_compiled_body(tmp_path: Path) -> None:
    network = network_of("mnasnet0_5")
    about = ModelFile(
        task="label", model=Model(arch="mnasnet0_5"), vocab=["a", "b"], outputs=2, presize=64,
        image_side=64, resize="crop", mean=[0.5] * 3, std=[0.2] * 3, device="cpu", precision="fp32",
    )  # fmt: skip
    write_model_file(tmp_path / "model.json", about)
    save_weights(tmp_path / "model.safetensors", network)
    few, many = open_predictor(tmp_path), open_predictor(tmp_path, MANY)
    assert [type(p.network.body[0]) is CompiledBody for p in (few, many)] == [False, True]
    draws = np.random.default_rng(0)
    photos = [Decoded(draws.integers(256, size=(70, 64, 3), dtype=np.uint8), 70, 64)] * 3
    for count in (3, 1):
        answers = many.outputs(photos[:count])
        np.testing.assert_allclose(answers, few.outputs(photos[:count]), rtol=1e-4, atol=1e-4)


def test_a_body_without_groups_is_folded_alone(tiny_network) -> None:
    folded = fold_and_compile(tiny_network().eval())
    assert not any(isinstance(module, CompiledBody) for module in folded.modules())


def test_a_broken_body_does_not_look_sound_when_compiled() -> None:
    network = network_of("mnasnet0_5")
    next(m for m in network.body.modules() if isinstance(m, nn.BatchNorm2d)).running_var[0] = -1
    with torch.no_grad():
        assert network.features(images(2)).isnan().any()
        assert fold_and_compile(network).features(images(2)).isnan().any()


def test_where_torch_has_no_compiler_the_body_is_folded_alone(monkeypatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    folded = fold_and_compile(network_of("mnasnet0_5"))
    assert not any(isinstance(module, CompiledBody) for module in folded.modules())


@x86_linux
@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 40])  # at 32 pixels the last maps are one
def test_small_images_have_the_same_maps_in_every_batch(side: int, capsys) -> None:
    network = network_of("mobilenet_v2")
    compiled, seen = fold_and_compile(network), images(3)[:, :, :side, :side]
    with torch.no_grad():
        live, features = network.features(seen), compiled.features(seen)
        assert torch.equal(compiled.features(seen[1:2])[0], features[1])
    torch.testing.assert_close(features, live, rtol=1e-4, atol=1e-4 * live.abs().max().item())
    assert capsys.readouterr().out == ""


def test_what_cannot_be_compiled_is_computed_and_told(monkeypatch, capsys) -> None:
    def fails(*_, **__):
        raise RuntimeError("traced\nno such primitive")

    monkeypatch.setattr(torch.jit, "trace", fails)
    network = network_of("mnasnet0_5")
    with torch.no_grad():
        live = network.features(images(2))
        features = CompiledBody(folded(network.body))(images(2))
    torch.testing.assert_close(features.amax((2, 3)), live[:, : live.shape[1] // 2])
    assert "oneDNN does not compile this body: no such primitive" in capsys.readouterr().out
    assert not torch._C._jit_llga_enabled()
