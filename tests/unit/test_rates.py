"""Every spelling of a recipe's `lr:`, and what `auto` stands for."""

import json

import pytest

from stages.common.rates import frozen_lrs, head_lr, unfrozen_lrs
from thaw.core.errors import UserError
from thaw.params.base import parse
from thaw.params.training.fit import Fit
from thaw.training.schedule import group_lrs


@pytest.fixture
def suggestion(tmp_path):
    """A suggestion.json that chose 8e-4."""
    path = tmp_path / "suggestion.json"
    path.write_text(json.dumps({"chosen": 8e-4, "reason": ""}))
    return path


@pytest.fixture
def no_suggestion(tmp_path):
    """A suggestion.json without a rate."""
    path = tmp_path / "suggestion.json"
    path.write_text(json.dumps({"chosen": None, "reason": "the test was left out (steps: 0)"}))
    return path


@pytest.fixture
def frozen_metrics(tmp_path):
    """A metrics.json of a frozen fit whose head learned at 3e-3."""
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"lr/early": 3e-4, "lr/late": 3e-4, "lr/head": 3e-3}))
    return path


@pytest.mark.parametrize(
    ("lr", "wanted"),
    [
        (3e-3, [3e-3, 3e-3, 3e-3]),
        (1, [1.0, 1.0, 1.0]),
        ([1e-6, 1e-4], [1e-6, 1e-5, 1e-4]),
        ([2e-4, 2e-4, 2e-3], [2e-4, 2e-4, 2e-3]),
    ],
)
def test_numbers_mean_the_same_in_both_phases(lr, wanted, no_suggestion, tmp_path):
    """And need no LR test."""
    assert frozen_lrs(lr, no_suggestion) == pytest.approx(wanted)
    assert unfrozen_lrs(lr, no_suggestion, tmp_path / "none.json") == pytest.approx(wanted)
    assert frozen_lrs(lr, tmp_path / "none.json") == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("lr", "wanted"),
    [
        ("auto", [8e-4, 8e-4, 8e-4]),
        (["auto", 8e-2], [8e-4, 8e-3, 8e-2]),
        ([8e-6, "auto"], [8e-6, 8e-5, 8e-4]),
        (["auto", "auto"], [8e-4, 8e-4, 8e-4]),
    ],
)
def test_auto_in_the_frozen_phase_is_the_tests_choice(lr, wanted, suggestion):
    assert frozen_lrs(lr, suggestion) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("lr", "first", "last"),
    [
        ("auto", 8e-4, 3e-4),
        (["auto", "auto"], 8e-4, 3e-4),
        (["auto", 1e-2], 8e-4, 1e-2),
        ([1e-6, "auto"], 1e-6, 3e-4),
    ],
)
def test_auto_in_the_unfrozen_phase_is_the_choice_and_a_tenth_of_the_heads_rate(
    lr, first, last, suggestion, frozen_metrics
):
    found = unfrozen_lrs(lr, suggestion, frozen_metrics)
    assert found == pytest.approx([first, (first * last) ** 0.5, last])


def test_the_heads_rate_comes_from_the_frozen_fit(frozen_metrics):
    assert head_lr(frozen_metrics) == 3e-3


@pytest.mark.parametrize("lr", ["auto", ["auto", 1e-2]])
def test_auto_without_a_rate_is_refused_with_the_tests_reason(lr, no_suggestion, frozen_metrics):
    reason = r"suggestion\.json has no rate: the test was left out \(steps: 0\)"
    with pytest.raises(UserError, match=rf"fit_frozen\.lr is 'auto', but .*{reason}"):
        frozen_lrs(lr, no_suggestion)
    with pytest.raises(UserError, match=rf"fit_unfrozen\.lr is 'auto', but .*{reason}"):
        unfrozen_lrs(lr, no_suggestion, frozen_metrics)


def test_auto_as_the_last_rate_alone_needs_no_lr_test(no_suggestion, frozen_metrics):
    found = unfrozen_lrs([3e-6, "auto"], no_suggestion, frozen_metrics)
    assert found == pytest.approx([3e-6, 3e-5, 3e-4])


@pytest.mark.parametrize("lr", [1e-3, 1, "auto", [1e-6, 1e-4], [1, 2, 3], ["auto", 1e-3]])
def test_every_spelling_is_taken_from_a_recipe(lr):
    assert parse(Fit, {"epochs": 1, "lr": lr}, "recipes.pets.fit_frozen").lr == lr


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        ("1e-3", "is no learning rate"),  # quoted
        ("slice", "is no learning rate"),
        (0, "is no learning rate"),
        (-1e-3, "is no learning rate"),
        (True, "is no learning rate"),
        (None, "is no learning rate"),
        ([1e-3], "has 1 entries"),
        ([1e-3] * 4, "has 4 entries"),
        ([1e-3, 0], "is no learning rate"),
        (["auto", 1e-3, 1e-3], "not into a list of three"),
    ],
)
def test_other_spellings_are_refused_with_the_remedy(lr, message):
    with pytest.raises(UserError, match=rf"recipes\.pets\.fit_frozen\.lr: .*{message}"):
        parse(Fit, {"epochs": 1, "lr": lr}, "recipes.pets.fit_frozen")


def test_rates_spread_by_a_constant_factor_over_any_number_of_groups():
    assert group_lrs([1e-6, 1e-3], groups=4) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])
    assert group_lrs(2e-3, groups=2) == [2e-3, 2e-3]
