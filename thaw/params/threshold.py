"""Parameters of the `threshold` stage: when the model's answer is taken."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.params.base import params


@params
class Threshold:
    """How the threshold of probability is chosen, on one half of the held-out items.

    Attributes:
        best: several labels: what is to be largest. `accuracy_multi` is the lessons' choice;
            absent labels dominate it, F1 looks at the labels alone.
        per_class: several labels: one threshold for each class, each with the largest F1 of its
            class, instead of one for all.
        max_error: one label: the threshold is the lowest at which the answers that are not
            withheld are wrong at most this often.
    """

    best: Literal["accuracy_multi", "f1_macro", "f1_micro"] = "accuracy_multi"
    per_class: bool = False
    max_error: Annotated[float, Field(ge=0, le=1)] = 0.05
