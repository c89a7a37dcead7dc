"""Parameters of a recipe's `augment:`: what happens to an image on its way to the model."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.params.base import params

Probability = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=8)]


@params
class Augment:
    """Shape of the model's input, and the random changes of training images.

    Defaults are fastai's `aug_transforms` with `min_scale=0.75`.

    Attributes:
        image_side: side of the square input in pixels, or [height, width].
        resize: `crop` cuts the largest window of the input's shape (random place in training,
            centre otherwise); `squish` takes the whole image and lets its aspect ratio go.
        min_scale: smallest share of that window's area that a random crop keeps.
        ratio: the random crop's aspect ratio is log-uniform in [low, high].
        flip, flip_vertical: mirror half of the images.
        rotate: largest angle in degrees.
        zoom: largest magnification.
        warp: largest perspective magnitude.
        p_affine: probability of each of rotation, zoom, and warp along x and y.
        lighting: largest change of brightness and contrast.
        p_lighting: probability of each of them.
        views: cached augmented views of each training image for a frozen body in eval mode;
            epoch e uses view e modulo views. 0 draws a fresh view each epoch, at the price of
            the body's forward pass each time.
    """

    image_side: Side | list[Side]
    resize: Literal["crop", "squish"] = "crop"
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.75
    ratio: list[Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: [1.0, 1.0])
    flip: bool = True
    flip_vertical: bool = False
    rotate: Annotated[float, Field(ge=0, le=180)] = 10.0
    zoom: Annotated[float, Field(ge=1)] = 1.1
    warp: Annotated[float, Field(ge=0, lt=0.5)] = 0.2
    p_affine: Probability = 0.75
    lighting: Annotated[float, Field(ge=0, lt=1)] = 0.2
    p_lighting: Probability = 0.75
    views: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        """Refuse sides and ratios that are not pairs."""
        if isinstance(self.image_side, list) and len(self.image_side) != 2:
            raise ValueError(f"image_side {self.image_side} must be a number or [height, width].")
        if len(self.ratio) != 2 or self.ratio[0] > self.ratio[1]:
            raise ValueError(f"ratio {self.ratio} must be [low, high].")

    @property
    def height_width(self) -> tuple[int, int]:
        """The model's input as (height, width) in pixels."""
        if isinstance(self.image_side, list):
            return self.image_side[0], self.image_side[1]
        return self.image_side, self.image_side
