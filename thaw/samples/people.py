"""The persons of the head pose sample: each has a look, a room, a lamp and a camera."""

from dataclasses import dataclass
from typing import Literal

from thaw.samples.canvas import Colour
from thaw.samples.pose import Camera, Vector

Hair = Literal["bald", "short", "long", "bun", "cap", "beanie"]
Glasses = Literal["none", "clear", "dark"]
Top = Literal["plain", "stripes", "open", "tie"]
Furniture = Literal["window", "shelf", "poster", "globe", "clock", "plant", "door", "portrait"]


@dataclass(frozen=True)
class Item:
    """Something in a room: its middle and height in percent of the picture's."""

    kind: Furniture
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Room:
    """Where a person was recorded: the same in all of the person's pictures."""

    wall: Colour
    lower: Colour
    horizon: int
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Person:
    """One person before one camera.

    Attributes:
        skin, hair_colour, top_colour, second: colours; `second` is a cap's, stripes' or tie's.
        half: half axes of the head in millimetres: width, height, depth.
        lamp: where the light is from, -700..700 to the right and downwards.
        beard: whether there is one.
    """

    skin: Colour
    hair: Hair
    hair_colour: Colour
    glasses: Glasses
    beard: bool
    top: Top
    top_colour: Colour
    second: Colour
    half: Vector
    lamp: tuple[int, int]
    room: Room
    camera: Camera


# The published camera (focal length 517.679 at 640 x 480 pixels) at 96 x 72, and two others.
CAMERA = Camera(77_652, 48_000, 36_075, width=96, height=72)
MOVED = Camera(81_410, 50_600, 34_450, width=96, height=72)
WIDER = Camera(73_935, 45_650, 37_900, width=96, height=72)

PEOPLE: dict[str, Person] = {
    "01": Person(
        (222, 176, 146), "short", (70, 46, 32), "none", False, "plain", (58, 92, 150),
        (224, 222, 214), (78, 112, 94), (-420, -480),
        Room((204, 206, 200), (128, 112, 96), 78, (
            Item("window", 18, 26, 38), Item("plant", 93, 66, 32),
        )), CAMERA,
    ),
    "02": Person(
        (116, 76, 54), "bald", (40, 34, 32), "clear", True, "tie", (226, 226, 230),
        (170, 44, 52), (84, 120, 100), (520, -300),
        Room((150, 126, 104), (96, 70, 54), 66, (
            Item("portrait", 26, 24, 34), Item("globe", 74, 13, 18),
        )), CAMERA,
    ),
    "03": Person(
        (240, 204, 182), "long", (226, 186, 104), "none", False, "open", (176, 66, 104),
        (240, 204, 182), (74, 108, 92), (-100, -620),
        Room((132, 160, 176), (182, 186, 188), 72, (
            Item("clock", 22, 20, 22), Item("poster", 84, 28, 36),
        )), MOVED,
    ),
    "04": Person(
        (198, 144, 106), "cap", (34, 30, 32), "none", True, "stripes", (206, 202, 190),
        (186, 50, 44), (80, 114, 98), (600, -120),
        Room((96, 118, 92), (142, 120, 80), 60, (
            Item("shelf", 40, 16, 20), Item("plant", 8, 58, 36),
        )), CAMERA,
    ),
    "05": Person(
        (150, 102, 74), "bun", (44, 30, 28), "dark", False, "plain", (216, 166, 60),
        (90, 60, 120), (76, 110, 94), (-600, -200),
        Room((214, 186, 150), (120, 84, 70), 82, (
            Item("window", 84, 26, 38), Item("clock", 40, 16, 18),
        )), CAMERA,
    ),
    "06": Person(
        (234, 190, 170), "short", (188, 84, 40), "clear", True, "stripes", (56, 110, 84),
        (222, 214, 190), (86, 118, 100), (200, -560),
        Room((84, 90, 110), (58, 60, 72), 70, (
            Item("door", 12, 46, 64), Item("globe", 64, 14, 18),
        )), WIDER,
    ),
    "07": Person(
        (86, 58, 44), "beanie", (26, 24, 26), "none", False, "open", (110, 112, 120),
        (210, 120, 40), (78, 112, 96), (-300, -300),
        Room((226, 224, 216), (196, 178, 150), 86, (
            Item("portrait", 80, 26, 34), Item("plant", 7, 72, 34),
        )), CAMERA,
    ),
    "08": Person(
        (212, 164, 128), "long", (206, 204, 204), "dark", False, "tie", (44, 44, 54),
        (96, 150, 190), (72, 106, 90), (440, -520),
        Room((176, 122, 108), (112, 92, 108), 64, (
            Item("shelf", 20, 20, 24), Item("clock", 82, 18, 22),
        )), CAMERA,
    ),
}  # fmt: skip
