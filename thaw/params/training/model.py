"""Parameters of a recipe's `model:` and `precision:`."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.params.base import check_range, params

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@params
class Model:
    """An architecture of torchvision with fastai's head on its body.

    Attributes:
        arch: name of a torchvision classification architecture that pools its features.
        channels: of an image, as many as ``data.channels``; other than 3 adapts the first
            convolution.
        hidden: widths of the head's hidden layers.
        dropout: before the last linear layer; half of it before each earlier one.
        train_bn: whether the body's batch norms train and follow the data's statistics, also
            while the body is frozen. False keeps them as they came, in both phases, and lets
            the frozen phase compute the body's features once.
        y_range: end in a sigmoid scaled to [low, high] (regression).
    """

    arch: str
    channels: Annotated[int, Field(ge=1)] = 3
    hidden: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [512])
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    train_bn: bool = True
    y_range: list[float] | None = None

    def __post_init__(self) -> None:
        """Refuse a range without a width."""
        if self.y_range is not None:
            check_range(self.y_range, "y_range")
