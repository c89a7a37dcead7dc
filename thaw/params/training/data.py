"""Parameters of a recipe's `data:`, which `split` and `pack` share."""

from itertools import permutations
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
        channels: of an item: 3 is RGB, whatever a file holds. Any other number is what the item's
            file must hold, or its files together: a grey one has one channel, a colour one three,
            pages and samples of a TIFF count one by one. ``model.channels`` must be the same.
        bands: endings of the several files of an item, such as ``[_B4.tif, _B3.tif, _B8.tif]``:
            each takes the place of the first, which names the item. Empty: one file an item.
        max_bad: largest share of images that may fail to decode before `pack` refuses; they are
            listed in bad.csv. 0 refuses any.
    """

    folder: str = "."
    leave_out: list[str] = Field(default_factory=list)
    presize: Annotated[int, Field(ge=8, le=8192)] = 256
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.01
    channels: Annotated[int, Field(ge=1, le=1024)] = 3
    bands: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a folder outside of the archive, and endings that do not tell bands apart."""
        path = PurePosixPath(self.folder)
        if path.is_absolute() or ".." in path.parts or "\\" in self.folder:
            raise ValueError(
                f"folder '{self.folder}' must be inside the archive, such as 'bears' or "
                "'oxford-iiit-pet/images', with forward slashes."
            )
        if odd := [band for band in self.bands if "/" in band or "\\" in band]:
            raise ValueError(f"bands: '{odd[0]}' must be the ending of a file's name, no path.")
        for one, other in permutations(self.bands, 2):
            if one.endswith(other):
                raise ValueError(
                    f"bands: a name that ends in '{one}' ends in '{other}' as well. Make them "
                    "longer, so that each file is of one band."
                )
