"""The ratings model: factors and biases of users and items, multiplied or fed to a net."""

from typing import Self

import torch
from torch import Tensor, nn

from thaw.core.randomness import seeded
from thaw.params.ratings_model import RatingsModel
from thaw.training.model import ScaledSigmoid

UNKNOWN = 0  # the row of users and items without a training rating


class RatingsNetwork(nn.Module):
    """What a user gives an item, from a row about each of them.

    A row holds the factors and, last, the bias if there are biases. Factors are multiplied and
    summed (a dot product), or go side by side through hidden layers; the biases are added, and a
    scaled sigmoid may end it. Row 0, for the unknown, trains on nothing: it becomes the mean of
    the other rows whenever the model goes into eval mode, so that an unknown user is an average
    one.

    Differences from fastai: a factor beyond two standard deviations is drawn again, where fastai
    wraps it around; factors and bias of a row are one tensor, which changes no number but halves
    the work of a step; the hidden layers' outputs may have biases added; the unknown row is
    trained by nothing there, and stays random.

    Args:
        users: how many, without the unknown one.
        items: how many, without the unknown one.
        model: the recipe's section.
    """

    def __init__(self, users: int, items: int, model: RatingsModel) -> None:
        super().__init__()
        self.biases = int(model.bias)
        widths = [model.factors or factors_for(count + 1) for count in (users, items)]
        self.users, self.items = (
            nn.Embedding(count + 1, width + self.biases)
            for count, width in zip((users, items), widths, strict=True)
        )
        for rows in (self.users.weight, self.items.weight):
            std = model.init_std
            nn.init.trunc_normal_(rows, std=std, a=-2 * std, b=2 * std)
        self.layers = hidden_layers(sum(widths), model.hidden) if model.hidden else None
        self.scaled = ScaledSigmoid(*model.y_range) if model.y_range else nn.Identity()

    def forward(self, pairs: Tensor) -> Tensor:
        """Rate pairs of rows, int64 [2, n] (users, items), as float [n, 1]."""
        users, items = self.users(pairs[0]), self.items(pairs[1])
        user_factors, user_bias = users.split((users.shape[1] - self.biases, self.biases), 1)
        item_factors, item_bias = items.split((items.shape[1] - self.biases, self.biases), 1)
        if self.layers is None:
            ratings = (user_factors * item_factors).sum(1, keepdim=True)
        else:
            ratings = self.layers(torch.cat([user_factors, item_factors], 1))
        if self.biases:
            ratings = ratings + user_bias + item_bias
        scaled: Tensor = self.scaled(ratings)
        return scaled

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode or, averaging the known into the unknown, to eval mode."""
        if not mode:
            with torch.no_grad():
                for rows in (self.users.weight, self.items.weight):
                    rows[UNKNOWN] = rows[UNKNOWN + 1 :].mean(0)
        return super().train(mode)


def build_ratings_network(users: int, items: int, model: RatingsModel, seed: int) -> RatingsNetwork:
    """Build the model with random weights, the same for the same seed."""
    with seeded(seed, "init", "ratings"):
        return RatingsNetwork(users, items, model)


def hidden_layers(inputs: int, widths: list[int]) -> nn.Sequential:
    """Build fastai's hidden layers: linear without bias, ReLU, batch norm; last a linear one."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width, bias=False), nn.ReLU(inplace=True)]
        layers.append(nn.BatchNorm1d(width))
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


def factors_for(rows: int) -> int:
    """Return how many factors fastai gives a table of so many rows."""
    return int(min(600, round(1.6 * rows**0.56)))
