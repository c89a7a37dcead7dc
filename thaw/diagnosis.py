"""What a fit's losses and metric say of its learning rate, its epochs and its data.

The cases, and the curves that the tests hold them to, are those of fast.ai's lesson on one's own
images (2019, lesson 2, "Things that can go wrong"): a learning rate too high or too low, too few
or too many epochs. Everything is read from the histories; nothing is trained again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "rate too high", "rate too low", "too few epochs", "too many epochs", "more data", "good"
]

EXPLODED = 3.0  # times the loss of an answer that ignores its input
NEAR_CHANCE = 0.8  # of the error of such an answer
SHORT = 0.5  # of the same: what still is far from good
SLOW = 0.1  # a training loss that fell by less over three epochs and more hardly fell
FALLING = 0.1  # a validation loss that fell by as much in the last epoch has not arrived
WORSE = 0.05  # a validation loss so much above its lowest has risen
FITTED = 0.7  # a training loss below so much of the validation loss knows its items by heart
SEVERAL = 3  # epochs


@dataclass(frozen=True)
class Chance:
    """What an answer that ignores its input would get on the held-out items.

    Attributes:
        error: its error, in the terms of `Curve.error`.
        loss: its loss.
    """

    error: float
    loss: float


@dataclass(frozen=True)
class Curve:
    """A fit by epochs, one at least; all three are as long.

    Attributes:
        train_loss: smoothed, at the end of each epoch.
        valid_loss: after each epoch.
        error: the metric that counts, turned so that less is better.
        noise: by how much the error may differ by chance, such as its standard error.
    """

    train_loss: Sequence[float]
    valid_loss: Sequence[float]
    error: Sequence[float]
    noise: float = 0.0

    @property
    def best(self) -> int:
        """The first epoch with the smallest error, from 0."""
        return min(range(len(self.error)), key=self.error.__getitem__)


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, and what to try.

    Attributes:
        verdict: in two or three words.
        why: the numbers that it rests on.
        knob: the parameter of the fit that it is about; none if no parameter helps.
        factor: what to multiply the learning rate by.
        epochs: how many to train instead.
    """

    verdict: Verdict
    why: str
    knob: Literal["lr", "epochs"] | None = None
    factor: float | None = None
    epochs: int | None = None


def diagnose(curve: Curve, chance: Chance | None) -> Diagnosis:
    """Judge a fit by the first of the cases that it shows.

    Args:
        curve: the fit.
        chance: to tell learning from none; without it only what the curve alone shows is said.
    """
    return (
        _too_high(curve, chance)
        or _too_low(curve, chance)
        or _too_many(curve, chance)
        or _too_few(curve, chance)
        or _more_data(curve, chance)
        or Diagnosis("good", f"{_errors(curve)}; {_fall('validation loss', curve.valid_loss)}")
    )


def _too_high(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    last = curve.valid_loss[-1]
    if chance is None:
        exploded = len(curve.valid_loss) > 1 and last > EXPLODED * curve.valid_loss[0]
        why = _fall("validation loss", curve.valid_loss)
    else:
        learned = curve.error[-1] < NEAR_CHANCE * chance.error
        exploded = last > EXPLODED * chance.loss and not learned
        why = (
            f"validation loss {last:.4g}, where an answer that ignores its input gets "
            f"{chance.loss:.4g}; error {curve.error[-1]:.3f} ({chance.error:.3f})"
        )
    return Diagnosis("rate too high", why, "lr", factor=0.1) if exploded else None


def _too_low(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    train, valid = curve.train_loss, curve.valid_loss
    slow = len(train) >= SEVERAL and train[-1] > (1 - SLOW) * train[0] and train[-1] > valid[-1]
    reference = chance.error if chance else curve.error[0]
    if not slow or curve.error[-1] < NEAR_CHANCE * reference:
        return None
    why = (
        f"{_fall('training loss', train)}, and is above the validation loss of {valid[-1]:.3f}; "
        f"{_errors(curve)}"
    )
    return Diagnosis("rate too low", why, "lr", factor=10.0)


def _too_many(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    """Look for a metric that stays worse; a validation loss that rises is no fault by itself."""
    best, epochs = curve.best, len(curve.error)
    since = epochs - 1 - best
    limit = curve.error[best] + curve.noise
    worse = sum(error > limit for error in curve.error[best + 1 :]) >= SEVERAL
    lowest = min(range(epochs), key=curve.valid_loss.__getitem__)
    risen = curve.valid_loss[-1] > (1 + WORSE) * curve.valid_loss[lowest]
    fell = curve.train_loss[-1] < (1 - WORSE) * curve.train_loss[best]
    if since < max(SEVERAL, epochs // 4) or not fell or not (worse or risen):
        return None
    why = (
        f"error {curve.error[best]:.3f} in epoch {best + 1} and {curve.error[-1]:.3f} in the last, "
        f"{epochs}, while the training loss fell from {curve.train_loss[best]:.3f} to "
        f"{curve.train_loss[-1]:.3f}; validation loss {curve.valid_loss[lowest]:.3f} in epoch "
        f"{lowest + 1}, {curve.valid_loss[-1]:.3f} in the last"
    )
    if chance and curve.error[best] > SHORT * chance.error:
        why += f". Even the best error is near {chance.error:.3f}, chance: more data helps more"
    return Diagnosis("too many epochs", why, "epochs", epochs=best + 1)


def _too_few(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    epochs, valid = len(curve.error), curve.valid_loss
    if epochs == 1:
        falling = chance is not None and curve.error[0] > SHORT * chance.error
        why = (
            f"one epoch: training loss {curve.train_loss[0]:.3f}, validation loss {valid[0]:.3f}, "
            f"error {curve.error[0]:.3f}"
        )
    else:
        falling = valid[-1] < (1 - FALLING) * valid[-2] and curve.error[-1] <= min(curve.error)
        why = (
            f"the validation loss still fell in the last epoch, from {valid[-2]:.3f} to "
            f"{valid[-1]:.3f}; {_errors(curve)}"
        )
    more = max(4, 2 * epochs)
    return Diagnosis("too few epochs", why, "epochs", epochs=more) if falling else None


def _more_data(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    fitted = curve.train_loss[-1] < FITTED * curve.valid_loss[-1]
    if chance is None or not fitted or min(curve.error) <= SHORT * chance.error:
        return None
    why = (
        f"training loss {curve.train_loss[-1]:.3f} far below the validation loss of "
        f"{curve.valid_loss[-1]:.3f}, and the error stays at {min(curve.error):.3f}, where chance "
        f"is {chance.error:.3f}: more or more varied items, or stronger augmentation"
    )
    return Diagnosis("more data", why)


def _errors(curve: Curve) -> str:
    return _fall("error", curve.error)


def _fall(name: str, values: Sequence[float]) -> str:
    """Say how a value went."""
    if len(values) == 1:
        return f"{name} {values[0]:.3f}"
    return f"{name} {values[0]:.3f} to {values[-1]:.3f} in {len(values)} epochs"
