"""Draw a ball, a car or a tree, and whatever else a picture may show."""

import random
from typing import Literal

import numpy as np

from thaw.samples.canvas import Canvas, Colour, Ints, Mask
from thaw.samples.creature import DARK, Look, draw_creature, mixed
from thaw.samples.frame import Frame
from thaw.samples.teddy import draw_teddy

Thing = Literal["ball", "car", "nothing", "teddy", "tree"]
Subject = Look | Thing

PAINTS: tuple[Colour, ...] = (
    (196, 54, 50), (54, 98, 172), (232, 188, 60), (70, 142, 92), (226, 226, 222), (74, 78, 90),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = ((74, 128, 62), (104, 150, 66), (52, 98, 74), (206, 140, 58))
BARK: Colour = (104, 74, 52)
GLASS: Colour = (176, 208, 224)
WHITE: Colour = (244, 242, 236)


def draw_subject(canvas: Canvas, frame: Frame, subject: Subject, rng: random.Random) -> None:
    """Paint an animal or a thing in `frame`, at most about 900 units wide and 800 tall.

    All stand about 370 units below the frame's origin.
    """
    match subject:
        case "ball":
            _ball(canvas, frame, rng)
        case "car":
            _car(canvas, frame, rng)
        case "teddy":
            draw_teddy(canvas, frame, rng)
        case "tree":
            _tree(canvas, frame, rng)
        case "nothing":
            pass
        case Look():
            draw_creature(canvas, frame, subject, rng)


def _ball(canvas: Canvas, frame: Frame, rng: random.Random) -> None:
    """Paint a beach ball: white panels between coloured ones."""
    canvas.darken(frame.child(0, 360), 290, 60, 450)
    ball = frame.child(0, 110, rng.randrange(360))
    canvas.ellipse(ball, 265, 265, rng.choice(PAINTS[:4]), WHITE, _panels)
    canvas.ellipse(ball, 42, 42, WHITE)


def _panels(x: Ints, y: Ints) -> Mask:
    """Six sectors, every other one."""
    return np.asarray((y > 0) ^ (2 * y > 3 * x) ^ (2 * y > -3 * x), np.bool_)


def _car(canvas: Canvas, frame: Frame, rng: random.Random) -> None:
    """Paint a car from its side."""
    paint = rng.choice(PAINTS)
    canvas.darken(frame.child(0, 360), 440, 60, 500)
    roof = [(-560, -1000), (420, -1000), (1000, 1000), (-1000, 1000)]
    canvas.polygon(frame.child(20, 10), 270, 130, roof, paint)
    canvas.polygon(frame.child(20, 25), 225, 95, roof, GLASS)
    canvas.ellipse(frame.child(10, 20), 16, 120, paint, flat=True)
    body = [(-940, -700), (700, -1000), (1000, -300), (1000, 1000), (-1000, 1000)]
    canvas.polygon(frame.child(0, 215), 425, 105, body, paint)
    canvas.ellipse(frame.child(-400, 195), 26, 30, (250, 232, 160))
    canvas.ellipse(frame.child(408, 195), 18, 30, (196, 40, 40))
    for side in (-1, 1):
        wheel = frame.child(side * 250, 290)
        canvas.ellipse(wheel, 92, 92, DARK)
        canvas.ellipse(wheel, 44, 44, (172, 174, 180))


def _tree(canvas: Canvas, frame: Frame, rng: random.Random) -> None:
    """Paint a tree with a round crown, or a fir."""
    green = rng.choice(LEAVES)
    canvas.darken(frame.child(0, 365), 260, 50, 400)
    canvas.polygon(frame.child(0, 200), 46, 185, _SQUARE, BARK)
    if rng.random() < 0.4:
        triangle = [(0, -1024), (1000, 1000), (-1000, 1000)]
        for step in range(3):
            layer = frame.child(0, 80 - step * 170)
            canvas.polygon(
                layer, 260 - step * 55, 150, triangle, mixed(green, DARK, 24 - step * 12)
            )
        return
    for _ in range(7):
        leaves = frame.child(rng.randint(-150, 150), rng.randint(-250, 10))
        colour = mixed(green, rng.choice((DARK, WHITE)), rng.randint(0, 22))
        canvas.ellipse(leaves, 150, 135, colour, fur=70)


_SQUARE = [(-1000, -1000), (1000, -1000), (1000, 1000), (-1000, 1000)]
