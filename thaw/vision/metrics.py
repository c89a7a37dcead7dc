"""Metrics during a fit, over all validation items at once, so that none is a mean of means."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from thaw.vision.several import labels_metrics


def measure(
    names: Sequence[str], logits: Tensor, targets: Tensor, top_k: int = 5, threshold: float = 0.5
) -> dict[str, float]:
    """Measure answers of one label.

    Args:
        names: of `thaw.params.training.fit.TASK_METRICS["label"]`.
        logits: float [n, classes].
        targets: int64 [n].
        top_k: for `top_k_error_rate`.
        threshold: the probability above which an answer counts as confident (strictly, as in
            the lessons' `accuracy_multi`), for `coverage` and `confident_error_rate`.

    Returns:
        A value per name, in the order of `names`.
    """
    confidence, answers = F.softmax(logits.float(), 1).max(1)
    wrong = answers != targets
    confident = confidence > threshold
    top = logits.topk(min(top_k, logits.shape[1]), 1).indices
    values = {
        "error_rate": lambda: wrong.double().mean(),
        "accuracy": lambda: (~wrong).double().mean(),
        "top_k_error_rate": lambda: (top != targets.unsqueeze(1)).all(1).double().mean(),
        "f1_macro": lambda: f1_per_class(answers, targets, logits.shape[1]).mean(),
        "coverage": lambda: confident.double().mean(),
        "confident_error_rate": lambda: (
            (wrong & confident).sum().double() / confident.sum().clamp(min=1)
        ),
    }
    return {name: float(values[name]()) for name in names}


def measure_labels(
    names: Sequence[str], logits: Tensor, targets: Tensor, threshold: float = 0.5
) -> dict[str, float]:
    """Measure answers of several labels.

    Args:
        names: of `thaw.params.training.fit.TASK_METRICS["labels"]`.
        logits: float [n, classes].
        targets: float [n, classes], 0 or 1.
        threshold: the probability above which (strictly) a label is given.

    Returns:
        A value per name, in the order of `names`.
    """
    values = labels_metrics(
        logits.double().sigmoid().cpu().numpy(), targets.cpu().numpy(), threshold
    )
    return {name: values[name] for name in names}


def measure_points(names: Sequence[str], outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Measure points.

    Args:
        names: of `thaw.params.training.fit.TASK_METRICS["points"]`.
        outputs: float [n, 2 * p], x and y in [-1, 1].
        targets: float [n, 2 * p].

    Returns:
        Distances in half sides of the model's input: 0.1 is a twentieth of its side.
    """
    distances = (outputs - targets).double().view(-1, 2).norm(dim=1)
    values = {"mean_distance": distances.mean(), "median_distance": distances.quantile(0.5)}
    return {name: float(values[name]) for name in names}


def f1_per_class(answers: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Return F1 of each class, float64 [classes]; 0 for a class neither there nor answered."""
    right = torch.bincount(targets[answers == targets], minlength=classes).double()
    both = torch.bincount(answers, minlength=classes) + torch.bincount(targets, minlength=classes)
    return 2 * right / both.clamp(min=1)
