"""Parameters of a model of ratings, and of its fit."""

from typing import Annotated, Any

from pydantic import Field, PlainValidator

from thaw.params.base import check_range, params
from thaw.params.training.fit import AUTO, OneCycle, check_lr


@params
class RatingsModel:
    """What a user gives an item: the lessons' steps from a dot product to a neural net.

    Attributes:
        factors: numbers learned about each user and each item; null (with `hidden` only):
            as many as fastai takes, by the number of users and of items.
        bias: whether each user and each item has a bias as well.
        y_range: end in a sigmoid scaled to [low, high], a little wider than the ratings; null:
            no sigmoid.
        hidden: widths of hidden layers on the factors side by side; none: their dot product.
        init_std: standard deviation of the initial factors and biases.
    """

    factors: Annotated[int, Field(ge=1)] | None = 50
    bias: bool = True
    y_range: list[float] | None = Field(default_factory=lambda: [0.0, 5.5])
    hidden: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    init_std: Annotated[float, Field(gt=0)] = 0.01

    def __post_init__(self) -> None:
        """Refuse a range without a width, and a dot product of vectors of different lengths."""
        if self.y_range is not None:
            check_range(self.y_range, "y_range")
        if self.factors is None and not self.hidden:
            raise ValueError("factors: null goes with hidden layers only. Give a number.")


def check_one_lr(value: Any) -> Any:
    """Accept a number above 0 or `auto`."""
    if isinstance(value, list):
        raise ValueError(
            f"{value!r} is a list, but this model has one parameter group. Give one number, or "
            f"'{AUTO}'."
        )
    return check_lr(value)


@params
class RatingsFit(OneCycle):
    """One call of fit-one-cycle on ratings.

    Attributes:
        lr: the largest learning rate: a number, or `auto`, the LR test's choice.
        weight_decay: decoupled; factors and the biases of users and items decay, as in the
            lessons, norms and biases of hidden layers do not.
    """

    lr: Annotated[Any, PlainValidator(check_one_lr)]
