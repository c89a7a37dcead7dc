"""Number formats: the rule, fp16's gradient scaler, depthwise convolutions in bf16."""

import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

from thaw.training import precision as precision_module
from thaw.training.accumulation import Accumulation
from thaw.training.fit import fit, train_one_epoch
from thaw.training.optimizer import build_adamw
from thaw.training.precision import (
    DepthwiseConv2d,
    autocast,
    choose_precision,
    cpu_computes_bf16,
    gradient_scaler,
    keep_depthwise_fp32,
)
from thaw.training.resume import Checkpoint
from thaw.training.schedule import Step

pytestmark = pytest.mark.usefixtures("one_thread")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


DENSE = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
DEPTHWISE = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8))
NO_CONVOLUTION = nn.Linear(3, 2)


@pytest.mark.parametrize("model", [DENSE, DEPTHWISE, NO_CONVOLUTION])
def test_auto_is_fp16_on_a_gpu(model):
    assert choose_precision("auto", CUDA, model) == "fp16"


@pytest.mark.parametrize("hardware", [True, False])
@pytest.mark.parametrize(
    ("model", "pays"), [(DENSE, True), (DEPTHWISE, False), (NO_CONVOLUTION, False)]
)
def test_auto_is_bf16_on_a_cpu_where_it_pays(model, pays, hardware, monkeypatch):
    monkeypatch.setattr(precision_module, "cpu_computes_bf16", lambda: hardware)
    assert choose_precision("auto", CPU, model) == ("bf16" if pays and hardware else "fp32")


def test_bf16_on_a_cpu_is_a_matter_of_its_flags():
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            flags = {flag for line in file if line.startswith("flags") for flag in line.split()}
    except FileNotFoundError:
        pytest.skip("needs Linux to look the processor's flags up")
    if not flags:
        pytest.skip("no x86 processor")
    assert cpu_computes_bf16() == bool({"avx512_bf16", "amx_tile"} & flags)


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
def test_a_named_precision_is_taken_at_its_word(wanted, device):
    assert choose_precision(wanted, device, DENSE) == wanted


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_matrices_are_multiplied_in_the_precisions_format(precision, dtype):
    with autocast(precision, CPU):
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == dtype


def test_only_fp16_scales_its_losses():
    loss = torch.tensor(1.0)
    for precision in ("fp32", "bf16"):
        scaler = gradient_scaler(precision, CPU)
        assert scaler.scale(loss) == 1
        assert scaler.state_dict() == {}
    assert gradient_scaler("fp16", CPU).scale(loss) == 65536


class Overflowing:
    """Inputs so large that gradients overflow fp16 until the loss is scaled less."""

    items = 8
    valid_items = 2

    def train(self, epoch):
        generator = torch.Generator().manual_seed(epoch)
        for _ in range(4):
            yield 4 * torch.randn(2, 5, generator=generator), torch.tensor([0, 1])

    def valid(self):
        yield torch.ones(2, 5), torch.tensor([0, 1])


def test_an_overflow_skips_the_step_and_halves_the_scale_while_the_schedule_goes_on(make_setting):
    torch.manual_seed(0)
    model = nn.Linear(5, 2)
    setting = make_setting([list(model.parameters())], [1e-3], precision="fp16", epochs=1)
    optimizer = build_adamw(model, setting.groups, 0.01)
    scaler = gradient_scaler("fp16", CPU)
    seen = []

    class Watched(Overflowing):
        def train(self, epoch):
            for batch in super().train(epoch):
                before = model.weight.detach().clone()
                yield batch
                moved = not torch.equal(before, model.weight)
                seen.append((scaler.get_scale(), moved, optimizer.param_groups[0]["lr"]))

    steps = [Step([lr], 0.9) for lr in (1e-3, 2e-3, 3e-3, 4e-3)]
    gradients = Accumulation(setting.loss, "fp16", CPU, setting.stage)
    losses = train_one_epoch(model, Watched(), 0, steps, optimizer, scaler, setting, gradients)

    assert len(losses) == 4
    scales, moved, rates = zip(*seen, strict=True)
    skipped = moved.count(False)
    assert moved == (False,) * skipped + (True,) * (4 - skipped)  # then it trains
    assert skipped in (1, 2, 3)
    assert scales == tuple(65536 / 2 ** min(step, skipped) for step in (1, 2, 3, 4))
    assert rates == (1e-3, 2e-3, 3e-3, 4e-3)
    assert optimizer.state[model.weight]["step"] == 4 - skipped


def test_the_scalers_state_survives_a_resume(tmp_path, make_setting):
    class Killed(Exception):
        pass

    def kill(history):
        raise Killed

    def run(folder, on_epoch):
        torch.manual_seed(0)
        model = nn.Linear(5, 2)
        setting = make_setting(
            [list(model.parameters())], [1e-3], precision="fp16", epochs=2, batch_size=2
        )
        history = fit(model, Overflowing(), setting, Checkpoint(folder, "key"), on_epoch)
        return model, history

    def saved_scaler(folder):
        with safe_open(folder / "key.safetensors", framework="pt") as file:
            return json.loads(file.metadata()["state"])["scaler"]

    with pytest.raises(Killed):
        run(tmp_path / "killed", kill)
    half_way = saved_scaler(tmp_path / "killed")
    assert half_way["scale"] < 65536
    assert half_way["_growth_tracker"] > 0

    resumed, resumed_history = run(tmp_path / "killed", lambda history: None)
    whole, whole_history = run(tmp_path / "whole", lambda history: None)

    assert saved_scaler(tmp_path / "killed") == saved_scaler(tmp_path / "whole")
    assert torch.equal(resumed.weight, whole.weight)
    assert resumed_history == whole_history


def test_depthwise_convolutions_train_in_fp32_inside_bf16():
    plain = nn.Conv2d(6, 6, 3, groups=6)
    network = nn.Sequential(nn.Conv2d(3, 6, 1), plain)
    images = torch.randn(2, 3, 8, 8)
    keep_depthwise_fp32(network)
    with autocast("bf16", CPU):
        maps = network[0](images)
        outputs = network[1](maps)
        assert maps.dtype == torch.bfloat16
        assert outputs.dtype == torch.float32
        with torch.no_grad():
            assert network[1](maps).dtype == torch.bfloat16
    outputs.sum().backward()
    wanted = nn.functional.conv2d(maps.float(), plain.weight, plain.bias, groups=6)
    assert torch.equal(outputs, wanted)
    assert plain.weight.grad.dtype == torch.float32


def test_only_depthwise_convolutions_change_and_keep_their_weights():
    depthwise, grouped = nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(6, 6, 3, groups=3)
    dense, single = nn.Conv2d(6, 6, 3), nn.Conv2d(1, 6, 3)
    network = nn.Sequential(nn.Sequential(depthwise), grouped, dense, single)
    weight, names = depthwise.weight, list(network.state_dict())
    keep_depthwise_fp32(network)
    assert [type(m) for m in network.modules() if isinstance(m, nn.Conv2d)] == [
        DepthwiseConv2d, nn.Conv2d, nn.Conv2d, nn.Conv2d,
    ]  # fmt: skip
    assert depthwise.weight is weight
    assert list(network.state_dict()) == names


def test_outside_of_autocast_a_depthwise_convolution_is_as_before():
    depthwise = nn.Conv2d(6, 6, 3, groups=6)
    images = torch.randn(2, 6, 8, 8)
    before = depthwise(images)
    keep_depthwise_fp32(nn.Sequential(depthwise))
    assert torch.equal(depthwise(images), before)
