"""Ratings: from a row of the table through the factors of its user and item."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from thaw.core.files import read_parquet
from thaw.params.base import parse
from thaw.params.ratings_model import RatingsModel
from thaw.predict import read_description
from thaw.ratings.model import RatingsNetwork, build_ratings_network
from thaw.summary.steps import Layer, Step, blocks, count, recorded, step, trained
from thaw.training.model import load_weights


def open_ratings(folder: Path) -> tuple[RatingsNetwork, pd.DataFrame, dict[str, str]]:
    """Open a model of ratings, in eval mode, its training ratings, and the titles of items.

    Raises:
        UserError: a file is broken.
        FileNotFoundError: some of the data is not there.
    """
    about = read_description(folder / "model.json")
    model = parse(RatingsModel, about["model"], f"{folder / 'model.json'}.model")
    network = build_ratings_network(len(about["users"]), len(about["items"]), model, seed=0)
    load_weights(folder / "model.safetensors", network)
    network.eval()
    project, recipe = folder.resolve().parents[1], folder.resolve().name
    table = read_parquet(project / "data" / recipe / "items.parquet")
    titles = dict(zip(about["items"], about["titles"], strict=True))
    return network, table[table["split"] == "train"].reset_index(drop=True), titles


def said_of(table: pd.DataFrame, titles: dict[str, str], position: int) -> str:
    """Say one rating in words."""
    row = table.iloc[position]
    return f"user {row['user']} gives item {row['item']}, {titles[row['item']]}, {row['rating']:g}"


def batch_steps(table: pd.DataFrame, rows: slice) -> tuple[list[Step], Tensor, Tensor]:
    """Turn rows of the table into what the model sees: pairs int64 [2, b], ratings [b, 1]."""
    part = table.iloc[rows]
    pairs = torch.tensor(part[["user_row", "item_row"]].to_numpy().T).contiguous()
    ratings = torch.tensor(part["rating"].to_numpy()).unsqueeze(1)
    return [step("rows of users and items", pairs), step("ratings", ratings)], pairs, ratings


@torch.inference_mode()
def model_layers(network: RatingsNetwork, pairs: Tensor, ratings: Tensor) -> list[Layer]:
    """Follow a batch through factors and biases, hidden layers if there are any, and the loss."""
    modules = blocks("", network)
    with recorded(modules) as steps:
        outputs = network(pairs)
    train = trained(modules)
    layers = [
        Layer(
            kind=type(modules[made.name]).__name__,
            group="all",
            output=made,
            parameters=count(modules[made.name].parameters()),
            unfrozen=train[made.name],
        )
        for made in steps
    ]
    return [*layers, Layer("", "", step("loss", mse_loss(outputs, ratings)))]
