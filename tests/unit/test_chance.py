"""The best constant answer, against errors and losses that torch computes of it."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from thaw.chance import MORE_IS_BETTER, TELLING, chance_of, error_of, noise_of, telling_metric
from thaw.params.training.fit import METRICS
from thaw.ratings.metrics import METRICS as RATING_METRICS


def test_one_label() -> None:
    targets = torch.tensor([0, 0, 0, 1, 2, 2])
    shares = torch.bincount(targets) / len(targets)
    found = chance_of("error_rate", pd.DataFrame({"target": targets}), ["a", "b", "c"])
    assert found is not None
    assert found.error == 0.5
    loss = F.cross_entropy(shares.log().expand(len(targets), -1), targets)
    assert found.loss == pytest.approx(float(loss))
    assert error_of("error_rate", 0.3) == 0.3
    assert error_of("accuracy", 0.75) == 0.25
    assert noise_of("error_rate", 0.2, 100) == pytest.approx(0.04)
    assert chance_of("f1", pd.DataFrame({"target": targets}), ["a", "b", "c"]) is None


def test_several_labels() -> None:
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    table = pd.DataFrame({"target": list(targets.numpy())})
    shares = targets.mean(0)
    found = chance_of("mean_average_precision", table, ["a", "b", "never"])
    assert found is not None
    assert found.error == 1 - 0.625
    loss = F.binary_cross_entropy(shares.expand_as(targets), targets)
    assert found.loss == pytest.approx(float(loss))
    assert chance_of("accuracy_multi", table, ["a", "b", "never"]) is None


def test_ratings() -> None:
    ratings = np.array([1.0, 4.0, 4.0, 5.0])
    table = pd.DataFrame({"rating": ratings, "target": 0})
    found = chance_of("rmse", table, {"users": []})
    assert found is not None
    assert found.loss == pytest.approx(((ratings - 3.5) ** 2).mean())
    assert found.error == pytest.approx(found.loss**0.5)
    absolute = chance_of("mae", table, {"users": []})
    assert absolute is not None
    assert absolute.error == 1.0


def test_held_out_items_that_are_all_alike_have_none() -> None:
    assert chance_of("error_rate", pd.DataFrame({"target": [1, 1, 1]}), ["a", "b"]) is None
    assert chance_of("rmse", pd.DataFrame({"rating": [3.0, 3.0]}), {"users": []}) is None


def test_every_metric_of_a_fit_is_judged_or_left_out_on_purpose() -> None:
    halves = {"coverage", "confident_error_rate"}
    assert {*METRICS, *RATING_METRICS, "valid_loss"} == {*TELLING} | halves
    assert {*MORE_IS_BETTER} < {*TELLING}
    assert telling_metric(["accuracy_multi", "f1_micro", "mean_average_precision"]).startswith(
        "mean"
    )
    assert telling_metric(["coverage", "confident_error_rate"]) == "valid_loss"
    assert error_of("top_k_error_rate", 0.02) == 0.02


def test_points_have_none() -> None:
    table = pd.DataFrame({"target": [[0.1, 0.2]]})
    assert chance_of("mean_distance", table, []) is None
