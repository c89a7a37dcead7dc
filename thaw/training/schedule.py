"""Learning rates by group, and the one-cycle schedule."""

import math
from collections.abc import Sequence
from typing import NamedTuple

GROUPS = ("early", "late", "head")


class Step(NamedTuple):
    """Hyperparameters of one optimizer step.

    Attributes:
        lrs: a learning rate per parameter group, first to last.
        momentum: AdamW's first beta.
    """

    lrs: list[float]
    momentum: float


def group_lrs(lr: float | Sequence[float], groups: int = len(GROUPS)) -> list[float]:
    """Give each parameter group its largest learning rate.

    Args:
        lr: one number for all; two numbers, spread multiplicatively from the first group to the
            last (discriminative learning rates, Howard and Ruder 2018, section 3.2); or one
            number per group.
        groups: number of groups.

    Returns:
        A learning rate per group.
    """
    if not isinstance(lr, Sequence):
        return [float(lr)] * groups
    if len(lr) == groups:
        return [float(rate) for rate in lr]
    first, last = lr
    return [first * (last / first) ** (group / (groups - 1)) for group in range(groups)]


def cosine(start: float, end: float, position: float) -> float:
    """Go from `start` to `end` along half a cosine as `position` goes from 0 to 1."""
    return start + (1 + math.cos(math.pi * (1 - position))) * (end - start) / 2


def up_and_down(
    position: float, pct_start: float, start: float, middle: float, end: float
) -> float:
    """Cosine from `start` to `middle` on [0, pct_start], then on to `end`."""
    if position < pct_start:
        return cosine(start, middle, position / pct_start)
    return cosine(middle, end, (position - pct_start) / (1 - pct_start))


def one_cycle(
    steps: int,
    lrs: Sequence[float],
    *,
    pct_start: float,
    div: float,
    div_final: float,
    moms: Sequence[float],
) -> list[Step]:
    """Plan every step of a one-cycle fit (Smith 2018, section 5, with fastai's cosines).

    Step k of n is taken at position k / n, so the first is exactly lr / div and the last stops
    short of lr / div_final.

    Args:
        steps: optimizer steps of the whole fit.
        lrs: largest learning rate per group.
        pct_start: share of the cycle in which the rate rises and the momentum falls.
        div: first rate = lr / div.
        div_final: final rate = lr / div_final.
        moms: momentum at the start, at the largest rate, and at the end.
    """
    return [
        Step(
            [up_and_down(k / steps, pct_start, lr / div, lr, lr / div_final) for lr in lrs],
            up_and_down(k / steps, pct_start, *moms),
        )
        for k in range(steps)
    ]
