"""What a ratings model has learned: by hand, by scikit-learn, by the model itself in torch."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from thaw.params.ratings_model import RatingsModel
from thaw.ratings import interpret as ratings_interpret
from thaw.ratings.interpret import (
    Learned,
    by_bias,
    components,
    crosstab,
    draw_components,
    nearest,
    read_learned,
)

# Item rows 1 to 4; row 0, the unknown, would spoil every table.
FACTORS = np.array([[50.0, 50.0], [1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.1]])
COUNTS = np.array([2, 5, 3, 5])  # most rated: 2, 4, 3, 1


@pytest.fixture
def make():
    """A function that makes what a model of two users and four items has learned."""

    def learned(items=FACTORS, item_counts=COUNTS, bias=True, **model) -> Learned:
        count = len(items) - 1
        return Learned(
            users=np.array([[50.0, 50.0], [1.0, 0.0], [0.5, -1.0]]),
            items=items,
            user_bias=np.array([50.0, 0.1, 0.2]) if bias else None,
            item_bias=np.array([50.0, 0.5, -0.3, 0.5, 0.9]) if bias else None,
            vocabulary={
                "users": ["u1", "u2"],
                "items": [f"i{row}" for row in range(1, count + 1)],
                "titles": [f"Title {row}" for row in range(1, count + 1)],
            },
            item_counts=item_counts,
            user_counts=np.array([4, 9]),
            model=RatingsModel(factors=items.shape[1], bias=bias, **model),
            tensors={},
        )

    return learned


def random_factors(seed: int, items: int = 40, factors: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.vstack([np.full(factors, 50.0), rng.normal(size=(items, factors))])


def test_items_are_listed_by_their_bias(make) -> None:
    table = by_bias(make())
    assert table.to_dict("list") == {
        "item": ["i4", "i1", "i3", "i2"],  # i1 and i3 are equal: in the vocabulary's order
        "title": ["Title 4", "Title 1", "Title 3", "Title 2"],
        "ratings": [5, 2, 3, 5],
        "bias": [0.9, 0.5, 0.5, -0.3],
    }


def test_a_model_without_biases_has_headers_alone(make) -> None:
    table = by_bias(make(bias=False))
    assert list(table) == ["item", "title", "ratings", "bias"]
    assert table.empty


@pytest.mark.parametrize("seed", range(4))
def test_components_are_the_principal_ones(make, seed) -> None:
    items = random_factors(seed)
    counts = np.arange(40)[::-1].copy()
    table = components(make(items, counts))
    scores = table[["component_1", "component_2", "component_3"]].to_numpy()
    expected = PCA(3, svd_solver="full").fit_transform(items[1:])
    for found, wanted in zip(scores.T, expected.T, strict=True):
        assert found[np.abs(found).argmax()] > 0, "the largest value is positive"
        sign = np.sign(wanted[np.abs(wanted).argmax()])
        np.testing.assert_allclose(found, sign * wanted, atol=2e-6)
    assert (np.diff(scores.std(0)) < 0).all()
    assert table["item"].tolist() == [f"i{row}" for row in range(1, 41)]


def test_components_are_of_the_most_rated_items(make, monkeypatch) -> None:
    monkeypatch.setattr(ratings_interpret, "MOST_RATED", 10)
    items, counts = random_factors(0), np.arange(40)
    table = components(make(items, counts))
    assert table["item"].tolist() == [f"i{row}" for row in range(40, 30, -1)]
    assert table["ratings"].tolist() == list(range(39, 29, -1))
    expected = PCA(1, svd_solver="full").fit_transform(items[40:30:-1])[:, 0]
    found = table["component_1"].to_numpy()
    assert min(np.abs(found - expected).max(), np.abs(found + expected).max()) < 2e-6


def test_two_factors_have_two_components(make) -> None:
    table = components(make())
    assert list(table) == ["item", "title", "ratings", "component_1", "component_2"]
    assert table["item"].tolist() == ["i2", "i4", "i3", "i1"]  # i2 before i4: equally often


def test_nearest_by_cosine_by_hand(make) -> None:
    table = nearest(make())
    assert list(table) == ["item", "title", "place", "near_item", "near_title", "cosine"]
    # Cosines of item 2, (0, 2), with 1 (1, 0), 3 (3, 3) and 4 (-1, 0.1).
    own = table[table["item"] == "i2"]
    assert own["near_item"].tolist() == ["i3", "i4", "i1"]
    assert own["near_title"].tolist() == ["Title 3", "Title 4", "Title 1"]
    assert own["place"].tolist() == [1, 2, 3]
    assert own["cosine"].tolist() == pytest.approx([0.5**0.5, 0.1 / 1.01**0.5, 0], abs=1e-6)
    assert table["item"].tolist() == [i for i in ("i2", "i4", "i3", "i1") for _ in range(3)]
    assert (table["item"] != table["near_item"]).all()
    assert (table["title"] == table["item"].str.replace("i", "Title ")).all()


def test_nearest_are_five_of_twenty_items_at_most(make) -> None:
    items, counts = random_factors(1), np.arange(40)
    table = nearest(make(items, counts))
    assert len(table) == 20 * 5
    assert table["item"].unique().tolist() == [f"i{row}" for row in range(40, 20, -1)]
    unit = items[1:] / np.linalg.norm(items[1:], axis=1, keepdims=True)
    cosines = np.delete(unit @ unit[39], 39)
    np.testing.assert_allclose(table["cosine"][:5], np.sort(cosines)[::-1][:5], atol=1e-6)
    assert set(table["near_item"]) - set(table["item"]), "neighbours come from all of them"


def test_an_item_of_no_factors_is_near_to_none(make) -> None:
    items = FACTORS.copy()
    items[2] = 0
    table = nearest(make(items))
    assert table.loc[table["item"] == "i2", "cosine"].tolist() == [0, 0, 0]


@pytest.fixture
def known() -> pd.DataFrame:
    """The items table of a few ratings of u1 and u2."""
    return pd.DataFrame(
        {
            "user_row": [1, 2, 2, 0],
            "item_row": [2, 2, 4, 2],
            "rating": np.array([4, 2, 5, 1], np.float32),
            "split": ["train", "valid", "train", "valid"],
        }
    )


def test_crosstab_by_hand(make, known) -> None:
    table = crosstab(make(y_range=None), known)
    assert list(table) == ["user", "item", "title", "rating", "split", "prediction"]
    assert table["user"].tolist() == ["u2"] * 4 + ["u1"] * 4  # u2 has rated more
    assert table["item"].tolist() == ["i2", "i4", "i3", "i1"] * 2
    assert table["title"][1] == "Title 4"
    assert table["rating"].fillna(0).tolist() == [2, 5, 0, 0, 4, 0, 0, 0]
    assert table["split"].tolist() == ["valid", "train", "", "", "train", "", "", ""]
    # u2 (0.5, -1), bias 0.2, with i2 (0, 2), -0.3, and so on.
    assert table["prediction"].tolist() == pytest.approx(
        [-2.1, 0.5, -0.8, 1.2, -0.2, 0.0, 3.6, 1.6], abs=1e-6
    )


def test_crosstab_is_scaled_as_the_model_is(make, known) -> None:
    plain = crosstab(make(y_range=None), known)["prediction"]
    scaled = crosstab(make(y_range=[0.5, 5.5]), known)["prediction"]
    np.testing.assert_allclose(scaled, 0.5 + 5 / (1 + np.exp(-plain)), atol=2e-6)


def test_crosstab_is_of_fifteen_users_and_items_at_most(known) -> None:
    rng = np.random.default_rng(0)
    learned = Learned(
        users=rng.normal(size=(31, 3)),
        items=rng.normal(size=(21, 3)),
        user_bias=None,
        item_bias=None,
        vocabulary={name: [str(i) for i in range(30)] for name in ("users", "items", "titles")},
        item_counts=np.arange(20),
        user_counts=np.arange(30),
        model=RatingsModel(bias=False),
        tensors={},
    )
    table = crosstab(learned, known)
    assert len(table) == 15 * 15
    assert table["user"].unique().tolist() == [str(i) for i in range(29, 14, -1)]
    assert table["item"].unique().tolist() == [str(i) for i in range(19, 4, -1)]


def test_a_pair_rated_under_one_title_twice_has_one_row(make, known) -> None:
    twice = pd.concat([known, known.assign(rating=np.float32(1))])
    table = crosstab(make(), twice)
    assert len(table) == 8
    assert table["rating"].fillna(0).tolist() == [2, 5, 0, 0, 4, 0, 0, 0]


@pytest.mark.parametrize(
    "values",
    [
        {"bias": True},
        {"bias": False},
        {"bias": True, "y_range": None},
        {"bias": False, "y_range": [0.0, 6.0]},
        {"bias": True, "hidden": [4], "factors": None},
        {"bias": False, "hidden": [5, 3], "factors": 6, "y_range": None},
    ],
)
def test_a_saved_model_is_read_as_torch_runs_it(tmp_path: Path, known, values) -> None:
    import torch

    from thaw.ratings.model import build_ratings_network
    from thaw.training.model import save_weights

    model = RatingsModel(**({"factors": 3, "init_std": 0.7} | values))
    network = build_ratings_network(2, 4, model, seed=5)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):  # as after some training
            for values_of in (module.running_mean, module.running_var, module.weight, module.bias):
                values_of.data.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(7))
    network.eval()
    save_weights(tmp_path / "model.safetensors", network)
    vocabulary = {"users": ["a", "b"], "items": list("wxyz"), "titles": list("WXYZ")}
    learned = read_learned(tmp_path / "model.safetensors", known, vocabulary, model)

    assert learned.item_counts.tolist() == [0, 1, 0, 1]  # of the training ratings
    assert learned.user_counts.tolist() == [1, 1]
    width = network.items.weight.shape[1] - int(model.bias)
    assert learned.items.shape == (5, width)
    np.testing.assert_array_equal(learned.items, network.items.weight[:, :width].detach())
    if model.bias:
        np.testing.assert_array_equal(learned.item_bias, network.items.weight[:, -1].detach())
        np.testing.assert_array_equal(learned.user_bias, network.users.weight[:, -1].detach())
        assert len(by_bias(learned)) == 4
    else:
        assert learned.item_bias is learned.user_bias is None
    table = crosstab(learned, known)
    users = torch.tensor([vocabulary["users"].index(user) + 1 for user in table["user"]])
    items = torch.tensor([vocabulary["items"].index(item) + 1 for item in table["item"]])
    with torch.no_grad():
        expected = network(torch.stack([users, items])).squeeze(1).numpy()
    np.testing.assert_allclose(table["prediction"], expected, atol=2e-6)
    assert len(table) == 8


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"), np.int32)


def blue(picture: np.ndarray) -> np.ndarray:
    """Where points are drawn: text and frame are grey or black."""
    return picture[..., 2] - picture[..., 0] > 60


def test_the_picture_shows_a_point_and_a_title_for_each_item(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "title": [r"Été, $\no formula$, the first", "B", "C"],
            "component_1": [-4.0, 0.0, 4.0],
            "component_2": [-4.0, 4.0, 0.0],
        }
    )
    draw_components(table, tmp_path / "three.png")
    draw_components(table.assign(title=""), tmp_path / "untitled.png")
    draw_components(table.head(1), tmp_path / "one.png")
    three, untitled, one = (
        pixels(tmp_path / f"{name}.png") for name in ("three", "untitled", "one")
    )
    assert three.shape == (960, 960, 3)
    assert blue(three).sum() == pytest.approx(3 * blue(one).sum(), rel=0.2)
    assert blue(one).sum() > 10
    # Left to right: below, above, in the middle.
    rows, columns = np.nonzero(blue(untitled))
    thirds = [rows[(columns * 3 // 960) == third].mean() for third in range(3)]
    assert thirds[1] < thirds[2] < thirds[0]
    written = (untitled - three).sum(2) > 100
    left = columns.min()
    assert written[int(thirds[0]) - 20 : int(thirds[0]) + 5, left : left + 200].sum() > 200


def test_the_picture_is_the_same_bytes_every_time(tmp_path: Path, make) -> None:
    for name in ("a.png", "b.png"):
        draw_components(components(make()), tmp_path / name)
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert b"Matplotlib" not in content


def test_the_picture_labels_the_fifty_most_rated(tmp_path: Path, make) -> None:
    table = components(make(random_factors(0, items=60), np.arange(60)))
    draw_components(table, tmp_path / "all.png")
    draw_components(table.head(50), tmp_path / "fifty.png")
    draw_components(table.head(49), tmp_path / "fewer.png")
    assert (tmp_path / "all.png").read_bytes() == (tmp_path / "fifty.png").read_bytes()
    assert (tmp_path / "all.png").read_bytes() != (tmp_path / "fewer.png").read_bytes()


def test_one_factor_is_drawn_on_a_line(tmp_path: Path, make) -> None:
    table = components(make(FACTORS[:, :1]))
    assert list(table)[3:] == ["component_1"]
    draw_components(table, tmp_path / "line.png")
    rows, columns = np.nonzero(blue(pixels(tmp_path / "line.png")))
    assert rows.max() - rows.min() < 12
    assert columns.max() - columns.min() > 400
