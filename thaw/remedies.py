"""What to change of a recipe where neither more epochs nor another learning rate would help.

In the order in which fast.ai's lessons advise it against overfitting: more data, more augmentation,
then more regularisation. Images are augmented first, as that leaves the held-out items what they
are; ratings cannot be, and more of them to train on do more than a larger weight decay.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from thaw.params.split import FoldsSplit, RandomSplit, SplitRule, TimeSplit

FROZEN = "fit_frozen"  # the fit that may work on cached views
# Shares of the image that a random crop keeps, the lessons' own: 0.75 by default, 0.5 of the bears,
# 0.35 of pascal.
MIN_SCALES = (0.5, 0.35)
# What to try where less is set: twice the lessons' defaults. Points move with the image.
STRONGER = {"rotate": 20.0, "lighting": 0.4}
WEIGHT_DECAY = 0.1  # the lessons' of ratings
HELD_OUT = 0.1  # a smaller share would hardly train on more, and measure worse
FOLDS = 10


class Remedy(NamedTuple):
    """A parameter of a recipe, by its path below the recipe, and what to try."""

    parameter: str
    value: Any


def more_variety(
    model: Mapping[str, Any], by: SplitRule, fit: str, epochs: int, items: int
) -> Remedy:
    """Choose what makes a model learn from more, or else ask for more items.

    Args:
        model: the content of ``model.json``.
        by: what is held out, and how much.
        fit: the fit's name.
        epochs: that it had.
        items: that it was trained on.
    """
    if model["task"] == "ratings":
        found = hold_out_less(by) or _decay(model, fit)
    else:
        found = _augment(model, fit, epochs) or hold_out_less(by)
    return found or Remedy("download.url", f"an archive with {2 * items:,} items to train on")


def hold_out_less(by: SplitRule) -> Remedy | None:
    """Halve the share that is held out, if it is one; a tenth stays."""
    if isinstance(by, RandomSplit | TimeSplit) and by.valid > HELD_OUT:
        return Remedy("split.by.valid", max(HELD_OUT, round(by.valid / 2, 3)))
    if isinstance(by, FoldsSplit) and by.folds < FOLDS:
        return Remedy("split.by.folds", min(FOLDS, 2 * by.folds))
    return None


def _decay(model: Mapping[str, Any], fit: str) -> Remedy | None:
    less = model.get("weight_decay", WEIGHT_DECAY) < WEIGHT_DECAY
    return Remedy(f"{fit}.weight_decay", WEIGHT_DECAY) if less else None


def _augment(model: Mapping[str, Any], fit: str, epochs: int) -> Remedy | None:
    augment = model.get("augmented")
    if augment is None:
        return None
    if fit == FROZEN and 0 < augment["views"] < epochs:
        return Remedy("augment.views", epochs)  # a view of its own for each epoch
    # Smaller crops lose points.
    scales = () if model["task"] == "points" else MIN_SCALES
    if smaller := [scale for scale in scales if scale < augment["min_scale"]]:
        return Remedy("augment.min_scale", smaller[0])
    weaker = [Remedy(f"augment.{name}", v) for name, v in STRONGER.items() if augment[name] < v]
    return weaker[0] if weaker else None
