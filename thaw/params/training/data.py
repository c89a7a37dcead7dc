"""Parameters of a recipe's `data:`, which `split` and `pack` share."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field

from thaw.params.base import params


@params
class Data:
    """Which of the unpacked files are the recipe's images, and how they are packed.

    Attributes:
        folder: the images' folder inside the archive; "." is the archive's top. Every image
            below it counts, at any depth.
        leave_out: folders below `folder` whose images do not count, such as a test set without
            labels.
        presize: short side of a packed image in pixels: a little more than the training side,
            as augmentation needs a margin. Smaller images keep their size.
        max_bad: largest share of images that may fail to decode before `pack` refuses; they are
            listed in bad.csv. 0 refuses any.
    """

    folder: str = "."
    leave_out: list[str] = Field(default_factory=list)
    presize: Annotated[int, Field(ge=8, le=8192)] = 256
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.01

    def __post_init__(self) -> None:
        """Refuse a folder outside of the archive."""
        path = PurePosixPath(self.folder)
        if path.is_absolute() or ".." in path.parts or "\\" in self.folder:
            raise ValueError(
                f"folder '{self.folder}' must be inside the archive, such as 'bears' or "
                "'oxford-iiit-pet/images', with forward slashes."
            )
