"""Draw one four-legged animal from what tells its kind."""

import random
from dataclasses import dataclass
from typing import Literal

from thaw.samples.canvas import Canvas, Colour
from thaw.samples.coat import COATS, Coat, CoatName, Part, PatternName, markings, shifted
from thaw.samples.frame import Frame

Ears = Literal["pointed", "tufted", "bat", "round", "floppy", "long"]
Snout = Literal["flat", "short", "long", "broad"]
Tail = Literal["thin", "bushy", "curled", "stub"]
Build = Literal["slim", "stout", "low", "tall", "humped"]

DARK: Colour = (34, 28, 30)
EYES: tuple[Colour, ...] = ((196, 176, 60), (120, 176, 90), (120, 160, 205), (120, 76, 40))


@dataclass(frozen=True)
class Look:
    """What tells one kind of animal from another; its coat's colour tells only in part.

    Attributes:
        coats: the colours that this kind comes in.
    """

    pattern: PatternName
    ears: Ears
    snout: Snout
    tail: Tail
    build: Build
    coats: tuple[CoatName, ...]

    @property
    def shape(self) -> tuple[PatternName, Ears, Snout, Tail, Build]:
        """All but the colours."""
        return self.pattern, self.ears, self.snout, self.tail, self.build


@dataclass(frozen=True)
class Trunk:
    """Proportions of a build, in units: half axes, leg length and half width, head size in %."""

    half_length: int
    half_height: int
    leg: int
    leg_width: int
    head: int


TRUNKS: dict[Build, Trunk] = {
    "slim": Trunk(160, 72, 112, 26, 186),
    "stout": Trunk(172, 124, 80, 46, 194),
    "low": Trunk(232, 92, 50, 38, 182),
    "tall": Trunk(152, 100, 160, 36, 176),
    "humped": Trunk(225, 150, 90, 62, 156),
}


@dataclass(frozen=True)
class _Animal:
    canvas: Canvas
    look: Look
    coat: Coat
    trunk: Trunk
    rng: random.Random

    def part(
        self,
        name: Part,
        frame: Frame,
        half_width: int,
        half_height: int,
        colour: Colour | None = None,
        fur: int = 22,
    ) -> None:
        """Paint a furry ellipse with the pattern that this part bears."""
        pattern = None if colour else markings(self.look.pattern, name, self.rng)
        self.canvas.ellipse(
            frame, half_width, half_height, colour or self.coat.fur, self.coat.marking, pattern, fur
        )

    def dimmed(self) -> "_Animal":
        """The same animal in its own shadow: for the legs on the far side."""
        coat = Coat(*(_times(colour, 72) for colour in self.coat))
        return _Animal(self.canvas, self.look, coat, self.trunk, self.rng)


def draw_creature(canvas: Canvas, frame: Frame, look: Look, rng: random.Random) -> None:
    """Paint an animal that stands facing left in `frame`, about 900 units wide and 800 tall."""
    coat = shifted(COATS[rng.choice(look.coats)], rng)
    animal = _Animal(canvas, look, coat, TRUNKS[look.build], rng)
    trunk = animal.trunk
    ground = trunk.half_height * 7 // 10 + trunk.leg
    frame = frame.child(105, 370 - ground)
    canvas.darken(frame.child(0, ground), trunk.half_length + 130, 55, 450)
    stride = rng.randint(-14, 14)
    _tail(animal, frame)
    _legs(animal.dimmed(), frame, -stride, 34)
    _body(animal, frame)
    _legs(animal, frame, stride, 0)
    neck = frame.child(-trunk.half_length * 8 // 10, -trunk.half_height * 5 // 10)
    _head(animal, neck.child(-45, -150 + rng.randint(-25, 25), rng.randint(-14, 14), trunk.head))


def _body(animal: _Animal, frame: Frame) -> None:
    trunk, coat = animal.trunk, animal.coat
    if animal.look.build == "humped":
        animal.part("body", frame.child(-20, -90), 130, 120)
    animal.part("body", frame, trunk.half_length, trunk.half_height)
    if animal.look.pattern == "bib":
        low = trunk.half_height
        animal.part("chest", frame.child(-30, low * 6 // 10), trunk.half_length * 3 // 4,
                    low * 4 // 10, coat.pale)  # fmt: skip
        animal.part("chest", frame.child(-trunk.half_length * 8 // 10, 0, -20), 75, low * 9 // 10,
                    coat.pale)  # fmt: skip


def _legs(animal: _Animal, frame: Frame, stride: int, inwards: int) -> None:
    trunk, coat = animal.trunk, animal.coat
    paw = coat.pale if animal.look.pattern == "bib" else None
    for side, swing in ((-1, stride), (1, -stride)):
        hip = frame.child(
            side * (trunk.half_length * 7 // 10 - inwards), trunk.half_height * 5 // 10, swing
        )
        half = trunk.leg * 6 // 10
        animal.part("leg", hip.child(0, half), trunk.leg_width, half + 20, fur=12)
        foot = hip.child(-12, trunk.half_height * 2 // 10 + trunk.leg - 18, -swing)
        animal.part("paw", foot, trunk.leg_width + 14, 26, paw, fur=8)


def _tail(animal: _Animal, frame: Frame) -> None:
    trunk, rng = animal.trunk, animal.rng
    root = frame.child(trunk.half_length * 9 // 10, -trunk.half_height * 3 // 10)
    if animal.look.tail == "stub":
        animal.part("tail", root.child(18, -12, -30), 46, 38, fur=40)
    elif animal.look.tail == "bushy":
        animal.part("tail", root.child(95, -65, rng.randint(-60, -30)), 155, 72, fur=60)
    elif animal.look.tail == "thin":
        # A chain of short pieces that bends upwards.
        bend, joint = rng.randint(8, 15), root.child(0, 0, rng.randint(-35, -5))
        for _ in range(6):
            animal.part("tail", joint.child(28, 0), 38, 17, fur=0)
            joint = joint.child(50, 0, -bend)
    else:
        joint = root.child(0, 0, -75)
        for i in range(9):
            animal.part("tail", joint.child(18, 0), 34, 30 - i, fur=10)
            joint = joint.child(36, 0, -38)


def _head(animal: _Animal, head: Frame) -> None:
    """Paint the head, turned a little to the left; it is about 260 units wide."""
    look, coat, rng = animal.look, animal.coat, animal.rng
    _ear(animal, head, far=True)
    hanging = look.ears in ("floppy", "long")
    if not hanging:
        _ear(animal, head, far=False)
    animal.part("head", head, 132, 118)
    muzzle = {"flat": (-62, 30), "short": (-84, 34), "long": (-122, 40), "broad": (-98, 44)}
    half = {"flat": (56, 44), "short": (62, 46), "long": (104, 46), "broad": (92, 72)}
    x, y = muzzle[look.snout]
    width, height = half[look.snout]
    if look.pattern == "bib":
        animal.part("face", head.child(-58, -40, 8), 24, 80, coat.pale, fur=10)
    snout = head.child(x, y, -8 if look.snout == "long" else 0)
    if look.pattern == "points":
        animal.part("face", head.child(-50, 14), 84, 84, coat.marking, fur=40)
        animal.part("face", snout, width, height, fur=10)
    else:
        animal.part("face", snout, width, height, mixed(coat.fur, coat.pale, 55), fur=10)
    nose_x = {"flat": 0, "short": -34, "long": -88, "broad": -62}[look.snout]
    nose_y = {"flat": -26, "short": -18, "long": -18, "broad": -34}[look.snout]
    wide = {"flat": 20, "short": 21, "long": 28, "broad": 34}[look.snout]
    canvas = animal.canvas
    canvas.ellipse(snout.child(nose_x + width // 8, height // 2, -8), width // 2, 7, DARK)
    canvas.ellipse(snout.child(nose_x, nose_y), wide, wide * 3 // 4, DARK)
    iris = EYES[rng.randrange(len(EYES))]
    for eye_x, eye_width in ((-92, 21), (-8, 25)):
        eye = head.child(eye_x, -28)
        canvas.ellipse(eye, eye_width + 7, 34, DARK, flat=True)
        canvas.ellipse(eye, eye_width, 26, iris)
        canvas.ellipse(eye.child(-4, 2), eye_width // 2, 20, DARK, flat=True)
        canvas.ellipse(eye.child(-8, -10), 6, 6, (250, 250, 250), flat=True)
    if hanging:  # over the cheek
        _ear(animal, head, far=False)


def _ear(animal: _Animal, head: Frame, far: bool) -> None:
    """Paint the ear on the side `far` from the viewer (the left) or the near one."""
    look, coat, canvas = animal.look, animal.coat, animal.canvas
    inner = mixed(coat.pale, (226, 140, 130), 60)
    root = head.child(-78 if far else 74, -88, -22 if far else 26)
    if look.ears in ("pointed", "tufted", "bat"):
        width, height = (92, 120) if look.ears == "bat" else (58, 82)
        pattern = markings(look.pattern, "ear", animal.rng)
        triangle = [(0, -1024), (960, 1024), (-960, 1024)]
        up = root.child(0, -height // 2)
        if look.ears == "tufted":
            tuft = [(0, -1024), (300, 1024), (-300, 1024)]
            canvas.polygon(up.child(0, -height - 10), 50, 56, tuft, DARK, flat=True)
        canvas.polygon(up, width, height, triangle, coat.fur, coat.marking, pattern)
        inside = up.child(0, height // 4)
        canvas.polygon(inside, width * 6 // 10, height * 6 // 10, triangle, inner)
    elif look.ears == "round":
        animal.part("ear", root.child(0, -8), 58, 56, fur=10)
        canvas.ellipse(root.child(0, -2), 34, 32, inner)
    else:
        length, width = (128, 54) if look.ears == "long" else (82, 54)
        hang = head.child(-112 if far else 118, -74, 26 if far else -16)
        marked = look.pattern in ("points", "saddle")
        colour = coat.marking if marked else mixed(coat.fur, coat.marking, 35)
        animal.part("ear", hang.child(0, length * 8 // 10), width, length, colour, fur=14)


def mixed(one: Colour, other: Colour, percent: int) -> Colour:
    """Return `percent` of `other` in `one`."""
    r, g, b = (a + (z - a) * percent // 100 for a, z in zip(one, other, strict=True))
    return r, g, b


def _times(colour: Colour, percent: int) -> Colour:
    r, g, b = (value * percent // 100 for value in colour)
    return r, g, b
