"""Parameters of the fits: epochs, learning rates, one-cycle, metrics."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from thaw.core.errors import UserError
from thaw.params.base import params

# What can be measured during a fit; a task's first one is its default.
TASK_METRICS = {
    "label": (
        "error_rate", "accuracy", "top_k_error_rate", "f1_macro", "coverage",
        "confident_error_rate",
    ),
    "labels": ("accuracy_multi", "mean_average_precision", "f1_macro", "f1_micro"),
    "points": ("mean_distance", "median_distance"),
}  # fmt: skip
METRICS = tuple(dict.fromkeys(name for names in TASK_METRICS.values() for name in names))
Metric = Literal[
    "error_rate", "accuracy", "top_k_error_rate", "f1_macro", "coverage", "confident_error_rate",
    "accuracy_multi", "mean_average_precision", "f1_micro",
    "mean_distance", "median_distance",
]  # fmt: skip
AUTO = "auto"


def check_lr(value: Any) -> Any:
    """Accept a learning rate's spelling: a number, `auto`, or a list of two or three of these."""
    parts = value if isinstance(value, list) else [value]
    if isinstance(value, list) and len(value) not in (2, 3):
        raise ValueError(
            f"{value!r} has {len(value)} entries. Give [first, last], spread over the groups, "
            "or one rate for each of the three groups (early body, late body, head)."
        )
    for part in parts:
        if part == AUTO:
            continue
        if isinstance(part, bool) or not isinstance(part, int | float) or not part > 0:
            raise ValueError(
                f"{part!r} is no learning rate. Give a number above 0 (write 1e-5 or 0.00001, "
                "without quotes), 'auto', or a list of these."
            )
    if isinstance(value, list) and len(value) == 3 and AUTO in value:
        raise ValueError("'auto' goes alone or into [first, last], not into a list of three.")
    return value


def metrics_of(task: str, wanted: Sequence[str], stage: str) -> list[str]:
    """Return the metrics of a fit: those asked for, or else the task's default.

    Raises:
        UserError: metrics that make no sense for the task.
    """
    known = TASK_METRICS[task]
    if odd := [name for name in wanted if name not in known]:
        raise UserError(
            f"{stage}.metrics: {', '.join(odd)} cannot be computed for this recipe's targets "
            f"({task}). Choose among {', '.join(known)}."
        )
    return list(wanted) or [known[0]]


LearningRate = Annotated[Any, PlainValidator(check_lr)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


@params
class OneCycle:
    """Epochs and schedule of a fit, whatever is fitted.

    Attributes:
        epochs: 0 is legal: the model passes through, histories have a header only.
        batch_size: items in a batch; the last one may be smaller, none are dropped.
        weight_decay: decoupled, not on norms and biases.
        pct_start: share of the steps in which the learning rate rises.
        div: the first learning rate is lr / div.
        div_final: the schedule ends at lr / div_final.
        moms: momentum at start, at the largest learning rate, and at the end.
    """

    epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)] = 64
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    pct_start: Share = 0.25
    div: Positive = 25.0
    div_final: Positive = 1e5
    moms: list[Share] = Field(default_factory=lambda: [0.95, 0.85, 0.95])

    def __post_init__(self) -> None:
        """Refuse momentum lists that are not start, middle and end."""
        if len(self.moms) != 3:
            raise ValueError(f"moms {self.moms} must be three numbers: start, middle, end.")


@params
class Fit(OneCycle):
    """One call of fit-one-cycle on images.

    Attributes:
        lr: the largest learning rate: a number for all groups; [first, last] spread
            multiplicatively over the three groups (early body, late body, head); three numbers,
            one for each; or `auto`, the LR test's choice.
        metrics: columns of the history; empty for error_rate, accuracy_multi or
            mean_distance, whichever fits the recipe's targets.
        metric_top_k: a top-k error is an answer not among the k likeliest.
        metric_threshold: an answer is confident, or one of several labels given, when its
            probability is above this.
    """

    lr: LearningRate
    metrics: list[Metric] = Field(default_factory=list)
    metric_top_k: Annotated[int, Field(ge=1)] = 5
    metric_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
