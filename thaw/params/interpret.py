"""Parameters of the `interpret` stage: how much of a model's answers is shown."""

from typing import Annotated

from pydantic import Field

from thaw.params.base import params


@params
class Interpret:
    """How many rows and pictures.

    Attributes:
        at_least: one label: how often a class must be taken for another one to be listed in
            most_confused.csv.
        rows: the most rows of top_losses.csv.
        pictures: the most images on a sheet that is not sorted by class.
        per_class: the most images of each class on the sheets that are.
    """

    at_least: Annotated[int, Field(ge=1)] = 2
    rows: Annotated[int, Field(ge=1)] = 100
    pictures: Annotated[int, Field(ge=1, le=100)] = 24
    per_class: Annotated[int, Field(ge=1, le=20)] = 4
