"""Draw what is around an animal: a cluttered place, and the light of the photograph."""

import random

import numpy as np
from numpy.typing import NDArray

from thaw.samples.canvas import SUPERSAMPLING, Canvas, Colour, Ints
from thaw.samples.frame import ONE, Frame

# Walls, skies, meadows, floors; some as brown or grey as an animal.
FAR: tuple[Colour, ...] = (
    (150, 186, 214), (196, 206, 212), (206, 190, 166), (122, 150, 118), (168, 140, 150),
    (110, 118, 140), (214, 204, 150), (142, 116, 92),
)  # fmt: skip
NEAR: tuple[Colour, ...] = (
    (104, 142, 70), (146, 120, 84), (176, 160, 136), (126, 126, 122), (196, 178, 128),
    (90, 108, 96), (150, 96, 74), (206, 204, 200),
)  # fmt: skip
THINGS: tuple[Colour, ...] = (
    (186, 60, 56), (60, 104, 168), (232, 196, 70), (70, 132, 80), (150, 98, 60), (90, 86, 92),
    (226, 220, 208), (206, 130, 60), (130, 80, 140), (60, 56, 60),
)  # fmt: skip


def draw_scene(canvas: Canvas, rng: random.Random) -> None:
    """Paint a background over the whole canvas: two grounds, texture, and scattered things."""
    fine = canvas.grain[::SUPERSAMPLING, ::SUPERSAMPLING].astype(np.int32)
    height, width = fine.shape
    horizon = height * rng.randint(25, 75) // 100
    far, near = rng.choice(FAR), rng.choice(NEAR)
    rows = np.arange(height, dtype=np.int32)[:, None]
    columns = np.arange(width, dtype=np.int32)[None, :]
    below = rows > horizon + (columns - width // 2) * rng.randint(-40, 40) // width
    depth = 128 + (rows - horizon) * rng.randint(-20, 30) // height
    shade = depth + _texture(fine, rng) + fine
    grounds = np.array([far, near], np.int32).T[:, :, None, None]
    canvas.cover((np.where(below, grounds[:, 1], grounds[:, 0]) * shade >> 7).astype(np.uint16))
    width, height = canvas.width, canvas.height
    for _ in range(rng.randint(2, 5)):
        draw_thing(canvas, rng, rng.randrange(width), rng.randrange(height), rng.randint(8, 22))


def _texture(fine: Ints, rng: random.Random) -> Ints:
    """Return bricks, weave or blades made of noise: a few 128ths lighter or darker."""
    high, wide = rng.choice(((3, 7), (2, 2), (9, 2), (2, 9), (6, 6)))
    rows, columns = fine.shape
    coarse = fine[: rows // high + 1, : columns // wide + 1]
    coarse = coarse.repeat(high, axis=0).repeat(wide, axis=1)[:rows, :columns]
    return coarse * rng.randint(0, 5) // 4


def draw_foreground(canvas: Canvas, rng: random.Random) -> None:
    """Sometimes put something small in front of the animal, near the lower rim."""
    for _ in range(rng.choice((0, 0, 0, 1))):
        x = rng.randrange(canvas.width)
        draw_thing(canvas, rng, x, canvas.height - rng.randint(0, 14), rng.randint(8, 16))


def draw_thing(canvas: Canvas, rng: random.Random, x: int, y: int, percent: int) -> None:
    """Paint a ball, box, wedge or stick of `percent` of the canvas's height at pixel (x, y)."""
    half = canvas.height * percent // 200
    frame = Frame.placed(x, y, ONE, rng.randint(-30, 30), mirrored=False)
    colour = rng.choice(THINGS)
    other = rng.choice((half, half * 2 // 3, half * 3 // 2))
    match rng.randrange(4):
        case 0:
            canvas.ellipse(frame, half, other, colour, fur=rng.choice((0, 0, 60)))
        case 1:
            square = [(-920, -920), (920, -920), (920, 920), (-920, 920)]
            canvas.polygon(frame, half, other, square, colour, flat=True)
        case 2:
            wedge = [(0, -1000), (1000, 900), (-1000, 900)]
            canvas.polygon(frame, half, other, wedge, colour)
        case _:
            canvas.ellipse(frame, max(half // 6, 2), half * 2, colour)


def light(canvas: Canvas, rng: random.Random) -> NDArray[np.uint8]:
    """Expose the picture: brightness, a cast of colour, contrast, one side brighter.

    Returns:
        The final picture, uint8 RGB [height, width, 3].
    """
    gain = rng.randint(780, 1160)
    pixels = canvas.reduced()
    _, height, width = pixels.shape
    rows = np.arange(height, dtype=np.int32)[:, None] * 2 - height
    columns = np.arange(width, dtype=np.int32)[None, :] * 2 - width
    side = 1024 + rng.randint(-120, 120) * columns // width
    side = side + rng.randint(-120, 120) * rows // height
    contrast, middle = rng.randint(800, 1100), 118
    picture = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        lit = (pixels[channel] * side >> 10) * (gain * rng.randint(93, 107) // 100) >> 10
        picture[:, :, channel] = (((lit - middle) * contrast >> 10) + middle).clip(0, 255)
    return picture
