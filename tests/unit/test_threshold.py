"""Thresholds: sweeps by hand, choices on one half, pictures."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from thaw.core.errors import UserError
from thaw.evaluation import evaluate, sigmoid
from thaw.params.threshold import Threshold
from thaw.threshold import (
    LESSON,
    SWEEP,
    best_f1,
    choose_for_label,
    choose_for_labels,
    halves,
    middle_of_best,
)
from thaw.threshold_plot import draw_threshold
from thaw.vision.several import average_precisions, cell_metrics, labels_metrics

PROBABILITIES = np.array([[0.9, 0.2, 0.6], [0.4, 0.5, 0.1], [0.7, 0.1, 0.3], [0.2, 0.05, 0.2]])
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]])


@pytest.fixture
def predictions():
    """Probabilities and targets of 5 classes for 300 items, some without any label."""
    random = np.random.default_rng(3)
    targets = (random.random((300, 5)) < [0.3, 0.1, 0.05, 0.2, 0.15]).astype(float)
    return sigmoid(random.normal(size=(300, 5)) + 2.2 * targets - 1.5), targets


def test_cells_by_hand():
    # at 0.5 (strictly above): given 1-0-1, 0-0-0, 1-0-0, 0-0-0
    assert cell_metrics(PROBABILITIES, TARGETS, 0.5) == pytest.approx(
        {
            "accuracy_multi": 7 / 12,
            "f1_macro": (2 * 1 / (2 + 2) + 0 + 0) / 3,
            "f1_micro": 2 * 1 / (3 + 4),
            "precision": 1 / 3,
            "recall": 1 / 4,
        }
    )
    assert cell_metrics(PROBABILITIES, TARGETS, 0.49)["recall"] == 2 / 4


def test_metrics_agree_with_scikit_learns(predictions):
    probabilities, targets = predictions
    given = probabilities > 0.4
    found = labels_metrics(probabilities, targets, 0.4)
    assert found["accuracy_multi"] == pytest.approx((given == (targets > 0)).mean())
    assert found["f1_macro"] == pytest.approx(sk.f1_score(targets, given, average="macro"))
    assert found["f1_micro"] == pytest.approx(sk.f1_score(targets, given, average="micro"))
    mean = sk.average_precision_score(targets, probabilities, average="macro")
    assert found["mean_average_precision"] == pytest.approx(mean)


def test_a_class_that_does_not_occur_has_no_average_precision(predictions):
    probabilities, targets = predictions
    targets[:, 2] = 0
    precisions = average_precisions(probabilities, targets)
    assert np.isnan(precisions).tolist() == [False, False, True, False, False]
    mean = labels_metrics(probabilities, targets, 0.5)["mean_average_precision"]
    assert mean == pytest.approx(np.delete(precisions, 2).mean())


def test_the_lessons_sweep_is_part_of_the_fine_one():
    assert len(LESSON) == 29
    assert np.isclose(SWEEP[:, None], LESSON).any(0).all()
    assert (np.diff(SWEEP) > 1e-6).all()


def test_the_halves_are_the_same_for_the_same_seed():
    assert halves(11, 3).sum() == 5
    assert (halves(11, 3) == halves(11, 3)).all()
    assert (halves(40, 3) != halves(40, 4)).any()


def test_the_middle_of_the_first_best_run_is_chosen():
    scores = np.zeros(len(SWEEP))
    scores[[10, 11, 12, 40, 41, 42, 43, 44]] = 1
    assert middle_of_best(scores) == SWEEP[11]
    assert middle_of_best(np.ones(len(SWEEP))) == SWEEP[len(SWEEP) // 2]
    scores[:] = 0
    scores[-1] = 1
    assert middle_of_best(scores) == SWEEP[-1]


def test_one_threshold_is_best_on_its_half_and_reported_on_the_other(predictions):
    probabilities, targets = predictions
    choice = choose_for_labels(probabilities, targets, Threshold(), seed=1)
    half = halves(300, 1)
    [threshold] = set(choice.thresholds)
    scores = [((probabilities[half] > t) == targets[half]).mean() for t in SWEEP]
    assert choice.metrics["chosen_on/accuracy_multi"] == pytest.approx(max(scores))
    other = ((probabilities[~half] > threshold) == targets[~half]).mean()
    assert choice.metrics["other_half/accuracy_multi"] == pytest.approx(other)
    assert choice.curve["threshold"].tolist() == SWEEP.tolist()
    at = choice.curve.set_index("threshold").loc[threshold]
    assert choice.metrics["valid/recall"] == at["recall"]


def test_a_threshold_for_each_class_has_its_best_f1(predictions):
    probabilities, targets = predictions
    choice = choose_for_labels(probabilities, targets, Threshold(per_class=True), seed=1)
    assert len(set(choice.thresholds)) > 1
    half = halves(300, 1)
    for place, threshold in enumerate(choice.thresholds):
        mine, right = probabilities[half, place], targets[half, place]
        best = max(sk.f1_score(right, mine > t, zero_division=0) for t in SWEEP)
        assert sk.f1_score(right, mine > threshold) == pytest.approx(best)
    assert best_f1(probabilities[:, 0], np.zeros(300)) == 0.5


def test_answers_are_withheld_until_the_error_is_small_enough():
    confidence = np.repeat([0.95, 0.85, 0.75, 0.65], 25)
    probabilities = np.stack([confidence, 1 - confidence], 1)
    targets = np.zeros(100, np.int64)
    targets[50:75][::2] = 1  # half of those at 0.75 are wrong
    targets[75:] = 1  # all at 0.65
    choice = choose_for_label(probabilities, targets, Threshold(max_error=0.05), seed=1)
    assert 0.75 <= choice.thresholds[0] < 0.85
    assert choice.metrics["valid/coverage"] == 0.5
    assert choice.metrics["valid/error_rate"] == 0
    first = choice.curve.iloc[0]
    assert first["coverage"] == 1
    assert first["error_rate"] == (13 + 25) / 100


def test_an_error_out_of_reach_takes_the_best_answers_there_are():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]] * 2)
    targets = np.array([0, 1, 1, 1] * 2)
    plan = Threshold(max_error=0.0)
    choice = choose_for_label(probabilities, np.ones(8, np.int64), plan, seed=1)  # all wrong
    assert choice.metrics["valid/coverage"] == 1.0
    assert choice.metrics["valid/error_rate"] == 1.0
    reached = choose_for_label(probabilities, targets, plan, seed=1)
    assert reached.metrics["chosen_on/coverage"] > 0


def test_one_held_out_item_has_no_half():
    with pytest.raises(UserError, match="chosen on one half"):
        halves(1, seed=1)


def test_the_picture_is_the_same_bytes_each_time(predictions, tmp_path):
    choice = choose_for_labels(*predictions, Threshold(), seed=1)
    for name in ("a.png", "b.png"):
        draw_threshold(choice, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_evaluation_of_several_labels(predictions):
    probabilities, targets = predictions
    logits = np.log(probabilities / (1 - probabilities))
    table = pd.DataFrame({"path": "x", "target": list(targets), "logits": list(logits)})
    found = evaluate(table, list("abcde"))
    assert found.metrics["loss"] == pytest.approx(
        -(np.log(np.where(targets > 0, probabilities, 1 - probabilities))).mean()
    )
    assert found.per_class["items"].tolist() == targets.sum(0).tolist()
    assert found.metrics["mean_average_precision"] == pytest.approx(
        found.per_class["average_precision"].mean()
    )
    assert found.confusion.empty


def test_evaluation_of_points_by_group():
    table = pd.DataFrame(
        {
            "path": ["a", "b", "c"], "label": "", "split": "valid",
            "target": [[0.0, 0.0], [10.0, 0.0], [5.0, 5.0]],
            "prediction": [[3.0, 4.0], [10.0, 1.0], [5.0, 5.0]],
            "person": ["13", "13", "14"],
        }
    )  # fmt: skip
    found = evaluate(table, [])
    assert found.metrics == pytest.approx(
        {"items": 3, "mean_pixels": 2.0, "median_pixels": 1.0, "p90_pixels": 4.2}
    )
    assert found.per_class[["group", "items", "mean_pixels"]].to_numpy().tolist() == [
        ["person 13", 2, 3.0], ["person 14", 1, 0.0],
    ]  # fmt: skip
