"""What is told of a batch on its way through a model."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from thaw.params.ratings_model import RatingsModel
from thaw.ratings.model import build_ratings_network
from thaw.summary.__main__ import find_folder, range_of, shape_of
from thaw.summary.ratings import batch_steps, model_layers
from thaw.summary.steps import Step, blocks, count, recorded, step, trained
from thaw.training.model import freeze


def test_a_step_says_shape_type_and_range() -> None:
    assert step("a", np.array([[3, 200], [7, 9]], np.uint8)) == Step("a", (2, 2), "uint8", 3, 200)
    assert step("b", torch.tensor([-1.5, 2.0]).bfloat16()) == Step("b", (2,), "bfloat16", -1.5, 2)
    loss = step("loss", torch.tensor(0.25))
    assert (shape_of(loss), range_of(loss)) == ("one number", "0.25")
    assert (shape_of(step("c", np.zeros((1, 3))))) == "1 x 3"
    assert range_of(step("d", torch.tensor([0, 11]))) == "0 .. 11"


def test_layers_are_noted_before_a_later_one_works_in_place() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    with recorded(blocks("", model)) as steps:
        model(torch.tensor([-3.0, 5.0]))
    assert [(s.name, s.low, s.high) for s in steps] == [("0", -3, 5), ("1", 0, 5)]
    model(torch.tensor([1.0]))
    assert len(steps) == 2


def test_blocks_are_the_parts_of_sequences(tiny_network) -> None:
    network = tiny_network()
    assert list(blocks("", network.body)) == [
        "stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer2.2", "layer3.0",
    ]  # fmt: skip
    assert list(blocks("head", network.head)) == [f"head.{n}" for n in range(7)]


def test_parameters_are_counted_as_the_phases_train_them(tiny_network) -> None:
    network = tiny_network(outputs=2)
    parts = {"stem": network.body.stem, "block": network.body.layer1[0], "head": network.head}
    # 4 maps of 3 x 3 x 3 and biases; 4 of 3 x 3 x 4 and a norm; norms, 16 x 8 and 8 x 2.
    expected = {"stem": 108 + 4, "block": 144 + 8, "head": 32 + 128 + 16 + 16}
    assert {name: count(part.parameters()) for name, part in parts.items()} == expected
    freeze(network, train_bn=True)
    assert trained(parts) == {"stem": 0, "block": 8, "head": expected["head"]}
    freeze(network, train_bn=False)
    assert trained(parts) == {"stem": 0, "block": 0, "head": expected["head"]}


def test_a_rating_goes_through_factors_and_biases() -> None:
    network = build_ratings_network(3, 4, RatingsModel(factors=2, y_range=[0.0, 6.0]), seed=1)
    with torch.no_grad():
        network.users.weight[2] = torch.tensor([1.0, 2.0, 0.5])
        network.items.weight[4] = torch.tensor([3.0, -1.0, -1.5])
    table = pd.DataFrame({"user_row": [2], "item_row": [4], "rating": np.array([5], np.float32)})
    steps, pairs, ratings = batch_steps(table, slice(1))
    assert [(s.name, s.shape) for s in steps] == [
        ("rows of users and items", (2, 1)),
        ("ratings", (1, 1)),
    ]
    layers = model_layers(network.eval(), pairs, ratings)
    assert [layer.output.name for layer in layers] == ["users", "items", "scaled", "loss"]
    assert [layer.parameters for layer in layers] == [4 * 3, 5 * 3, 0, 0]
    assert layers[0].output == Step("users", (1, 3), "float32", 0.5, 2.0)
    # 1 * 3 - 2 * 1 + 0.5 - 1.5 = 0, whose sigmoid is the middle of the range.
    assert layers[2].output.low == pytest.approx(3.0)
    assert layers[3].output.low == pytest.approx(4.0)


def test_a_recipe_may_be_named_by_its_folder_or_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/pets").mkdir(parents=True)
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "models/pets" / name).write_text("{}")
    assert find_folder("pets") == find_folder("models/pets")
