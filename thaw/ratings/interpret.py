"""What a ratings model has learned, from its saved factors: no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from thaw.core.files import require
from thaw.params.ratings_model import RatingsModel

COMPONENTS = 3
MOST_RATED = 1000  # items that components and neighbours are sought among, as in the lessons
LABELLED = 50  # titles in the picture
CROSSED = 15  # users and items of the crosstab
NEIGHBOURS_OF, NEIGHBOURS = 20, 5
BATCH_NORM_EPSILON = 1e-5  # torch's default
DECIMALS = 6  # the last bits of sums differ between processors


@dataclass(frozen=True)
class Learned:
    """A model's tables, row 0 (the unknown) first, and how often each item was rated.

    Attributes:
        users: float [users + 1, factors].
        items: float [items + 1, factors].
        user_bias: float [users + 1], None for a model without biases.
        item_bias: float [items + 1], None for a model without biases.
        vocabulary: users, items, titles.
        item_counts: training ratings of each item, int64 [items].
        user_counts: training ratings of each user, int64 [users].
        model: the recipe's section.
        tensors: all of the model's, float64, by name.
    """

    users: np.ndarray
    items: np.ndarray
    user_bias: np.ndarray | None
    item_bias: np.ndarray | None
    vocabulary: dict[str, list[str]]
    item_counts: np.ndarray
    user_counts: np.ndarray
    model: RatingsModel
    tensors: dict[str, np.ndarray]

    def most_rated(self, count: int) -> np.ndarray:
        """Return the rows of the items with most training ratings, most first."""
        return np.argsort(-self.item_counts, kind="stable")[:count] + 1

    def names(self, rows: np.ndarray) -> dict[str, list[str]]:
        """Return keys and titles of some items."""
        return {
            "item": [self.vocabulary["items"][row - 1] for row in rows],
            "title": [self.vocabulary["titles"][row - 1] for row in rows],
        }


def read_learned(
    weights: Path, table: pd.DataFrame, vocabulary: dict[str, list[str]], model: RatingsModel
) -> Learned:
    """Take a model's file apart.

    Args:
        weights: the recipe's ``model.safetensors``.
        table: the items table.
        vocabulary: users, items, titles.
        model: the section that the model was built from.

    Raises:
        FileNotFoundError: there is no model.
    """
    require(weights)  # safetensors' own error has no filename
    tensors = {name: value.astype(np.float64) for name, value in load_file(weights).items()}
    users, items = tensors["users.weight"], tensors["items.weight"]
    training = table[table["split"] == "train"]
    last = -1 if model.bias else None
    return Learned(
        users=users[:, :last],
        items=items[:, :last],
        user_bias=users[:, -1] if model.bias else None,
        item_bias=items[:, -1] if model.bias else None,
        vocabulary=vocabulary,
        item_counts=np.bincount(training["item_row"], minlength=len(items))[1:],
        user_counts=np.bincount(training["user_row"], minlength=len(users))[1:],
        model=model,
        tensors=tensors,
    )


def by_bias(learned: Learned) -> pd.DataFrame:
    """Return all items, highest bias first; no rows for a model without biases.

    Returns:
        item, title, ratings (in training), bias.
    """
    bias = learned.item_bias
    if bias is None:
        return pd.DataFrame(columns=["item", "title", "ratings", "bias"])
    rows = np.argsort(-bias[1:], kind="stable") + 1
    return pd.DataFrame(
        learned.names(rows)
        | {"ratings": learned.item_counts[rows - 1], "bias": bias[rows].round(DECIMALS)}
    )


def components(learned: Learned) -> pd.DataFrame:
    """Return the first principal components of the most rated items' factors.

    A component's sign is chosen so that its largest value is positive.

    Returns:
        item, title, ratings, component_1, component_2, component_3 (as many as there are
        factors and items), most rated first.
    """
    rows = learned.most_rated(MOST_RATED)
    factors = learned.items[rows]
    left, strengths, _ = np.linalg.svd(factors - factors.mean(0), full_matrices=False)
    scores = (left * strengths)[:, :COMPONENTS]
    largest = scores[np.abs(scores).argmax(0), np.arange(scores.shape[1])]
    scores = scores * np.where(largest < 0, -1.0, 1.0)
    table = pd.DataFrame(learned.names(rows) | {"ratings": learned.item_counts[rows - 1]})
    for number, column in enumerate(scores.T, 1):
        table[f"component_{number}"] = column.round(DECIMALS)
    return table


def nearest(learned: Learned) -> pd.DataFrame:
    """Return the nearest neighbours, by cosine of the factors, of the most rated items.

    Returns:
        item, title, place (from 1), near_item, near_title, cosine.
    """
    rows = learned.most_rated(MOST_RATED)
    factors = learned.items[rows]
    directions = factors / np.maximum(np.linalg.norm(factors, axis=1, keepdims=True), 1e-12)
    cosines = (directions[:NEIGHBOURS_OF] @ directions.T).round(DECIMALS)
    parts = []
    for place, cosine in enumerate(cosines):
        near = np.argsort(-cosine, kind="stable")
        near = near[near != place][:NEIGHBOURS]
        names, own = learned.names(rows[near]), learned.names(rows[[place]] * np.ones_like(near))
        parts.append(
            pd.DataFrame(
                own
                | {
                    "place": np.arange(1, len(near) + 1),
                    "near_item": names["item"],
                    "near_title": names["title"],
                    "cosine": cosine[near],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def crosstab(learned: Learned, table: pd.DataFrame) -> pd.DataFrame:
    """Return known and predicted ratings of the most rated items by the most active users.

    Args:
        learned: the model.
        table: the items table.

    Returns:
        A row per pair: user, item, title, rating (NaN if unknown), split (of the known rating,
        or ""), prediction.
    """
    columns = ["user", "item", "title", "rating", "split", "prediction"]
    user_rows = np.argsort(-learned.user_counts, kind="stable")[:CROSSED] + 1
    item_rows = learned.most_rated(CROSSED)
    predictions = predict_pairs(learned, user_rows, item_rows)
    pairs = pd.DataFrame(
        {
            "user_row": np.repeat(user_rows, len(item_rows)),
            "item_row": np.tile(item_rows, len(user_rows)),
            "prediction": predictions.ravel().round(DECIMALS),
        }
    )
    rated = table.drop_duplicates(["user_row", "item_row"])  # equal titles merge pairs
    known = pairs.merge(
        rated[["user_row", "item_row", "rating", "split"]], "left", ["user_row", "item_row"]
    )
    names = learned.names(known["item_row"].to_numpy())
    known["user"] = [learned.vocabulary["users"][row - 1] for row in known["user_row"]]
    return known.assign(split=known["split"].fillna(""), **names)[columns]


def predict_pairs(learned: Learned, user_rows: np.ndarray, item_rows: np.ndarray) -> np.ndarray:
    """Rate every pair, float64 [users, items], as the model does in eval mode."""
    users, items = learned.users[user_rows], learned.items[item_rows]
    if learned.model.hidden:
        sides = np.repeat(users, len(items), 0), np.tile(items, (len(users), 1))
        ratings = hidden_layers(np.concatenate(sides, 1), learned.tensors)
        ratings = ratings.reshape(len(users), len(items))
    else:
        ratings = users @ items.T
    if learned.user_bias is not None and learned.item_bias is not None:
        ratings += learned.user_bias[user_rows][:, None] + learned.item_bias[item_rows]
    if learned.model.y_range is None:
        return ratings
    low, high = learned.model.y_range
    scaled: np.ndarray = low + (high - low) / (1 + np.exp(-ratings))
    return scaled


def hidden_layers(inputs: np.ndarray, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Send rows through linear, ReLU and batch norm layers, and a last linear one.

    Args:
        inputs: float [n, factors of both].
        tensors: the model's, called ``layers.0.weight`` and so on, three modules a hidden layer.

    Returns:
        float [n, 1].
    """
    number = 0
    while f"layers.{number + 2}.running_var" in tensors:
        weight, norm = tensors[f"layers.{number}.weight"], f"layers.{number + 2}"
        inputs = np.maximum(inputs @ weight.T, 0) - tensors[f"{norm}.running_mean"]
        inputs = inputs / np.sqrt(tensors[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        inputs = inputs * tensors[f"{norm}.weight"] + tensors[f"{norm}.bias"]
        number += 3
    outputs: np.ndarray = inputs @ tensors[f"layers.{number}.weight"].T
    outputs += tensors[f"layers.{number}.bias"]
    return outputs


def draw_components(table: pd.DataFrame, path: Path) -> None:
    """Draw the most rated items by their first two components, titles beside them, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from thaw.sheets.text import drawable

    shown = table.head(LABELLED)
    first = shown.get("component_1", pd.Series(0.0, shown.index))
    second = shown.get("component_2", pd.Series(0.0, shown.index))
    figure = Figure(figsize=(12, 12), layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.scatter(first, second, s=12)
    for x, y, title in zip(first, second, shown["title"], strict=True):
        # $ would begin a formula.
        axes.annotate(drawable(title).replace("$", r"\$"), (x, y), fontsize=9, color="0.3")
    axes.set(
        xlabel="first component",
        ylabel="second component",
        title=f"The {len(shown)} most rated items by what distinguishes them most",
    )
    figure.savefig(path, format="png", dpi=80, metadata={"Software": None})
