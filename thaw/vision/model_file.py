"""What lies beside a vision model's weights: all that is needed to build and to feed it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from thaw.core.files import read_json, write_json
from thaw.params.base import params, parse
from thaw.params.training.augment import Augment, Side
from thaw.params.training.model import Model, Precision
from thaw.vision.task import Task


@params
class ModelFile:
    """The content of ``model.json``.

    Attributes:
        task: what the model answers.
        model: its section of the recipe.
        vocab: class names in the order of the outputs; empty for points.
        outputs: how many there are.
        presize: short side in pixels to which images were shrunk before all else.
        image_side: side of the square input in pixels, or [height, width].
        resize: how images come to that shape.
        mean: of each channel of pixels in [0, 1], subtracted from them.
        std: of each channel, divided by.
        device: that the model was trained on.
        precision: that it was trained in.
        bands: endings of an item's files, if it has several (``data.bands``).
        augmented: how training images were changed; None in files that do not say it.
    """

    task: Task
    model: Model
    vocab: list[str]
    outputs: Annotated[int, Field(ge=1)]
    presize: Annotated[int, Field(ge=8)]
    image_side: Side | list[Side]
    resize: Literal["crop", "squish"]
    mean: list[float]
    std: list[float]
    device: str
    precision: Precision
    bands: list[str] = Field(default_factory=list)
    augmented: Augment | None = None

    @property
    def augment(self) -> Augment:
        """How validation sees images."""
        return Augment(image_side=self.image_side, resize=self.resize)


def read_model_file(path: Path) -> ModelFile:
    """Read a ``model.json``.

    Raises:
        UserError: it was written by another version, or by hand.
    """
    return parse(ModelFile, read_json(path), str(path))


def write_model_file(path: Path, content: ModelFile) -> None:
    """Write a ``model.json``; without bands it does not speak of them."""
    values = asdict(content)
    if not content.bands:
        del values["bands"]
    write_json(path, values)
