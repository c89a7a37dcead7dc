"""The best constant answer, against errors and losses that torch computes of it."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

from thaw.chance import MORE_IS_BETTER, TELLING, chance_of, error_of, noise_of, telling_metric
from thaw.diagnosis import Chance
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
    other = chance_of("f1_macro", pd.DataFrame({"target": targets}), ["a", "b", "c"])
    assert other == Chance(None, found.loss)
    alone = chance_of("valid_loss", pd.DataFrame({"target": targets}), ["a", "b", "c"])
    assert alone == Chance(found.loss, found.loss)


def test_several_labels() -> None:
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    table = pd.DataFrame({"target": list(targets.numpy())})
    shares = targets.mean(0)
    found = chance_of("mean_average_precision", table, ["a", "b", "never"])
    assert found is not None
    assert found.error == 1 - 0.625
    loss = F.binary_cross_entropy(shares.expand_as(targets), targets)
    assert found.loss == pytest.approx(float(loss))
    cells = chance_of("accuracy_multi", table, ["a", "b", "never"])
    assert cells is not None
    # Always "a", and "b" or not: wrong about one in four, two in four, none.
    assert cells.error == (0.25 + 0.5 + 0) / 3
    assert cells.loss == found.loss
    assert chance_of("f1_micro", table, ["a", "b", "never"]) == Chance(None, found.loss)


def test_by_chance_the_accuracy_of_rare_labels_is_the_share_of_negatives() -> None:
    targets = np.zeros((10, 4), np.float32)
    targets[[0, 1, 2, 3], [0, 1, 1, 3]] = 1
    found = chance_of("accuracy_multi", pd.DataFrame({"target": list(targets)}), list("abcd"))
    assert found is not None
    assert 1 - found.error == pytest.approx(36 / 40)
    assert error_of("accuracy_multi", 36 / 40) == pytest.approx(found.error)
    ranked = chance_of(
        "mean_average_precision", pd.DataFrame({"target": list(targets)}), list("abcd")
    )
    assert ranked is not None
    seen = targets[:, [0, 1, 3]]
    constant = np.broadcast_to(seen.mean(0), seen.shape)
    assert 1 - ranked.error == pytest.approx(average_precision_score(seen, constant))


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


def test_points() -> None:
    # Of the first image all is seen, of the second its right half: the same place in both is
    # (0.5, -0.5) from the middle, in half sides; the two others lie at (-0.5, 0.5).
    frames = [[0.0, 0.0, 40.0, 20.0], [40.0, 0.0, 80.0, 20.0]]
    targets = [[30.0, 5.0, 10.0, 15.0], [50.0, 15.0, 70.0, 5.0]]
    table = pd.DataFrame({"target": targets, "frame": frames})
    # The middle of each point is the centre, and each lies half of both half sides from it.
    found = chance_of("mean_distance", table, [])
    assert found is not None
    assert found.error == pytest.approx(0.5**0.5)
    assert found.loss == pytest.approx(0.25)
    pixels = chance_of("mean_pixels", table, [])
    assert pixels is not None
    assert pixels.error == pytest.approx((10**2 + 5**2) ** 0.5)
    median = chance_of("median_distance", table, [])
    assert median is not None
    assert median.error == pytest.approx(0.5**0.5)


def test_points_of_predictions_without_what_was_seen_have_none() -> None:
    assert chance_of("mean_distance", pd.DataFrame({"target": [[0.1, 0.2]]}), []) is None
