"""The dot product's gradients by hand beside autograd's, and AdamW of one tensor beside torch's."""

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from thaw.params.base import parse
from thaw.params.ratings_model import RatingsModel
from thaw.ratings.gradients import DotProductGradients
from thaw.ratings.model import RatingsNetwork, build_ratings_network
from thaw.training.model import load_weights, save_weights
from thaw.training.optimizer import OneTensorAdamW, build_adamw, set_step
from thaw.training.schedule import Step

pytestmark = pytest.mark.usefixtures("one_thread")
USERS, ITEMS = 7, 11
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def network(bias=True, y_range=None) -> RatingsNetwork:
    values = {"factors": 5, "bias": bias, "y_range": y_range, "init_std": 0.5}
    return build_ratings_network(USERS, ITEMS, parse(RatingsModel, values, "model"), 3).train()


def batches(count=4, size=30) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of rows, of which most come more than once in a batch, and their ratings."""
    generator = torch.Generator().manual_seed(5)
    made = []
    for _ in range(count):
        users = torch.randint(USERS + 1, (size,), generator=generator)
        items = torch.randint(ITEMS + 1, (size,), generator=generator)
        ratings = torch.randint(1, 6, (size, 1), generator=generator).float()
        made.append((torch.stack([users, items]), ratings))
    return made


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("y_range", [None, [0.0, 5.5], [-1.5, 6.0]])
@pytest.mark.parametrize("size", [1, 3, 30])
def test_gradients_equal_autograds(bias, y_range, size) -> None:
    model = network(bias, y_range)
    by_hand = DotProductGradients(model)
    for pairs, ratings in batches(size=size):
        expected = mse_loss(model(pairs), ratings)
        expected.backward()
        loss = by_hand.backward(model, pairs, ratings, NO_SCALER)
        users, items = by_hand.rows.grad.split([USERS + 1, ITEMS + 1])
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        torch.testing.assert_close(users, model.users.weight.grad, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(items, model.items.weight.grad, rtol=1e-5, atol=1e-6)
        assert users.abs().max() > 0.01
        model.zero_grad()


def test_training_by_hand_ends_where_autograd_does() -> None:
    usual, own = network(y_range=[0.0, 5.5]), network(y_range=[0.0, 5.5])
    by_hand = DotProductGradients(own)
    theirs = build_adamw(usual, [list(usual.parameters())], weight_decay=0.1)
    ours = build_adamw(own, [[by_hand.rows]], weight_decay=0.1)
    for step, (pairs, ratings) in enumerate(batches(50)):
        for optimizer in (theirs, ours):
            set_step(optimizer, Step([0.001 * (step + 1)], 0.95 - 0.002 * step))
        loss = mse_loss(usual(pairs), ratings)
        loss.backward()
        assert by_hand.backward(own, pairs, ratings, NO_SCALER).item() == pytest.approx(
            loss.item(), rel=1e-5
        )
        for optimizer in (theirs, ours):
            optimizer.step()
            optimizer.zero_grad()
    for name, weight in usual.state_dict().items():
        assert not torch.equal(weight, network(y_range=[0.0, 5.5]).state_dict()[name])
        torch.testing.assert_close(own.state_dict()[name], weight, rtol=1e-4, atol=1e-5)


def test_the_models_rows_stay_parts_of_the_trained_tensor(tmp_path) -> None:
    model = network()
    by_hand = DotProductGradients(model)
    save_weights(tmp_path / "model.safetensors", network())
    with torch.no_grad():
        by_hand.rows.fill_(2.0)
    assert model.users.weight.eq(2).all()
    assert model.items.weight.eq(2).all()
    save_weights(tmp_path / "filled.safetensors", model)  # parts of one tensor can be written
    load_weights(tmp_path / "model.safetensors", model)
    torch.testing.assert_close(
        by_hand.rows.detach(), torch.cat([network().users.weight, network().items.weight])
    )
    model.eval()  # makes the unknown rows averages
    torch.testing.assert_close(by_hand.rows[0], by_hand.rows[1 : USERS + 1].mean(0))


def test_adamw_of_one_tensor_equals_torchs() -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(9, 4, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    one = build_adamw(nn.ParameterList([ours]), [[ours]], weight_decay=0.3)
    usual = torch.optim.AdamW(
        [theirs], lr=0.0, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.3, fused=True
    )
    usual.param_groups[0]["group"] = 0
    assert isinstance(one, OneTensorAdamW)
    for k in range(20):
        gradient = torch.randn(9, 4, generator=generator)
        for optimizer, parameter in ((one, ours), (usual, theirs)):
            set_step(optimizer, Step([0.01 * (k + 1)], 0.95 - 0.01 * k))
            parameter.grad = gradient.clone()
            optimizer.step()
            optimizer.zero_grad()
            assert parameter.grad is None
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, start)
    for name, value in usual.state[theirs].items():
        assert torch.equal(one.state[ours][name], value)


def test_a_gradient_that_overflowed_is_skipped_by_a_scaler_as_torchs() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = build_adamw(nn.ParameterList([parameter]), [[parameter]], weight_decay=0.3)
    set_step(optimizer, Step([0.1], 0.9))
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    for factor, changes in ((1.0, True), (float("inf"), False), (1.0, True)):
        before = parameter.detach().clone()
        scaler.scale((parameter * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert torch.equal(parameter, before) != changes
    assert parameter.isfinite().all()


def test_a_step_without_a_gradient_changes_nothing() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = build_adamw(nn.ParameterList([parameter]), [[parameter]], weight_decay=0.3)
    set_step(optimizer, Step([0.1], 0.9))
    parameter.grad = torch.ones(3)
    optimizer.step()
    optimizer.zero_grad()
    before = parameter.detach().clone()
    optimizer.step()
    assert torch.equal(parameter, before)
