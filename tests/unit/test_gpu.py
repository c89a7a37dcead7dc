"""What only a GPU can show: skipped without CUDA."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from thaw.training.accumulation import Accumulation
from thaw.training.batches import resident_pixels
from thaw.training.fit import fit
from thaw.training.model import parameter_groups
from thaw.training.precision import choose_precision, gradient_scaler
from thaw.training.resume import Checkpoint

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_resident_pixels_are_those_of_the_file(image_batches) -> None:
    cuda, batches = torch.device("cuda"), image_batches()
    from_file = replace(batches.training, device=cuda)
    resident = replace(from_file, resident=resident_pixels(from_file.packed, cuda))
    view, positions = from_file.plain(), torch.arange(7)
    assert torch.equal(from_file.render(positions, view), resident.render(positions, view))
    parts = list(positions.split(2))
    for part, canvas in zip(parts, from_file.canvases(parts), strict=True):
        assert torch.equal(canvas, resident.canvas(part))


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_fit_on_the_gpu_learns(
    tiny_network, image_batches, make_setting, tmp_path: Path, precision: str
) -> None:
    cuda = torch.device("cuda")
    assert choose_precision("auto", cuda, nn.Linear(1, 1)) == "fp16"
    network, batches = tiny_network().to(cuda), image_batches()
    batches = replace(
        batches,
        training=replace(batches.training, device=cuda),
        validation=replace(batches.validation, device=cuda),
    )
    setting = make_setting(
        parameter_groups(network), [1e-2] * 3, epochs=20, batch_size=4, precision=precision
    )
    setting = replace(setting, device=cuda)
    history = fit(network, batches, setting, Checkpoint(tmp_path, "key"), lambda _: None)
    losses = [row["train_loss"] for row in history.epochs]
    assert losses[-1] < losses[0]


def test_a_batch_larger_than_the_memory_goes_in_parts() -> None:
    """64 images whose maps take gigabytes, in a share of the memory that holds a few of them."""
    cuda = torch.device("cuda")
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.to(cuda)
    inputs, targets = torch.rand(64, 3, 512, 512, device=cuda), torch.zeros(64, 64, device=cuda)
    scaler = gradient_scaler("fp32", cuda)
    whole = Accumulation(mse_loss, "fp32", cuda, "fit_unfrozen")
    loss = whole.backward(model, inputs, targets, scaler)
    expected = model[0].weight.grad.clone()
    model.zero_grad()
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info(cuda)
    torch.cuda.set_per_process_memory_fraction(3 * 2**30 / total)
    try:
        parts = Accumulation(mse_loss, "fp32", cuda, "fit_unfrozen")
        torch.testing.assert_close(parts.backward(model, inputs, targets, scaler), loss)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert parts.parts > 1
    torch.testing.assert_close(model[0].weight.grad, expected, rtol=1e-3, atol=1e-7)
