"""The sections that both training stages of ratings read."""

from typing import Annotated

from pydantic import Field

from thaw.params.base import Seed, params
from thaw.params.ratings_model import RatingsModel
from thaw.params.training.model import Precision


@params
class RatingsParams:
    """The sections that both training stages of ratings read."""

    seed: Seed
    threads: Annotated[int, Field(ge=1, le=1024)]
    precision: Precision
    model: RatingsModel
