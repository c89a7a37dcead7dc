"""Verdicts on the curves that the lessons print, and on what must not be mistaken for them."""

from math import log

import numpy as np
import pytest

from thaw.diagnosis import Chance, Curve, diagnose

THREE = Chance(error=2 / 3, loss=log(3))  # of three kinds of bears, as many of each
TEN = Chance(error=0.9, loss=log(10))


def through(points: dict[int, float]) -> list[float]:
    """Draw straight lines through printed values, by epoch from 1."""
    epochs = np.arange(1, max(points) + 1)
    return np.interp(epochs, list(points), list(points.values())).tolist()


HIGH = Curve([24.90], [1.18e9], [0.639])
LOW = Curve(
    [2.066, 2.001, 1.976, 1.972, 1.990],
    [1.419, 1.307, 1.308, 1.321, 1.324],
    [0.657, 0.583, 0.611, 0.620, 0.648],
)
FEW = Curve([1.972], [2.014], [0.667])
MANY = Curve(
    through({1: 1.211, 10: 1.436, 40: 0.297}),
    through({1: 1.383, 10: 1.318, 40: 1.676}),
    through({1: 0.663, 26: 0.549, 40: 0.549}),
)
GOOD = Curve(
    [2.335, 1.752, 1.527, 1.317], [1.945, 1.367, 1.165, 1.108], [0.566, 0.415, 0.396, 0.340]
)


@pytest.mark.parametrize(
    ("curve", "chance", "verdict", "cited"),
    [
        (HIGH, THREE, "rate too high", "1.18e+09"),
        (LOW, THREE, "rate too low", "training loss 2.066 to 1.990"),
        (FEW, THREE, "too few epochs", "validation loss 2.014"),
        (MANY, THREE, "too many epochs", "error 0.549 after 26 epochs"),
        (GOOD, TEN, "good", "error 0.566 to 0.340"),
    ],
    ids=["high", "low", "few", "many", "good"],
)
def test_the_lessons_curves(curve: Curve, chance: Chance, verdict: str, cited: str) -> None:
    found = diagnose(curve, chance)
    assert found.verdict == verdict
    assert cited in found.why


def test_what_to_try() -> None:
    assert diagnose(HIGH, THREE).factor == 0.1
    assert diagnose(LOW, THREE).factor == 10
    assert diagnose(FEW, THREE).epochs == 4
    assert diagnose(MANY, THREE).epochs == 26


def test_a_worse_validation_loss_alone_is_not_too_many_epochs() -> None:
    better = Curve(MANY.train_loss, MANY.valid_loss, through({1: 0.5, 40: 0.1}))
    assert diagnose(better, THREE).verdict == "good"


def test_a_metric_that_stays_worse_is_too_many_epochs_whatever_the_loss_does() -> None:
    found = diagnose(
        Curve([1.0, 0.8, 0.6, 0.5, 0.4, 0.3], [0.9] * 6, [0.3, 0.2, 0.1, 0.15, 0.15, 0.2]), TEN
    )
    assert (found.verdict, found.epochs) == ("too many epochs", 3)


def test_a_metric_that_is_worse_by_chance_is_no_fault() -> None:
    errors = [0.3, 0.2, 0.1, 0.15, 0.15, 0.2]
    noisy = Curve([1.0, 0.8, 0.6, 0.5, 0.4, 0.3], [0.5] * 6, errors, noise=0.15)
    assert diagnose(noisy, TEN).verdict == "good"


def test_a_model_that_began_good_has_no_rate_too_low() -> None:
    began_good = Curve([0.21, 0.20, 0.205, 0.2], [0.1, 0.1, 0.1, 0.1], [0.03, 0.03, 0.02, 0.02])
    assert diagnose(began_good, TEN).verdict == "good"


def test_trained_to_the_end_and_still_short_asks_for_data() -> None:
    short = Curve([2.0, 1.2, 0.6, 0.3], [1.4, 1.2, 1.1, 1.1], [0.6, 0.52, 0.5, 0.49])
    found = diagnose(short, THREE)
    assert (found.verdict, found.factor, found.epochs) == ("more data", None, None)
    assert found.variety
    assert "stays at 0.490, where chance is 0.667" in found.why


def test_a_loss_that_burst_is_a_rate_too_high_whatever_the_error_is() -> None:
    assert diagnose(Curve([24.9], [1e9], [0.3]), THREE).verdict == "rate too high"


def test_a_loss_that_hardly_falls_far_from_good_is_a_rate_too_low() -> None:
    losses = [1.60, 1.59, 1.58, 1.57, 1.56], [1.40, 1.39, 1.38, 1.37, 1.36]
    assert diagnose(Curve(*losses, [0.55, 0.54, 0.53, 0.52, 0.51]), THREE).verdict == "rate too low"
    assert diagnose(Curve(*losses, [0.10, 0.10, 0.10, 0.09, 0.09]), THREE).verdict == "good"
    going_on = Curve(*losses, [0.55, 0.54, 0.53, 0.52, 0.51], before=0.55)
    assert diagnose(going_on, THREE).verdict == "good"


@pytest.mark.parametrize(
    ("curve", "verdict"),
    [
        (Curve([1.793, 2.286], [7.072, 1.982], [0.5, 0.583]), "rate too high"),
        (
            Curve(
                [2.037, 5.702, 10.38, 16.61, 20.32, 24.76, 24.89, 22.12],
                [18.06, 351.4, 573.8, 258.0, 145.0, 65.53, 23.78, 17.65],
                [0.667, 0.667, 0.667, 0.667, 0.667, 0.667, 0.583, 0.583],
            ),
            "rate too high",
        ),
        (
            Curve([1.920, 2.260, 2.171, 2.217], [1.391, 1.404, 1.461, 1.537], [0.7, 0.9, 0.8, 0.8]),
            "rate too low",
        ),
    ],
    ids=["1.0", "3.0", "1e-6"],
)
def test_a_loss_that_rises_in_large_steps_is_no_rate_too_low(curve: Curve, verdict: str) -> None:
    """Real fits of drawn shapes on random features; the rate is the case's name."""
    assert diagnose(curve, THREE).verdict == verdict


def test_what_still_falls_does_not_ask_for_data_yet() -> None:
    errors = [0.6, 0.52, 0.5, 0.49]
    assert diagnose(Curve([2.0, 1.2, 0.6, 0.3], [1.4, 1.2, 1.1, 1.05], errors), THREE).verdict != (
        "more data"
    )


def test_a_loss_that_falls_back_a_little_from_high_above_its_lowest_does_not_still_fall() -> None:
    """A real fit: 36 drawn shapes on random features."""
    risen = Curve([1.1, 0.8, 0.5, 0.33], [1.10, 1.4, 2.05, 1.95], [0.667, 0.6, 0.55, 0.5])
    assert diagnose(risen, THREE).verdict == "more data"


def test_good_without_a_yardstick_says_so() -> None:
    found = diagnose(Curve([0.4, 0.35], [0.3, 0.3], [5.0, 4.9]), None)
    assert found.verdict == "good"
    assert found.why.endswith("what an answer that ignores its input would get is not known here")


def test_without_a_measure_of_chance_the_curve_alone_speaks() -> None:
    assert diagnose(Curve([0.1, 9.0], [0.1, 5.0], [0.4, 2.0]), None).verdict == "rate too high"
    assert diagnose(Curve([0.4, 0.2], [0.3, 0.2], [0.9, 0.5]), None).verdict == "too few epochs"
    assert diagnose(Curve([0.4], [0.3], [0.9]), None).verdict == "good"
    plateau = Curve([0.02, 0.02, 0.02], [0.01, 0.01, 0.01], [0.05, 0.049, 0.049])
    assert diagnose(plateau, None).verdict == "good"


@pytest.mark.parametrize(
    ("curve", "verdict"),
    [
        (Curve([2.0, 1.99], [1.2, 1.2], [0.667, 0.667]), "rate too low"),
        (Curve([1.10] * 8, [1.11] * 8, [0.66] * 8), "nothing learned"),
        (Curve([1.3, 1.4, 1.2], [0.5, 1.4, 1.2], [0.1, 0.6, 0.55], before=0.05), "rate too high"),
        (Curve([0.5, 0.4, 0.3], [0.3] * 3, [0.06, 0.05, 0.05], 0.02, before=0.05), "good"),
    ],
    ids=["too slow to see", "chance", "spoiled", "unchanged"],
)
def test_what_learned_nothing_or_spoiled_it_is_not_good(curve: Curve, verdict: str) -> None:
    assert diagnose(curve, THREE).verdict == verdict


def test_items_known_by_heart_are_no_rate_too_high() -> None:
    by_heart = Curve([1.1, 0.1, 0.005], [1.1, 3.0, 4.4], [0.62, 0.63, 0.65])
    assert diagnose(by_heart, THREE).verdict != "rate too high"


def test_points_farther_off_than_their_middle_came_of_a_rate_too_high() -> None:
    """A real fit of heads at 1e-2; two epochs at 1e-3 ended at 0.469, four at 1e-2 at 0.507."""
    middle = Chance(error=0.404, loss=0.102)
    heads = Curve([0.489, 0.434], [0.694, 0.371], [1.147, 0.829])
    assert diagnose(heads, middle).verdict == "rate too high"
    assert diagnose(Curve([0.316, 0.267], [0.435, 0.136], [0.911, 0.469]), middle).factor is None


@pytest.mark.parametrize(
    ("curve", "tried", "cited"),
    [
        (Curve([1.2, 1.2], [1.3, 1.3], [0.667, 0.667]), {"epochs": 4}, "too few epochs to tell"),
        (Curve([1.10] * 8, [1.11] * 8, [0.66] * 8), {"factor": 10.0}, "it did not move"),
        (
            Curve([1.1, 1.3, 1.5, 1.6], [1.7, 1.7, 1.7, 1.7], [0.66] * 4),
            {"factor": 0.1},
            "training loss 1.100 to 1.600 in 4 epochs: it rose",
        ),
        (
            Curve([1.1, 0.8, 0.5], [1.2, 1.4, 1.5], [0.66] * 3),
            {"variety": True},
            "what is learned of these items does not hold for others",
        ),
    ],
    ids=["hardly begun", "flat", "risen", "by heart"],
)
def test_what_to_try_where_nothing_was_learned(curve: Curve, tried: dict, cited: str) -> None:
    found = diagnose(curve, THREE)
    assert found.verdict == "nothing learned"
    assert cited in found.why
    assert f"by chance {2 / 3:.3f}" in found.why
    nothing = {"factor": None, "epochs": None, "variety": False}
    assert {name: getattr(found, name) for name in nothing} == nothing | tried


def test_a_fit_without_errors_left_needs_nothing() -> None:
    perfect = Curve([0.5, 0.2, 0.1], [0.08, 0.05, 0.03], [0.0, 0.0, 0.0])
    assert diagnose(perfect, TEN).verdict == "good"
    rising = Curve([0.5, 0.3, 0.2, 0.1, 0.05], [0.1, 0.1, 0.12, 0.13, 0.14], [0.1, 0, 0, 0, 0])
    assert diagnose(rising, TEN).verdict == "good"


@pytest.mark.parametrize(
    ("curve", "verdict"),
    [
        (HIGH, "rate too high"),
        (LOW, "rate too low"),
        (FEW, "too few epochs"),
        (MANY, "too many epochs"),
        (Curve([852, 2966], [37_062, 17_025], [0.9, 0.65]), "rate too high"),  # a real fit
    ],
)
def test_without_a_constant_for_the_metric_losses_are_compared(curve: Curve, verdict: str) -> None:
    assert diagnose(curve, Chance(None, log(3))).verdict == verdict


def test_losses_that_go_up_all_the_way_came_of_a_rate_too_high() -> None:
    up = Curve([0.7, 0.8, 0.9, 1.05], [0.6, 0.7, 0.8, 1.0], [0.34, 0.4, 0.45, 0.55])
    for chance in (THREE, TEN, None):
        found = diagnose(up, chance)
        assert (found.verdict, found.factor) == ("rate too high", 0.1)


def test_one_epoch_far_above_chance_does_not_ask_for_more() -> None:
    """A real fit of bears at 0.1."""
    assert diagnose(Curve([3.82], [9.47], [0.583]), THREE).verdict == "rate too high"


def test_trained_until_worse_and_still_short_asks_for_data_as_well() -> None:
    worse = [0.55, 0.45, 0.40, 0.46, 0.47, 0.48]
    found = diagnose(
        Curve([1.2, 0.9, 0.6, 0.4, 0.25, 0.15], [1.1, 1, 0.98, 1.05, 1.2, 1.3], worse), THREE
    )
    assert (found.verdict, found.epochs, found.variety) == ("too many epochs", 3, True)
    assert "more items, or more varied ones" in found.why
    good = diagnose(
        Curve(
            [1.2, 0.9, 0.6, 0.4, 0.25, 0.15], [1.1, 1, 0.98, 1.05, 1.2, 1.3], [e / 2 for e in worse]
        ),
        THREE,
    )
    assert (good.epochs, good.variety) == (3, False)
