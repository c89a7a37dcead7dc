"""What is advised where the items are too few, or too much alike."""

from dataclasses import asdict
from typing import Any

import pytest

from thaw.params.split import ColumnSplit, FoldsSplit, RandomSplit, TimeSplit
from thaw.params.training.augment import Augment
from thaw.remedies import Remedy, hold_out_less, more_variety

FIFTH = RandomSplit(rule="random", valid=0.2)
MARKED = ColumnSplit(rule="column", column="is_valid")


def advised(task: str, fit: str = "fit_unfrozen", by: Any = FIFTH, **augment: Any) -> Remedy:
    """The advice for images, 16 epochs and 84 items."""
    model = {"task": task, "augmented": asdict(Augment(image_side=32, **augment))}
    return more_variety(model, by, fit, epochs=16, items=84)


@pytest.mark.parametrize(
    ("task", "augment", "remedy"),
    [
        ("label", {}, ("augment.min_scale", 0.5)),
        ("labels", {"min_scale": 0.5}, ("augment.min_scale", 0.35)),
        ("label", {"min_scale": 0.35}, ("augment.rotate", 20.0)),
        ("points", {}, ("augment.rotate", 20.0)),
        ("points", {"rotate": 30.0}, ("augment.lighting", 0.4)),
        ("points", {"rotate": 30.0, "lighting": 0.4}, ("split.by.valid", 0.1)),
    ],
)
def test_images_are_augmented_more_before_fewer_are_held_out(
    task: str, augment: dict, remedy: tuple
) -> None:
    assert advised(task, **augment) == remedy


def test_each_frozen_epoch_first_gets_a_view_of_its_own() -> None:
    assert advised("label", "fit_frozen", views=8) == ("augment.views", 16)
    assert advised("label", "fit_frozen", views=16) == ("augment.min_scale", 0.5)
    assert advised("label", "fit_unfrozen", views=8) == ("augment.min_scale", 0.5)


def test_the_last_advice_is_an_archive_of_twice_the_items() -> None:
    strong = {"min_scale": 0.35, "rotate": 20.0, "lighting": 0.4}
    found = advised("label", by=MARKED, **strong)
    assert found == ("download.url", "an archive with 168 items to train on")
    assert more_variety({"task": "ratings", "weight_decay": 0.1}, MARKED, "fit", 5, 700) == (
        "download.url", "an archive with 1,400 items to train on",
    )  # fmt: skip


def test_fewer_ratings_are_held_out_before_they_decay_more() -> None:
    ratings = {"task": "ratings", "weight_decay": 0.01}
    assert more_variety(ratings, FIFTH, "fit", 5, 700) == ("split.by.valid", 0.1)
    assert more_variety(ratings, MARKED, "fit", 5, 700) == ("fit.weight_decay", 0.1)


@pytest.mark.parametrize(
    ("by", "remedy"),
    [
        (TimeSplit(rule="time", valid=0.5), ("split.by.valid", 0.25)),
        (RandomSplit(rule="random", valid=0.15), ("split.by.valid", 0.1)),
        (RandomSplit(rule="random", valid=0.1), None),
        (FoldsSplit(rule="folds", of="random"), ("split.by.folds", 10)),
        (FoldsSplit(rule="folds", of="random", folds=10), None),
        (MARKED, None),
    ],
)
def test_a_tenth_at_least_is_held_out(by: Any, remedy: tuple | None) -> None:
    assert hold_out_less(by) == remedy
