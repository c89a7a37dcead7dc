"""Turn a recipe's `lr:` into a learning rate per parameter group."""

from pathlib import Path

from thaw.core.errors import UserError
from thaw.core.files import read_json
from thaw.params.training.fit import AUTO, LearningRate
from thaw.training.schedule import group_lrs


def frozen_lrs(lr: LearningRate, suggestion: Path) -> list[float]:
    """Resolve the frozen fit's rates; `auto` is what the LR test chose.

    Raises:
        UserError: `auto`, but the test yielded no rate.
    """
    parts = lr if isinstance(lr, list) else [lr]
    chosen = _chosen(suggestion, "fit_frozen") if AUTO in parts else 0.0
    known = [chosen if part == AUTO else float(part) for part in parts]
    return group_lrs(known if isinstance(lr, list) else known[0])


def one_lr(lr: LearningRate, suggestion: Path) -> float:
    """Resolve the rate of a model of one group; `auto` is what the LR test chose.

    Raises:
        UserError: `auto`, but the test yielded no rate.
    """
    return _chosen(suggestion, "fit") if lr == AUTO else float(lr)


def unfrozen_lrs(lr: LearningRate, suggestion: Path, frozen_metrics: Path) -> list[float]:
    """Resolve the unfrozen fit's rates.

    `auto` alone is [chosen, frozen_lr / 10]; as the first or the last of two entries it is the
    first or the last of these.

    Raises:
        UserError: `auto`, but the test yielded no rate.
    """
    if lr == AUTO:
        lr = [AUTO, AUTO]
    if not isinstance(lr, list) or AUTO not in lr:
        return group_lrs(lr)
    first = _chosen(suggestion, "fit_unfrozen") if lr[0] == AUTO else float(lr[0])
    last = head_lr(frozen_metrics) / 10 if lr[1] == AUTO else float(lr[1])
    return group_lrs([first, last])


def head_lr(frozen_metrics: Path) -> float:
    """Return the learning rate that the frozen fit gave the head."""
    return float(read_json(frozen_metrics)["lr/head"])


def _chosen(suggestion: Path, stage: str) -> float:
    found = read_json(suggestion)
    if found["chosen"] is None:
        raise UserError(
            f"{stage}.lr is 'auto', but {suggestion} has no rate: {found['reason']}. "
            f"Give {stage}.lr a number."
        )
    return float(found["chosen"])
