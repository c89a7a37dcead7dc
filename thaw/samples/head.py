"""Draw a person's head and shoulders at a known pose, as the person's camera sees them."""

import random
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image

from thaw.samples.canvas import SUPERSAMPLING, Canvas, Colour, Ints, Mask
from thaw.samples.creature import DARK, mixed
from thaw.samples.ellipsoid import Ellipsoid, Region, lamp_from, paint_ellipsoid, scaled
from thaw.samples.frame import ONE
from thaw.samples.people import Person
from thaw.samples.pose import TURN, Pose, Vector
from thaw.samples.room import draw_room
from thaw.samples.scene import light

PARTS = ("room", "shoulders", "head", "rest")
FINER = 2  # a head is small: its canvas is so many times larger still
LIPS: Colour = (176, 84, 80)
EYE_WHITE: Colour = (240, 238, 234)
_UPRIGHT = (TURN, 0, 0), (0, TURN, 0), (0, 0, TURN)


def photograph_head(
    person: Person, pose: Pose, rng: random.Random, exposure: random.Random,
    parts: Collection[str] = PARTS,
) -> Image.Image:  # fmt: skip
    """Return the picture that a person's camera takes.

    The middle of the head's ellipsoid is drawn where the camera projects the pose's centre.

    Args:
        person: who, where.
        pose: of the head.
        rng: of this picture alone: the grain.
        exposure: what all pictures of this person have in common.
        parts: of `PARTS`: what is painted; "rest" is all of a head but its ellipsoid.
    """
    camera = person.camera
    canvas = Canvas(camera.width * FINER, camera.height * FINER, rng, person.lamp[0] // 8)
    if "room" in parts:
        draw_room(canvas, person.room)
    u, v = camera.project(pose.centre)
    fine = SUPERSAMPLING * FINER
    scale = camera.focal * ONE * fine // pose.centre[2]
    head = Ellipsoid(u * fine, v * fine, scale, person.half, pose.rotation())
    painter = _Painter(canvas, person, head)
    if "shoulders" in parts:
        painter.shoulders()
    if "rest" in parts:
        painter.behind()
    if "head" in parts:
        painter.face()
    if "rest" in parts:
        painter.before()
    picture = light(canvas, exposure).astype(np.int32)
    blocks = picture.reshape(camera.height, FINER, camera.width, FINER, 3)
    return Image.fromarray((blocks.sum((1, 3)) // FINER**2).astype(np.uint8))


@dataclass(frozen=True)
class _Painter:
    canvas: Canvas
    person: Person
    head: Ellipsoid

    @property
    def lamp(self) -> Vector:
        return lamp_from(*self.person.lamp)

    def solid(self, middle: Vector, half: Vector, colour: Colour) -> None:
        """Paint an ellipsoid fixed to the head, in millimetres of the head's axes."""
        paint_ellipsoid(self.canvas, self.head.child(middle, half), colour, self.lamp)

    def shoulders(self) -> None:
        """Paint neck and trunk, upright whichever way the head is turned."""
        person, head = self.person, self.head
        upright = Ellipsoid(head.x, head.y, head.scale, head.half, _UPRIGHT)
        tall = person.half[1]
        if person.hair == "long":
            mane = upright.child((0, tall // 2, 30), (person.half[0] + 22, tall + 30, 60))
            paint_ellipsoid(self.canvas, mane, mixed(person.hair_colour, DARK, 20), self.lamp)
        top: dict[str, list[tuple[Region, Colour]]] = {
            "plain": [],
            "stripes": [(_stripes, person.second)],
            "open": [(_collar, person.skin)],
            "tie": [(_tie, person.second)],
        }
        colours = top[person.top]
        neck = upright.child((0, tall, 10), (50, 80, 50))
        paint_ellipsoid(self.canvas, neck, mixed(person.skin, DARK, 22), self.lamp)
        middle = (0, tall + 235, 30)
        chest = upright.child(middle, (205, 200, 110))
        paint_ellipsoid(self.canvas, chest, person.top_colour, self.lamp, colours)
        belly = upright.child(middle, (205, 1600, 110))  # as good as a cylinder, from there down
        paint_ellipsoid(self.canvas, belly, person.top_colour, self.lamp, colours, only=_lower)

    def behind(self) -> None:
        """Paint what the head hides: the far ear, a bun."""
        _, tall, deep = self.person.half
        if self.person.hair == "bun":
            self.solid((0, -tall, deep // 2), (40, 38, 40), self.person.hair_colour)
        self._ears(far=True)

    def face(self) -> None:
        """Paint the ellipsoid itself with the face on it."""
        person = self.person
        pale, dark = mixed(person.skin, EYE_WHITE, 14), mixed(person.skin, DARK, 45)
        regions: list[tuple[Region, Colour]] = [(_cheeks, pale)]
        if person.beard:
            regions.append((_beard, person.hair_colour))
        regions.append((_mouth, mixed(LIPS, person.skin, 30)))
        brows = person.hair_colour if person.hair != "bald" else dark
        regions += [(_sockets, dark), (_brows, brows)]
        regions += [(_eyes, EYE_WHITE), (_irises, DARK)]
        paint_ellipsoid(self.canvas, self.head, person.skin, self.lamp, regions)

    def before(self) -> None:
        """Paint what sticks out of the head towards the camera: hair, near ear, glasses, nose."""
        person, head = self.person, self.head
        _, tall, deep = person.half
        if person.hair in ("cap", "beanie"):
            self._over(110, person.hair_colour, _nape)
            self._over(114, person.second, _crown)
        elif person.hair != "bald":
            self._over(110, person.hair_colour, _long if person.hair == "long" else _short)
        self._ears(far=False)
        if person.glasses != "none":
            rims = _rims if person.glasses == "clear" else _lenses
            self._over(104, (24, 22, 28), rims)
        self.solid((0, tall // 6, -deep), (13, 24, 22), mixed(person.skin, EYE_WHITE, 10))
        if person.hair == "cap":
            self.solid((0, -tall * 6 // 10, -deep - 25), (62, 10, 62), person.second)
        if person.hair == "beanie":
            paint_ellipsoid(self.canvas, scaled(head, 117), mixed(person.second, DARK, 30),
                            self.lamp, only=_hem)  # fmt: skip

    def _ears(self, far: bool) -> None:
        wide, _, _ = self.person.half
        for side in (-1, 1):
            middle = (side * wide, 4, 6)
            if (self.head.depth(middle) > 8) == far:
                self.solid(middle, (9, 24, 15), mixed(self.person.skin, LIPS, 20))

    def _over(self, percent: int, colour: Colour, where: Region) -> None:
        paint_ellipsoid(self.canvas, scaled(self.head, percent), colour, self.lamp, only=where)


# Regions of a head's surface: x to its left in the picture when it looks at the camera, y down,
# z backwards; 1024 from its middle to its surface.


def _within(x: Ints, y: Ints, half_width: int, half_height: int) -> Mask:
    far = (x * 1024 // half_width) ** 2 + (y * 1024 // half_height) ** 2
    return np.asarray(far <= 1024 * 1024, np.bool_)


def _eye(x: Ints, y: Ints, z: Ints, half_width: int, half_height: int) -> Mask:
    return _within(np.abs(x) - 380, y + 60, half_width, half_height) & (z < 0)


def _eyes(x: Ints, y: Ints, z: Ints) -> Mask:
    return _eye(x, y, z, 165, 95)


def _irises(x: Ints, y: Ints, z: Ints) -> Mask:
    return _eye(x, y, z, 85, 95)


def _sockets(x: Ints, y: Ints, z: Ints) -> Mask:
    return _eye(x, y, z, 200, 130)


def _lenses(x: Ints, y: Ints, z: Ints) -> Mask:
    bridge = (np.abs(x) < 380) & (np.abs(y + 90) < 45)
    return _eye(x, y, z, 280, 230) | ((bridge | _temple(x, y, z)) & (z < 200))


def _rims(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray(_lenses(x, y, z) & ~_eye(x, y, z, 190, 150), np.bool_)


def _temple(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray((np.abs(y + 90) < 40) & (np.abs(x) > 600), np.bool_)


def _brows(x: Ints, y: Ints, z: Ints) -> Mask:
    return _within(np.abs(x) - 380, y + 245, 210, 50) & (z < 0)


def _mouth(x: Ints, y: Ints, z: Ints) -> Mask:
    return _within(x, y - 590, 290, 75) & (z < 0)


def _cheeks(x: Ints, y: Ints, z: Ints) -> Mask:
    return _within(np.abs(x) - 420, y - 260, 230, 200) & (z < 0)


def _beard(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray((y > 330 + np.abs(x) // 8) & (z < 150), np.bool_) & ~_mouth(x, y, z)


def _short(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray((z * 9 - y * 12 > 3800) & (y < 420), np.bool_)


def _long(x: Ints, y: Ints, z: Ints) -> Mask:
    curtain = (np.abs(x) > 760) & (z > -560)
    return np.asarray((z * 9 - y * 12 > 4600) | curtain, np.bool_)


def _nape(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray((z > 250) & (y < 420), np.bool_)


def _crown(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray(z - y * 4 > 1300, np.bool_)


def _hem(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray((z - y * 4 > 1000) & (z - y * 4 < 1900), np.bool_)


# Regions of a trunk; its lower part is eight times as tall as its upper one.


def _lower(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray(y >= 0, np.bool_)


def _stripes(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray(np.where(y > 0, y * 8, y) % 260 < 110, np.bool_)


def _collar(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray(np.abs(x) * 2 < -y - 440, np.bool_)


def _tie(x: Ints, y: Ints, z: Ints) -> Mask:
    return np.asarray((np.abs(x) < 90) | (np.abs(x) * 2 < -y - 700), np.bool_)
