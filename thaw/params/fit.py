"""Parameters of the fits: epochs, learning rates, one-cycle, metrics."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from thaw.params.base import params

METRICS = (
    "error_rate", "accuracy", "top_k_error_rate", "f1_macro", "coverage", "confident_error_rate",
)  # fmt: skip
Metric = Literal[
    "error_rate", "accuracy", "top_k_error_rate", "f1_macro", "coverage", "confident_error_rate"
]
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


def default_metrics() -> list[Metric]:
    """Return what the lessons print."""
    return ["error_rate"]


LearningRate = Annotated[Any, PlainValidator(check_lr)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


@params
class Fit:
    """One call of fit-one-cycle.

    Attributes:
        epochs: 0 is legal: the model passes through, histories have a header only.
        lr: the largest learning rate: a number for all groups; [first, last] spread
            multiplicatively over the three groups (early body, late body, head); three numbers,
            one for each; or `auto`, the LR test's choice.
        batch_size: items in a batch; the last one may be smaller, none are dropped.
        weight_decay: decoupled, not on norms and biases.
        pct_start: share of the steps in which the learning rate rises.
        div: the first learning rate is lr / div.
        div_final: the schedule ends at lr / div_final.
        moms: momentum at start, at the largest learning rate, and at the end.
        metrics: columns of the history, the first one leads.
        metric_top_k: a top-k error is an answer not among the k likeliest.
        metric_threshold: an answer is confident when its probability is above this.
    """

    epochs: Annotated[int, Field(ge=0)]
    lr: LearningRate
    batch_size: Annotated[int, Field(ge=2)] = 64
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    pct_start: Share = 0.25
    div: Positive = 25.0
    div_final: Positive = 1e5
    moms: list[Share] = Field(default_factory=lambda: [0.95, 0.85, 0.95])
    metrics: list[Metric] = Field(default_factory=default_metrics, min_length=1)
    metric_top_k: Annotated[int, Field(ge=1)] = 5
    metric_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        """Refuse momentum lists that are not start, middle and end."""
        if len(self.moms) != 3:
            raise ValueError(f"moms {self.moms} must be three numbers: start, middle, end.")
