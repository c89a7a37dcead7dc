"""Draw fields from above in five bands: red, green, blue, near and shortwave infrared.

What grows is seen by two things. Rows wide apart or close show in every band. Lush or ripe shows in
infrared alone: lush leaves reflect near infrared and swallow shortwave infrared, ripe ones do the
opposite, while all greens occur in both.
"""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thaw.samples.canvas import Canvas, Colour, Ints, Mask, Pattern
from thaw.samples.frame import ONE, Frame
from thaw.samples.scene import light

Crop = Literal["barley", "beet", "clover", "maize"]

# Width and height in pixels.
FIELD_SHAPES = ((48, 48), (56, 46), (46, 56))
CLOSE, WIDE = 6, 15  # from row to row, in supersampled pixels
# A level of near and one of shortwave infrared: lowest and highest.
LUSH = ((146, 206), (40, 92))
RIPE = ((64, 124), (104, 170))
SQUARE = [(-1000, -1000), (1000, -1000), (1000, 1000), (-1000, 1000)]


class Kind(NamedTuple):
    """How a crop looks: the distance of its rows, and the levels of infrared."""

    rows: int
    infrared: tuple[tuple[int, int], tuple[int, int]]


CROPS: dict[Crop, Kind] = {
    "barley": Kind(CLOSE, RIPE),
    "beet": Kind(WIDE, LUSH),
    "clover": Kind(CLOSE, LUSH),
    "maize": Kind(WIDE, RIPE),
}
GREENS: tuple[Colour, ...] = (
    (92, 128, 62), (116, 140, 74), (78, 112, 70), (136, 142, 84), (104, 122, 58),
)  # fmt: skip
SOILS: tuple[Colour, ...] = ((126, 104, 80), (142, 122, 98), (108, 92, 78))


class Cover(NamedTuple):
    """What reflects how much, in visible light and, near and shortwave, in infrared."""

    visible: Colour
    infrared: Colour


class Views:
    """One place in two pictures: visible light, and infrared in the first two of three planes."""

    def __init__(self, width: int, height: int, rng: random.Random) -> None:
        self.visible = Canvas(width, height, rng, 0)
        self.infrared = Canvas(width, height, rng, 0)

    def box(
        self, frame: Frame, half_width: int, half_height: int, covers: Sequence[Cover], rows: int
    ) -> None:
        """Paint a field of two covers in turn, row by row, into both pictures."""
        one, other = covers
        for canvas, of in ((self.visible, 0), (self.infrared, 1)):
            canvas.polygon(
                frame, half_width, half_height, SQUARE, one[of], other[of], _rows(rows), flat=False
            )


def _rows(distance: int) -> Pattern:
    def between(x: Ints, y: Ints) -> Mask:
        """Where the ground shows between rows: a third of the way to the next."""
        return np.asarray((x + 1024) % distance * 3 < distance, np.bool_)

    return between


def photograph_field(crop: Crop, rng: random.Random) -> NDArray[np.uint8]:
    """Return a picture of a field among others.

    Args:
        crop: what grows in the middle.
        rng: of this picture alone.

    Returns:
        uint8 [height, width, 5]: red, green, blue, near infrared, shortwave infrared.
    """
    width, height = rng.choice(FIELD_SHAPES)
    views = Views(width, height, rng)
    width, height = views.visible.width, views.visible.height
    degrees = rng.randrange(180)
    for x in (-1, 0, 1):
        for y in (-1, 0, 1):
            kind = CROPS[crop if x == y == 0 else rng.choice(tuple(CROPS))]
            _sow(views, kind, _place(width, height, degrees, x, y), rng)
    exposure = rng.getrandbits(32)
    visible, infrared = (
        light(canvas, random.Random(exposure)) for canvas in (views.visible, views.infrared)
    )
    return np.concatenate([visible, infrared[:, :, :2]], 2)


def _place(width: int, height: int, degrees: int, x: int, y: int) -> Frame:
    """Return the frame of a field, in a grid around the one in the middle."""
    middle = Frame.placed(width // 2, height // 2, ONE, degrees, mirrored=False)
    side = min(width, height)
    return middle.child(x * side * 3 // 4, y * side * 3 // 4)


def _sow(views: Views, kind: Kind, frame: Frame, rng: random.Random) -> None:
    """Paint a field of a kind, of any green, and the path around it."""
    side = min(views.visible.width, views.visible.height)
    near, shortwave = (rng.randint(low, high) for low, high in kind.infrared)
    crop = Cover(rng.choice(GREENS), (near, shortwave, 0))
    soil = Cover(rng.choice(SOILS), (rng.randint(60, 110), rng.randint(90, 140), 0))
    half = side * 3 // 8
    views.box(frame, half, half, (soil, soil), WIDE)
    inner = half - 2
    views.box(frame, inner, inner, (crop, soil), kind.rows)


def band_picture(picture: NDArray[np.uint8], band: str) -> Image.Image:
    """Return what is stored in one file of a picture.

    Args:
        picture: uint8 [height, width, 5].
        band: ``rgb``, ``nir`` or ``swir``.
    """
    match band:
        case "rgb":
            return Image.fromarray(picture[:, :, :3])
        case "nir":
            return Image.fromarray(picture[:, :, 3])
        case _:
            return Image.fromarray(picture[:, :, 4])
