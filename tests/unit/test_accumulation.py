"""Batches that go through the model in parts."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thaw.core.errors import UserError
from thaw.training.accumulation import Accumulation
from thaw.training.fit import fit
from thaw.training.model import freeze, parameter_groups, training_mode
from thaw.training.precision import gradient_scaler
from thaw.training.resume import Checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


class Limited(nn.Module):
    """A model on a device that holds so many items at once."""

    def __init__(self, model: nn.Module, room: int) -> None:
        super().__init__()
        self.model, self.room = model, room
        self.passes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")
        return self.model(x)


def accumulation(parts: int = 1) -> Accumulation:
    return Accumulation(cross_entropy, "fp32", CPU, "fit_unfrozen", parts)


def gradients_of(model: nn.Module, how: Accumulation, items: int) -> tuple[Tensor, list[Tensor]]:
    """The loss and all gradients of a drawn batch."""
    drawn = torch.Generator().manual_seed(5)
    inputs = torch.randn(items, 3, 32, 32, generator=drawn)
    targets = torch.arange(items) % 2
    model.zero_grad()
    loss = how.backward(model, inputs, targets, gradient_scaler("fp32", CPU))
    return loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(("items", "parts"), [(8, 2), (7, 2), (7, 4), (5, 8)])
def test_gradients_in_parts_add_up_to_the_batchs(tiny_network, items: int, parts: int) -> None:
    network = tiny_network()
    freeze(network, train_bn=False)
    for parameter in network.parameters():
        parameter.requires_grad = True
    network.eval()
    loss, whole = gradients_of(network, accumulation(), items)
    added_loss, added = gradients_of(network, accumulation(parts), items)
    assert len(whole) == len(added) > 10
    torch.testing.assert_close(added_loss, loss)
    for one, other in zip(whole, added, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_a_batch_that_does_not_fit_goes_in_parts_and_so_do_the_next(
    tiny_network, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tiny_network().eval()
    expected = gradients_of(network, accumulation(), 8)[1]
    limited, how = Limited(network, room=2), accumulation()
    found = gradients_of(limited, how, 8)[1]
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)
    assert (how.parts, limited.passes) == (4, [8, 4, 2, 2, 2, 2])
    said = capsys.readouterr().out.splitlines()
    assert [line[:70] for line in said] == [
        "fit_unfrozen: the GPU's memory is too small for 8 items at once. A bat",
        "fit_unfrozen: the GPU's memory is too small for 4 items at once. A bat",
    ]
    gradients_of(limited, how, 8)
    assert limited.passes[6:] == [2, 2, 2, 2]
    assert capsys.readouterr().out == ""


def test_where_not_even_two_items_fit_it_says_so(tiny_network) -> None:
    with pytest.raises(UserError, match=r"even for 8 items in 4 parts.*augment\.image_side"):
        gradients_of(Limited(tiny_network().eval(), room=1), accumulation(), 8)


def test_a_fit_in_parts_is_recorded_and_resumed_in_parts(
    tiny_network, image_batches, make_setting, tmp_path: Path
) -> None:
    limited = Limited(tiny_network(), room=3)
    setting = make_setting(
        parameter_groups(limited.model),
        [1e-3] * 3,
        epochs=1,
        batch_size=4,
        training_mode=lambda m: training_mode(m.model, train_bn=False, frozen=False),
    )
    history = fit(limited, image_batches(), setting, Checkpoint(tmp_path, "key"), lambda _: None)
    assert history.parts == 2
    before = len(limited.passes)
    again = fit(limited, image_batches(), setting, Checkpoint(tmp_path, "key"), lambda _: None)
    assert again.parts == 2
    assert len(limited.passes) == before
