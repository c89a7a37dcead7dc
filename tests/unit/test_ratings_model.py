"""The ratings model by hand and by one-hot products, its errors, and its batches."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss, one_hot

from thaw.core.errors import UserError
from thaw.params.base import parse
from thaw.params.ratings_model import RatingsFit, RatingsModel
from thaw.ratings.batches import RatingsBatches
from thaw.ratings.metrics import errors, final_errors, nearest_level, per_level
from thaw.ratings.model import (
    RatingsNetwork,
    build_ratings_network,
    factors_for,
    hidden_layers,
)
from thaw.training.optimizer import build_adamw

pytestmark = pytest.mark.usefixtures("one_thread")


def settings(**values) -> RatingsModel:
    return parse(RatingsModel, values, "model")


def filled(network: RatingsNetwork, users, items) -> RatingsNetwork:
    """Give a network known rows, the unknown one first."""
    with torch.no_grad():
        network.users.weight.copy_(torch.tensor(users))
        network.items.weight.copy_(torch.tensor(items))
    return network


# Two users and three items of two factors; the unknown rows would show.
USERS = [[9.0, 9.0], [1.0, 2.0], [-1.0, 0.5]]
ITEMS = [[9.0, 9.0], [3.0, 1.0], [0.0, -2.0], [0.5, 0.5]]
PAIRS = torch.tensor([[1, 1, 2, 2], [1, 2, 1, 3]])
DOTS = [5.0, -4.0, -2.5, -0.25]
USER_BIAS, ITEM_BIAS = [9.0, 0.1, -0.2], [9.0, 1.0, 0.5, -0.5]
WITH_BIASES = [6.1, -3.4, -1.7, -0.95]  # 5 + 0.1 + 1; -4 + 0.1 + 0.5; -2.5 - 0.2 + 1; ...


def with_bias(rows, biases):
    return [[*row, bias] for row, bias in zip(rows, biases, strict=True)]


def rated(network: RatingsNetwork, pairs=PAIRS) -> list[float]:
    outputs = network(pairs)
    assert outputs.shape == (pairs.shape[1], 1)
    return outputs.squeeze(1).tolist()


def test_dot_product_by_hand() -> None:
    network = RatingsNetwork(2, 3, settings(factors=2, bias=False, y_range=None))
    assert rated(filled(network, USERS, ITEMS)) == DOTS


def test_biases_are_added_by_hand() -> None:
    network = RatingsNetwork(2, 3, settings(factors=2, bias=True, y_range=None))
    filled(network, with_bias(USERS, USER_BIAS), with_bias(ITEMS, ITEM_BIAS))
    assert rated(network) == pytest.approx(WITH_BIASES, abs=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_the_range_is_a_scaled_sigmoid_of_everything(bias) -> None:
    network = RatingsNetwork(2, 3, settings(factors=2, bias=bias, y_range=[0.0, 5.5]))
    if bias:
        filled(network, with_bias(USERS, USER_BIAS), with_bias(ITEMS, ITEM_BIAS))
    else:
        filled(network, USERS, ITEMS)
    plain = WITH_BIASES if bias else DOTS
    assert rated(network) == pytest.approx([5.5 / (1 + math.exp(-x)) for x in plain], abs=1e-5)


def test_neural_variant_by_hand() -> None:
    """Factors side by side, linear, ReLU, batch norm, linear; the biases are added after it."""
    model = settings(factors=2, bias=True, y_range=[-1.0, 1.0], hidden=[2])
    network = RatingsNetwork(2, 3, model)
    filled(network, with_bias(USERS, USER_BIAS), with_bias(ITEMS, ITEM_BIAS))
    linear, relu, norm, last = network.layers
    assert isinstance(relu, nn.ReLU)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]))
        norm.running_mean.copy_(torch.tensor([1.0, 0.0]))
        norm.running_var.copy_(torch.tensor([4.0, 1.0]))
        norm.weight.copy_(torch.tensor([2.0, 1.0]))
        norm.bias.copy_(torch.tensor([0.0, -1.0]))
        last.weight.copy_(torch.tensor([[0.1, 0.2]]))
        last.bias.copy_(torch.tensor([0.3]))
    # User 1 (1, 2), item 1 (3, 1): hidden 1 + 1 = 2 and 2 + 3 = 5; normed 1 and 4;
    # 0.1 + 0.8 + 0.3 = 1.2. User 1, item 2 (0, -2): -1 and 2; ReLU 0 and 2; normed -1 and 1; 0.4.
    plain = [1.2 + 0.1 + 1.0, 0.4 + 0.1 + 0.5]
    network.eval()
    assert rated(network, PAIRS[:, :2]) == pytest.approx(
        [2 / (1 + math.exp(-x)) - 1 for x in plain], abs=1e-4
    )


def test_neural_variant_has_fastais_layers_and_widths() -> None:
    network = RatingsNetwork(943, 1634, settings(factors=None, hidden=[100, 50]))
    assert network.users.weight.shape == (944, 74 + 1)
    assert network.items.weight.shape == (1635, 101 + 1)
    shapes = [[tuple(p.shape) for p in layer.parameters()] for layer in network.layers]
    assert shapes == [
        [(100, 175)], [], [(100,), (100,)],
        [(50, 100)], [], [(50,), (50,)],
        [(1, 50), (1,)],
    ]  # fmt: skip
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [nn.Linear, nn.ReLU, nn.BatchNorm1d] * 2 + [nn.Linear]
    few = RatingsNetwork(4, 6, settings(factors=None, hidden=[3], bias=False))
    assert few.users.weight.shape == (5, 4)  # 1.6 * 5 ** 0.56 = 3.9; without the unknown 3.5
    assert few.items.weight.shape == (7, 5)  # 4.8, 4.4
    plain = RatingsNetwork(4, 5, settings(factors=3, hidden=[7], bias=False))
    assert plain.users.weight.shape == (5, 3)
    assert plain.layers[0].weight.shape == (7, 6)
    assert hidden_layers(6, [7])[-1].weight.shape == (1, 7)


def test_a_neural_net_tells_users_from_items() -> None:
    """Unlike a dot product it changes when their factors are exchanged."""
    network = build_ratings_network(2, 2, settings(factors=2, hidden=[8], init_std=1.0), seed=0)
    network.eval()
    before = rated(network, PAIRS[:, :2])
    with torch.no_grad():
        users, items = network.users.weight.clone(), network.items.weight.clone()
    after = rated(filled(network, items.tolist(), users.tolist()), PAIRS[:, :2].flip(0))
    assert before != pytest.approx(after, abs=1e-4)


def test_how_many_factors_fastai_takes() -> None:
    # The lessons' 943 users and 1634 titles, and one unknown of each: 1.6 * 944 ** 0.56 = 74.1.
    assert [factors_for(rows) for rows in (944, 1635)] == [74, 101]
    assert [factors_for(rows) for rows in (2, 10**9)] == [2, 600]


@pytest.mark.parametrize("hidden", [[], [6]])
@pytest.mark.parametrize("bias", [False, True])
def test_embedding_equals_the_one_hot_product(hidden, bias) -> None:
    """In values, and in the gradients of factors and biases."""
    model = settings(factors=4, bias=bias, hidden=hidden, init_std=0.5)
    network = build_ratings_network(5, 7, model, seed=3).double()
    pairs = torch.tensor([[1, 5, 2, 2, 1], [7, 3, 3, 1, 7]])  # rows used once, twice, never
    targets = torch.tensor([[4.0], [1.0], [3.0], [5.0], [2.0]], dtype=torch.float64)
    network.train()
    found = network(pairs)
    mse_loss(found, targets).backward()

    factors = [table.weight.detach().clone().requires_grad_() for table in network_tables(network)]
    user_rows, item_rows = (
        one_hot(rows, len(table)).double() @ table
        for rows, table in zip(pairs, factors, strict=True)
    )
    if hidden:
        score = network.layers(torch.cat([user_rows[:, :4], item_rows[:, :4]], 1))
    else:
        score = (user_rows[:, :4] * item_rows[:, :4]).sum(1, keepdim=True)
    if bias:
        score = score + user_rows[:, 4:] + item_rows[:, 4:]
    expected = torch.sigmoid(score) * 5.5
    mse_loss(expected, targets).backward()

    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for table, dense in zip(network_tables(network), factors, strict=True):
        torch.testing.assert_close(table.weight.grad, dense.grad, rtol=1e-10, atol=1e-12)
    assert network.users.weight.grad[[0, 3, 4]].abs().sum() == 0
    assert (network.users.weight.grad[[1, 2, 5]].abs().sum(1) > 0).all()


def network_tables(network: RatingsNetwork) -> tuple[nn.Embedding, nn.Embedding]:
    return network.users, network.items


def test_the_unknown_are_the_mean_of_the_known_in_eval_mode_alone() -> None:
    network = RatingsNetwork(2, 3, settings(factors=2, bias=True, y_range=None))
    filled(network, with_bias(USERS, USER_BIAS), with_bias(ITEMS, ITEM_BIAS))
    network.train()
    assert network.users.weight[0].tolist() == [9, 9, 9]
    network.eval()
    assert network.users.weight[0].tolist() == pytest.approx([0.0, 1.25, -0.05])
    assert network.items.weight[0].tolist() == pytest.approx([3.5 / 3, -0.5 / 3, 1.0 / 3])
    known = torch.tensor(with_bias(USERS, USER_BIAS))[1:]
    assert torch.equal(network.users.weight[1:], known)
    # An unknown user likes an item as much as its bias and an average taste say.
    assert rated(network, torch.tensor([[0], [2]])) == pytest.approx([-2.5 - 0.05 + 0.5])
    assert network.users.weight.requires_grad
    assert not network.training
    assert network.train() is network
    assert network.training


def test_the_first_weights_depend_on_the_seed_alone() -> None:
    model = settings(factors=5, hidden=[4])
    torch.manual_seed(1)
    first = build_ratings_network(6, 8, model, seed=1).state_dict()
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = build_ratings_network(6, 8, model, seed=1).state_dict()
    other = build_ratings_network(6, 8, model, seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if "weight" in name and "layers.2" not in name]
    assert len(drawn) == 4  # two tables, two linear layers
    assert not any(torch.equal(first[name], other[name]) for name in drawn)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state()), "drawing leaves the global generator alone"


def test_first_weights_are_normal_and_within_two_standard_deviations() -> None:
    network = build_ratings_network(2000, 50, settings(factors=30, init_std=0.1), seed=0)
    rows = network.users.weight
    assert rows.abs().max() <= 0.2
    assert rows.std().item() == pytest.approx(0.1 * 0.880, rel=0.02)  # of a normal one cut at 2
    assert rows.mean().item() == pytest.approx(0, abs=0.002)


def test_factors_and_biases_decay_norms_and_linear_biases_do_not() -> None:
    network = RatingsNetwork(3, 4, settings(factors=2, hidden=[5]))
    optimizer = build_adamw(network, [list(network.parameters())], 0.1)
    decay = {id(p): part["weight_decay"] for part in optimizer.param_groups for p in part["params"]}
    linear, _, norm, last = network.layers
    decayed = (network.users.weight, network.items.weight, linear.weight, last.weight)
    assert {decay[id(p)] for p in decayed} == {0.1}
    assert {decay[id(p)] for p in (norm.weight, norm.bias, last.bias)} == {0.0}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"factors": None}, "factors: null goes with hidden layers only"),
        ({"y_range": [5.0, 5.0]}, "y_range"),
        ({"factors": 0}, "factors"),
        ({"hidden": [0]}, "hidden"),
        ({"init_std": 0.0}, "init_std"),
        ({"layers": [10]}, "unknown key"),
    ],
)
def test_impossible_models_are_refused(values, problem) -> None:
    with pytest.raises(UserError, match=problem):
        settings(**values)


def test_a_fit_takes_one_rate() -> None:
    for lr in (5e-3, "auto"):
        assert parse(RatingsFit, {"epochs": 1, "lr": lr}, "fit").lr == lr
    for lr, problem in (([1e-4, 1e-3], "one parameter group"), (0, "above 0"), ("x", "above 0")):
        with pytest.raises(UserError, match=problem):
            parse(RatingsFit, {"epochs": 1, "lr": lr}, "fit")


PREDICTED = np.array([3.5, 2.0, 4.0, 1.0], np.float32)
GIVEN = np.array([3.0, 4.0, 4.0, 2.0], np.float32)  # off by 0.5, -2, 0, -1


def test_errors_by_hand() -> None:
    assert errors(PREDICTED, GIVEN) == pytest.approx({"rmse": math.sqrt(5.25 / 4), "mae": 3.5 / 4})
    column = errors(PREDICTED[:, None], GIVEN[:, None])  # as a model's outputs are
    assert column == pytest.approx(errors(PREDICTED, GIVEN))


def test_final_errors_by_hand_and_by_numpy() -> None:
    squares = np.array([0.25, 4.0, 0.0, 1.0])
    assert final_errors(PREDICTED, GIVEN) == pytest.approx(
        {
            "items": 4,
            "mse": 5.25 / 4,
            "mse_se": np.std(squares) / 2,
            "rmse": math.sqrt(5.25 / 4),
            "mae": 3.5 / 4,
        }
    )


def test_errors_are_summed_in_double_precision() -> None:
    predicted = np.full(200_000, 1.1, np.float32)
    exact = (float(np.float32(1.1)) - 1.0) ** 2
    found = final_errors(predicted, np.ones(200_000, np.float32))
    assert found["mse"] == pytest.approx(exact, rel=1e-12)
    assert found["mse_se"] == pytest.approx(0, abs=1e-12)


def test_nearest_level_is_one_that_was_given() -> None:
    given = np.array([1, 5, 4, 2, 4], np.float32)  # nobody gave 3
    predicted = np.array([-1, 2.9, 3.0, 3.1, 9], np.float32)
    assert nearest_level(predicted, given).tolist() == [1, 2, 2, 4, 5]


def test_errors_of_each_level() -> None:
    table = per_level(PREDICTED, GIVEN)
    assert list(table) == ["class", "items", "prediction", "rmse", "mae"]
    assert table["class"].tolist() == [2, 3, 4]
    assert table["items"].tolist() == [1, 1, 2]
    assert table["prediction"].tolist() == [1, 3.5, 3]
    assert table["rmse"].tolist() == pytest.approx([1, 0.5, math.sqrt(2)])
    assert table["mae"].tolist() == [1, 0.5, 1]


def ratings_batches(batch_size=4, seed=42, stage="fit", items=11) -> RatingsBatches:
    """Batches whose users, items and ratings all tell a rating's number."""
    numbers = torch.arange(items)
    return RatingsBatches(
        pairs=torch.stack([numbers, 100 + numbers]),
        ratings=numbers.float().unsqueeze(1),
        valid_pairs=torch.tensor([[5, 6], [7, 8]]),
        valid_ratings=torch.tensor([[1.0], [2.0]]),
        batch_size=batch_size,
        seed=seed,
        stage=stage,
    )


@pytest.mark.parametrize("batch_size", [2, 3, 4, 5, 64])
def test_every_rating_comes_once_an_epoch_with_its_pair(batch_size) -> None:
    batches = ratings_batches(batch_size)
    assert batches.items == 11
    for epoch in range(2):
        parts = list(batches.train(epoch))
        ratings = torch.cat([ratings for _, ratings in parts])
        pairs = torch.cat([pairs for pairs, _ in parts], 1)
        assert Counter(ratings.squeeze(1).tolist()) == Counter(range(11))
        assert pairs[0].tolist() == ratings.squeeze(1).tolist()
        assert pairs[1].tolist() == (ratings.squeeze(1) + 100).tolist()
        lengths = [len(part) for _, part in parts]
        assert [pairs.shape for pairs, _ in parts] == [(2, length) for length in lengths]
        assert min(lengths) >= 2, "a batch norm needs two"


def order(epoch=0, **changes) -> list[float]:
    return [r.item() for _, part in ratings_batches(**changes).train(epoch) for r in part]


def test_the_order_depends_on_seed_stage_and_epoch() -> None:
    torch.manual_seed(0)
    first = order()
    torch.manual_seed(1)
    assert order() == first
    for other in (order(epoch=1), order(seed=43), order(stage="lr_find")):
        assert other != first
    assert order(batch_size=3) == first
    assert first != sorted(first)


def test_held_out_ratings_come_in_their_order() -> None:
    ((pairs, ratings),) = ratings_batches().valid()
    assert pairs.tolist() == [[5, 6], [7, 8]]
    assert ratings.tolist() == [[1.0], [2.0]]


def test_many_held_out_ratings_come_in_parts(monkeypatch) -> None:
    monkeypatch.setattr("thaw.ratings.batches.VALID_BATCH", 1)
    parts = list(ratings_batches().valid())
    assert [pairs.tolist() for pairs, _ in parts] == [[[5], [7]], [[6], [8]]]
    assert [ratings.tolist() for _, ratings in parts] == [[[1.0]], [[2.0]]]
