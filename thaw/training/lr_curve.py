"""What a learning-rate test measured, and the rates that can be read off it."""

import math
from dataclasses import dataclass, replace

import numpy as np

from thaw.params.training.lr_test import Rule

LAST_DROPPED = 5  # fastai's suggestions ignore the first tenth and the last five points
FEWEST_POINTS = 10
RISE = 1.05  # the smoothed loss has started to rise when it is 5 % above its minimum for good


@dataclass(frozen=True)
class Curve:
    """What the test measured, a value per step.

    Attributes:
        lr: learning rates, rising exponentially.
        loss: the batches' losses.
        smoothed: their debiased exponential average.
    """

    lr: list[float]
    loss: list[float]
    smoothed: list[float]


@dataclass(frozen=True)
class Suggestion:
    """Learning rates read off a curve; None where it gives none, and then `reason` says why."""

    steepest: float | None = None
    minimum: float | None = None
    valley: float | None = None
    rise: float | None = None
    chosen: float | None = None
    reason: str = ""


def left_out() -> tuple[Curve, Suggestion]:
    """Return the empty curve of a test of no steps, and a suggestion that says so."""
    return Curve([], [], []), Suggestion(reason="the test was left out (steps: 0)")


def suggest(curve: Curve, steps: int, rule: Rule) -> Suggestion:
    """Read the frozen fit's learning rate off a curve.

    Args:
        curve: the test's.
        steps: how many steps were planned; the first tenth is ignored.
        rule: which suggestion is `chosen`.
    """
    lr, smoothed = _considered(curve, steps)
    if len(lr) < FEWEST_POINTS:
        return Suggestion(reason=_too_short(curve, steps))
    found: dict[Rule, float] = {
        "steepest": float(lr[steepest(lr, smoothed)]),
        "minimum": float(lr[smoothed.argmin()]) / 10,
        "valley": float(lr[valley(smoothed)]),
    }
    return Suggestion(
        steepest=found["steepest"],
        minimum=found["minimum"],
        valley=found["valley"],
        rise=rise(curve, steps),
        chosen=found[rule],
    )


def suggest_unfrozen(curve: Curve, steps: int, rule: Rule, frozen_lr: float) -> Suggestion:
    """Read the early body's learning rate off a curve of the unfrozen model.

    `chosen` is a tenth of where the smoothed loss starts to rise, and never above a tenth of
    the frozen fit's learning rate.

    Args:
        curve: the test's.
        steps: how many steps were planned.
        rule: for the other suggestions.
        frozen_lr: the learning rate that the head was fitted with.
    """
    suggestion = suggest(curve, steps, rule)
    if suggestion.rise is None:
        return suggestion
    chosen = min(suggestion.rise / 10, frozen_lr / 10)
    return replace(suggestion, chosen=chosen)


def steepest(lr: np.ndarray, smoothed: np.ndarray) -> int:
    """Return where the loss falls fastest per factor of learning rate (left point)."""
    return int((np.diff(smoothed) / np.diff(np.log(lr))).argmin())


def valley(smoothed: np.ndarray) -> int:
    """Return the middle of the longest valley: of the longest strictly falling subsequence.

    fastai's `valley`: the subsequence of length n that ends first, at index `end`; the middle is
    counted from end - n. A loss that never falls has its valley at its first point.
    """
    length = np.ones(len(smoothed), dtype=int)
    for i in range(1, len(smoothed)):
        higher = length[:i][smoothed[:i] > smoothed[i]]
        if len(higher):
            length[i] = higher.max() + 1
    end = int(length.argmax())
    longest = int(length[end])
    return max(0, end - longest + longest // 3 + longest // 6)


def rise(curve: Curve, steps: int) -> float | None:
    """Return the learning rate after which the smoothed loss stays above its minimum.

    The first tenth counts for no minimum: there the average has hardly begun.
    """
    finite = [value if math.isfinite(value) else np.inf for value in curve.smoothed]
    smoothed = np.array(finite[steps // 10 :])
    low = np.flatnonzero(smoothed <= RISE * smoothed.min())
    return curve.lr[steps // 10 + int(low[-1])] if len(low) else None


def _considered(curve: Curve, steps: int) -> tuple[np.ndarray, np.ndarray]:
    first, last = steps // 10, len(curve.lr) - LAST_DROPPED
    lr, smoothed = np.array(curve.lr[first:last]), np.array(curve.smoothed[first:last])
    bad = np.flatnonzero(~np.isfinite(smoothed))
    end = int(bad[0]) if len(bad) else len(smoothed)
    return lr[:end], smoothed[:end]


def _too_short(curve: Curve, steps: int) -> str:
    return (
        f"the loss diverged after {len(curve.lr)} of {steps} steps, at a learning rate of "
        f"{curve.lr[-1]:.2g}: too early to suggest anything. Lower `start`, or look at the data."
    )
