"""Metrics of one-label predictions, from logits."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def measure(
    names: Sequence[str], logits: Tensor, targets: Tensor, top_k: int = 5, threshold: float = 0.5
) -> dict[str, float]:
    """Compute metrics over all items at once, so that none is an average of batch averages.

    Args:
        names: members of `thaw.params.fit.METRICS`.
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


def f1_per_class(answers: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Return F1 of each class, float64 [classes]; 0 for a class neither there nor answered."""
    right = torch.bincount(targets[answers == targets], minlength=classes).double()
    both = torch.bincount(answers, minlength=classes) + torch.bincount(targets, minlength=classes)
    return 2 * right / both.clamp(min=1)
