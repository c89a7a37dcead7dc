"""Metrics: computed by hand, and by scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from thaw.evaluation import final_metrics, per_class, softmax
from thaw.params.training.fit import TASK_METRICS
from thaw.vision.metrics import f1_per_class, measure, measure_labels, measure_points

METRICS = TASK_METRICS["label"]

# Probabilities of three classes, and the right one.
BY_HAND = [
    ([0.90, 0.05, 0.05], 0),  # right and confident
    ([0.60, 0.30, 0.10], 1),  # confident but wrong; right is second
    ([0.40, 0.35, 0.25], 2),  # wrong, not confident; right is last
    ([0.30, 0.45, 0.25], 1),  # right, not confident
    ([0.10, 0.10, 0.80], 2),  # right and confident
]
LOGITS = torch.tensor([p for p, _ in BY_HAND]).log()
TARGETS = torch.tensor([t for _, t in BY_HAND])


@pytest.fixture
def predictions():
    """Random logits of 7 classes for 200 items; one class is never there, one never answered."""
    generator = np.random.default_rng(4)
    logits = generator.normal(size=(200, 7))
    targets = generator.integers(0, 6, 200)  # never 6
    logits[np.arange(200), targets] += 1.0
    logits[:, 3] -= 15  # never answered
    logits[5, 6] = 9  # but 6 is
    return logits, targets


def test_metrics_computed_by_hand():
    found = measure(METRICS, LOGITS, TARGETS, top_k=2)
    assert found == pytest.approx(
        {
            "error_rate": 2 / 5,
            "accuracy": 3 / 5,
            "top_k_error_rate": 1 / 5,
            # class 0: 1 right of 3 answered and 1 there; 1: 1 of 1 and 2; 2: 1 of 1 and 2
            "f1_macro": (2 / 4 + 2 / 3 + 2 / 3) / 3,
            "coverage": 3 / 5,
            "confident_error_rate": 1 / 3,
        }
    )
    assert list(found) == list(METRICS)


def test_several_labels_are_given_strictly_above_the_threshold():
    logits = torch.tensor([[0.0, 2.0], [-1.0, 0.5]])
    targets = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    found = measure_labels(["accuracy_multi", "f1_micro"], logits, targets)  # given: 0-1, 0-1
    assert found == pytest.approx({"accuracy_multi": 2 / 4, "f1_micro": 2 / 4})
    lower = measure_labels(["accuracy_multi"], logits, targets, threshold=0.49)  # 1-1, 0-1
    assert lower == {"accuracy_multi": 3 / 4}


def test_distances_of_points_by_hand():
    outputs = torch.tensor([[0.3, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, -0.2]])
    targets = torch.zeros(2, 4)
    found = measure_points(["median_distance", "mean_distance"], outputs, targets)
    assert found == pytest.approx({"median_distance": 0.1, "mean_distance": 0.175})


def test_only_the_metrics_asked_for_come_in_the_order_asked_for():
    assert list(measure(["coverage", "accuracy"], LOGITS, TARGETS)) == ["coverage", "accuracy"]


def test_confident_means_strictly_above_the_threshold():
    even = torch.zeros(2, 2)  # probability exactly one half
    targets = torch.tensor([0, 0])
    assert measure(["coverage"], even, targets, threshold=0.5) == {"coverage": 0}
    assert measure(["coverage"], even, targets, threshold=0.49) == {"coverage": 1}


def test_nobody_confident_makes_no_confident_errors():
    found = measure(["coverage", "confident_error_rate"], LOGITS, TARGETS, threshold=0.95)
    assert found == {"coverage": 0, "confident_error_rate": 0}


def test_with_fewer_classes_than_k_the_top_holds_all():
    assert measure(["top_k_error_rate"], LOGITS, TARGETS, top_k=5) == {"top_k_error_rate": 0}


def test_metrics_agree_with_scikit_learns(predictions):
    logits, targets = predictions
    answers, classes = logits.argmax(1), np.arange(7)
    found = measure(METRICS, torch.tensor(logits), torch.tensor(targets), top_k=3)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, answers))
    assert found["error_rate"] == pytest.approx(1 - found["accuracy"])
    top = sk.top_k_accuracy_score(targets, logits, k=3, labels=classes)
    assert found["top_k_error_rate"] == pytest.approx(1 - top)
    f1 = sk.f1_score(targets, answers, labels=classes, average=None, zero_division=0)
    assert found["f1_macro"] == pytest.approx(f1.mean())
    per = f1_per_class(torch.tensor(answers), torch.tensor(targets), 7)
    assert per.tolist() == pytest.approx(f1.tolist())


def test_final_metrics_computed_by_hand():
    found = final_metrics(LOGITS.numpy(), TARGETS.numpy())
    right = [0.90, 0.30, 0.25, 0.45, 0.80]
    assert found == pytest.approx(
        {
            "items": 5,
            "error_rate": 0.4,
            "error_rate_se": math.sqrt(0.4 * 0.6 / 5),
            "accuracy": 0.6,
            "loss": -sum(math.log(p) for p in right) / 5,
            "top_5_error_rate": 0.0,
            "f1_macro": (2 / 4 + 2 / 3 + 2 / 3) / 3,
        }
    )


def test_final_metrics_agree_with_scikit_learns(predictions):
    logits, targets = predictions
    found = final_metrics(logits.astype(np.float32), targets)
    answers, classes = logits.argmax(1), np.arange(7)
    assert found["items"] == 200
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, answers))
    assert found["loss"] == pytest.approx(
        sk.log_loss(targets, softmax(logits), labels=classes), rel=1e-6
    )
    top = sk.top_k_accuracy_score(targets, logits, k=5, labels=classes)
    assert found["top_5_error_rate"] == pytest.approx(1 - top)
    assert 0 < found["top_5_error_rate"] < found["error_rate"]
    f1 = sk.f1_score(targets, answers, labels=classes, average="macro", zero_division=0)
    assert found["f1_macro"] == pytest.approx(f1)


def test_the_fits_and_the_final_metrics_are_the_same(predictions):
    logits, targets = predictions
    in_fit = measure(
        ["error_rate", "top_k_error_rate", "f1_macro"], torch.tensor(logits), torch.tensor(targets)
    )
    final = final_metrics(logits, targets)
    assert in_fit["error_rate"] == pytest.approx(final["error_rate"])
    assert in_fit["top_k_error_rate"] == pytest.approx(final["top_5_error_rate"])
    assert in_fit["f1_macro"] == pytest.approx(final["f1_macro"])


def test_metrics_of_each_class_agree_with_scikit_learns(predictions):
    logits, targets = predictions
    answers = logits.argmax(1)
    vocab = [f"breed {c}" for c in range(7)]
    table = per_class(answers, targets, vocab)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        targets, answers, labels=np.arange(7), zero_division=0
    )
    assert list(table.columns) == ["class", "items", "precision", "recall", "f1"]
    assert table["class"].tolist() == vocab
    assert table["items"].tolist() == support.tolist()
    assert table["precision"].tolist() == pytest.approx(precision.tolist())
    assert table["recall"].tolist() == pytest.approx(recall.tolist())
    assert table["f1"].tolist() == pytest.approx(f1.tolist())
    assert table.loc[3, "precision"] == 0  # never answered
    assert table.loc[6, "recall"] == 0  # never there
    assert not table.isna().any(axis=None)


def test_probabilities_of_large_logits_are_finite_and_add_up_to_one():
    probabilities = softmax(np.array([[1000.0, 0.0], [-1000.0, -1001.0]], np.float32))
    assert probabilities.dtype == np.float64
    assert probabilities.sum(1).tolist() == pytest.approx([1, 1])
    assert probabilities[1, 0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_a_hopeless_answer_has_a_finite_loss():
    found = final_metrics(np.array([[2000.0, 0.0]], np.float32), np.array([1]))
    assert math.isfinite(found["loss"])
    assert found["loss"] > 600
