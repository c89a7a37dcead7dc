"""The sections that every training stage reads."""

from typing import Annotated

from pydantic import Field

from thaw.params.base import Seed, params
from thaw.params.training.augment import Augment
from thaw.params.training.model import Model, Precision


@params
class TrainingParams:
    """The sections that every training stage reads."""

    seed: Seed
    threads: Annotated[int, Field(ge=1, le=1024)]
    precision: Precision
    model: Model
    augment: Augment

    def __post_init__(self) -> None:
        """Refuse cached views of a body that changes while it is frozen."""
        if self.augment.views and self.model.train_bn:
            raise ValueError(
                f"augment.views is {self.augment.views}, but with model.train_bn: true the "
                "frozen body's batch norms train, so its features cannot be kept. Set "
                "model.train_bn: false, or augment.views: 0."
            )
