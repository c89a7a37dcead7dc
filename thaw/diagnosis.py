"""What a fit's losses and metric say of its learning rate, its epochs and its data.

The cases, and the curves that the tests hold them to, are those of fast.ai's lesson on one's own
images (2019, lesson 2, "Things that can go wrong"): a learning rate too high or too low, too few
or too many epochs. Everything is read from the histories; nothing is trained again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "rate too high", "rate too low", "too few epochs", "too many epochs", "nothing learned",
    "more data", "good",
]  # fmt: skip
UP, DOWN = 10.0, 0.1  # what a learning rate is multiplied by: less does not tell

EXPLODED = 3.0  # times the loss of an answer that ignores its input
NEAR_CHANCE = 0.9  # of the error of such an answer: hardly anything was learned
SHORT = 0.5  # of the same: still far from good
SPOILED = 1.2  # times the error that the fit before had reached
TOSSED = 2.0  # times its lowest: a validation loss that went up and down so far was thrown about
RISEN = 1.25  # times what they were after the first epoch: losses that went up all the way
SLOW = 0.1  # a training loss that fell by less than this share in all epochs hardly fell
FALLING = 0.1  # a validation loss that fell by this share in the last epoch was not at its end
WORSE = 0.05  # a validation loss by this share above its lowest has risen
STILL = 0.01  # a validation loss less than this share below all before is at its end
FITTED = 0.7  # below this share of the validation loss, training knows its items by heart
SEVERAL = 3  # epochs


@dataclass(frozen=True)
class Chance:
    """What an answer that ignores its input would get on the held-out items.

    Attributes:
        error: its error, in the terms of `Curve.error`, above 0; None where no constant answer is
            best at the metric: then losses are compared.
        loss: its loss, above 0.
    """

    error: float | None
    loss: float


@dataclass(frozen=True)
class Curve:
    """A fit by epochs, one at least; the three lists are as long.

    Attributes:
        train_loss: smoothed, at the end of each epoch.
        valid_loss: after each epoch.
        error: the metric that counts, turned so that less is better.
        noise: by how much the error may differ by chance, such as its standard error.
        name: of the error, for people.
        before: the error that the fit before this one ended with, if there was one.
    """

    train_loss: Sequence[float]
    valid_loss: Sequence[float]
    error: Sequence[float]
    noise: float = 0.0
    name: str = "error"
    before: float | None = None

    @property
    def best(self) -> int:
        """The first epoch with the smallest error, from 0."""
        return min(range(len(self.error)), key=self.error.__getitem__)

    def is_near(self, chance: Chance | None) -> bool:
        """Say whether it ended hardly better than an answer that ignores its input."""
        if chance is None:
            return False
        if chance.error is None:
            return self.valid_loss[-1] >= NEAR_CHANCE * chance.loss
        return self.error[-1] >= NEAR_CHANCE * chance.error

    @property
    def is_risen(self) -> bool:
        """Say whether both losses and the error went up all the way."""
        return (
            self.train_loss[-1] > RISEN * self.train_loss[0]
            and self.valid_loss[-1] > RISEN * self.valid_loss[0]
            and self.error[-1] > self.error[0] + 2 * self.noise
        )

    def is_tossed(self, chance: Chance) -> bool:
        """Say whether training made it worse, in large steps, than an answer without input."""
        train, valid = self.train_loss, self.valid_loss
        rose = train[-1] > (1 + WORSE) * train[0]
        worse = min(train[-1], valid[-1]) > chance.loss
        return rose and worse and max(valid) > TOSSED * min(valid)

    def is_short(self, chance: Chance | None) -> bool:
        """Say whether even its best error is far from good."""
        if chance is None:
            return False
        if chance.error is None:
            return min(self.valid_loss) > SHORT * chance.loss
        return min(self.error) > SHORT * chance.error


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, and what to try.

    Attributes:
        verdict: in a few words.
        why: the numbers that it rests on.
        factor: what to multiply the learning rates by, if that is the remedy.
        epochs: how many to train instead, if that is.
        variety: whether the remedy is more items, or more varied ones, after the other if there is
            one: `thaw.remedies` says which parameter that is.
    """

    verdict: Verdict
    why: str
    factor: float | None = None
    epochs: int | None = None
    variety: bool = False


def diagnose(curve: Curve, chance: Chance | None) -> Diagnosis:
    """Judge a fit by the first of the cases that it shows.

    Args:
        curve: the fit.
        chance: to tell learning from none; without it only what the curve alone shows is said.
    """
    return (
        _too_high(curve, chance)
        or _spoiled(curve)
        or _too_low(curve, chance)
        or _too_many(curve, chance)
        or _too_few(curve, chance)
        or _nothing_learned(curve, chance)
        or _more_data(curve, chance)
        or _good(curve, chance)
    )


def _good(curve: Curve, chance: Chance | None) -> Diagnosis:
    why = f"{_errors(curve)}; {_way('validation loss', curve.valid_loss)}"
    if chance is None:
        why += "; what an answer that ignores its input would get is not known here"
    elif chance.error is None:
        why += f", where an answer that ignores its input gets {chance.loss:.4g}"
    return Diagnosis("good", why)


def _too_high(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    train, last = curve.train_loss[-1], curve.valid_loss[-1]
    if chance is None:
        exploded = last > EXPLODED * curve.valid_loss[0] or curve.is_risen
        why = f"{_way('validation loss', curve.valid_loss)}; {_errors(curve)}"
    else:
        # A training loss that fell tells of items known by heart, not of a rate.
        high = last > EXPLODED * chance.loss and train > chance.loss
        exploded = high or curve.is_tossed(chance) or curve.is_risen
        why = (
            f"training loss {train:.4g} and validation loss {last:.4g}, where an answer that "
            f"ignores its input gets {chance.loss:.4g}; {_beside_chance(curve, chance)}; "
            f"{_way('training loss', curve.train_loss)}"
        )
    return Diagnosis("rate too high", why, factor=DOWN) if exploded else None


def _spoiled(curve: Curve) -> Diagnosis | None:
    """Look for a fit that never came back to where the one before it had been."""
    before = curve.before
    if before is None or min(curve.error) <= max(SPOILED * before, before + 2 * curve.noise):
        return None
    why = f"{curve.name} {before:.3f} before this fit, never below {min(curve.error):.3f} in it"
    return Diagnosis("rate too high", why, factor=DOWN)


def _too_low(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    train, valid = curve.train_loss, curve.valid_loss
    slow = len(train) > 1 and train[-1] > (1 - SLOW) * train[0] and train[-1] > valid[-1]
    # What a fit before has learned already falls slowly by itself.
    learned = not (curve.is_short(chance) if curve.before is None else curve.is_near(chance))
    if not slow or learned:
        return None
    why = (
        f"{_way('training loss', train)}, and is above the validation loss of {valid[-1]:.3f}; "
        f"{_errors(curve)}"
    )
    return Diagnosis("rate too low", why, factor=UP)


def _too_many(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    """Look for a metric that is worse for several epochs while the training loss falls.

    A validation loss that rises is no fault by itself; it counts where the metric is far from good.
    """
    best, epochs = curve.best, len(curve.error)
    limit = curve.error[best] + 2 * curve.noise
    worse = sum(error > limit for error in curve.error[best + 1 :]) >= SEVERAL
    lowest = min(range(epochs), key=curve.valid_loss.__getitem__)
    risen = curve.valid_loss[-1] > (1 + WORSE) * curve.valid_loss[lowest]
    fell = curve.train_loss[-1] < (1 - WORSE) * curve.train_loss[best]
    long_ago = epochs - 1 - best >= max(SEVERAL, epochs // 4)
    if not (long_ago and fell and (worse or (risen and curve.is_short(chance)))):
        return None
    why = (
        f"{curve.name} {curve.error[best]:.3f} after {best + 1} epochs and {curve.error[-1]:.3f} "
        f"after {epochs}, while the training loss fell from {curve.train_loss[best]:.3f} to "
        f"{curve.train_loss[-1]:.3f}; validation loss {curve.valid_loss[lowest]:.3f} after "
        f"{lowest + 1}, {curve.valid_loss[-1]:.3f} at the end"
    )
    short = curve.is_short(chance)
    if short:
        why += ". Even the best is short of good: more items, or more varied ones, help more"
    return Diagnosis("too many epochs", why, epochs=best + 1, variety=short)


def _too_few(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    epochs, valid, error = len(curve.error), curve.valid_loss, curve.error
    if epochs == 1:
        falling = curve.is_short(chance)
        why = (
            f"one epoch: training loss {curve.train_loss[0]:.3f}, validation loss {valid[0]:.3f}, "
            f"{_errors(curve)}"
        )
    else:
        better = error[-1] < min(error[:-1]) and error[-1] > curve.noise
        falling = better and valid[-1] < (1 - FALLING) * valid[-2]
        why = (
            f"the validation loss still fell in the last epoch, from {valid[-2]:.3f} to "
            f"{valid[-1]:.3f}; {_errors(curve)}"
        )
    return Diagnosis("too few epochs", why, epochs=max(4, 2 * epochs)) if falling else None


def _nothing_learned(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    if chance is None or not curve.is_near(chance):
        return None
    train, epochs = curve.train_loss, len(curve.error)
    why = f"{_beside_chance(curve, chance)}; {_way('training loss', train)}: "
    if epochs < SEVERAL:
        why += "too few epochs to tell a wrong rate from a slow beginning"
        return Diagnosis("nothing learned", why, epochs=max(4, 2 * epochs))
    if train[-1] < (1 - SLOW) * train[0]:
        why += (
            "what is learned of these items does not hold for others. Look at the items with their "
            "labels; if these are right, the items are too few, or too much alike"
        )
        return Diagnosis("nothing learned", why, variety=True)
    rose = train[-1] > (1 + WORSE) * train[0]
    why += "it rose: the steps are too large" if rose else "it did not move"
    why += ". Look at the items with their labels and at the curve of the learning-rate test"
    return Diagnosis("nothing learned", why, factor=DOWN if rose else UP)


def _more_data(curve: Curve, chance: Chance | None) -> Diagnosis | None:
    valid = curve.valid_loss
    fitted = curve.train_loss[-1] < FITTED * valid[-1]
    falling = len(valid) > 1 and valid[-1] < (1 - STILL) * min(valid[:-1])
    if chance is None or not fitted or falling or not curve.is_short(chance):
        return None
    known = chance.error is not None
    why = (
        f"training loss {curve.train_loss[-1]:.3f} far below the validation loss of "
        f"{curve.valid_loss[-1]:.3f}, and {curve.name} stays at {min(curve.error):.3f}, where "
        + (f"chance is {chance.error:.3f}" if known else f"the loss by chance is {chance.loss:.3f}")
        + ": more items, or more varied ones"
    )
    return Diagnosis("more data", why, variety=True)


def _errors(curve: Curve) -> str:
    return _way(curve.name, curve.error)


def _beside_chance(curve: Curve, chance: Chance) -> str:
    if chance.error is None:
        return f"validation loss {curve.valid_loss[-1]:.4g}, by chance {chance.loss:.4g}"
    return f"{curve.name} {curve.error[-1]:.3f}, by chance {chance.error:.3f}"


def _way(name: str, values: Sequence[float]) -> str:
    """Say how a value went."""
    if len(values) == 1:
        return f"{name} {values[0]:.3f}"
    return f"{name} {values[0]:.3f} to {values[-1]:.3f} in {len(values)} epochs"
