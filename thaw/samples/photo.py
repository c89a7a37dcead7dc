"""Take a picture: a scene, one animal or several in it, the light, and the file."""

import io
import random
from collections.abc import Callable, Sequence

from PIL import Image

from thaw.samples.canvas import Canvas
from thaw.samples.frame import ONE, Frame
from thaw.samples.scene import draw_foreground, draw_scene, light

# Width and height in pixels, landscape and portrait.
SHAPES = ((112, 84), (108, 81), (120, 80), (100, 88), (90, 90), (84, 112), (80, 100), (90, 108))
SMALL_SHAPES = ((72, 54), (75, 54), (70, 56), (62, 62), (54, 72), (56, 70))
GROUP_PERCENT = {1: 92, 2: 78, 3: 66}  # of the shorter side, for that many subjects
QUALITY, SMALL_QUALITY = 75, 60

Draw = Callable[[Canvas, Frame, random.Random], None]


def photograph(draw: Draw, rng: random.Random) -> Image.Image:
    """Return a picture of what `draw` paints, at a random place, scale, turn and light.

    Args:
        draw: paints its subject in a frame of about 900 by 800 units.
        rng: of this picture alone, so that no picture depends on another.
    """
    width, height = rng.choice(SHAPES)
    canvas = Canvas(width, height, rng, rng.randint(-100, 100))
    draw_scene(canvas, rng)
    # About as wide as the shorter side and near the middle: a centred square crop keeps the head.
    side = min(canvas.width, canvas.height)
    scale = side * ONE * rng.randint(86, 108) // (100 * 900)
    spare_x = max(canvas.width - 800 * scale // ONE, 0) // 4
    spare_y = max(canvas.height - 700 * scale // ONE, 0) // 4
    frame = Frame.placed(
        canvas.width // 2 + rng.randint(-spare_x, spare_x),
        canvas.height // 2 + rng.randint(-spare_y, spare_y),
        scale,
        rng.randint(-12, 12),
        rng.random() < 0.5,
    )
    draw(canvas, frame, rng)
    draw_foreground(canvas, rng)
    return Image.fromarray(light(canvas, rng))


def photograph_group(draws: Sequence[Draw], rng: random.Random) -> Image.Image:
    """Return a smaller picture of several subjects beside each other, some nearer than others.

    Args:
        draws: the subjects from left to right, each as in `photograph`; none is allowed.
        rng: of this picture alone.
    """
    canvas = Canvas(*rng.choice(SMALL_SHAPES), rng, rng.randint(-100, 100))
    draw_scene(canvas, rng)
    width, height = canvas.width, canvas.height
    places = []
    for i, draw in enumerate(draws):
        near = rng.randint(0, 100)  # the nearer, the larger, and the lower it stands
        x = width * (2 * i + 1) // (2 * len(draws)) + width * rng.randint(-5, 5) // 100
        percent = (GROUP_PERCENT[len(draws)] * (170 + near)) // 220
        ground = height * (70 + near * 26 // 100) // 100
        places.append((near, i, draw, x, ground, percent))
    for _, _, draw, x, ground, percent in sorted(places, key=lambda place: place[:2]):
        scale = min(width, height) * ONE * percent // (100 * 900)
        y = ground - 370 * scale // ONE
        draw(canvas, Frame.placed(x, y, scale, rng.randint(-8, 8), rng.random() < 0.5), rng)
    draw_foreground(canvas, rng)
    return Image.fromarray(light(canvas, rng))


def jpeg(picture: Image.Image, orientation: int = 1, quality: int = QUALITY) -> bytes:
    """Encode as JPEG; with another `orientation` than 1, an EXIF tag tells to turn it."""
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    picture.save(file, "JPEG", quality=quality, exif=exif)
    return file.getvalue()


def png(picture: Image.Image) -> bytes:
    """Encode as PNG, stored: what a compressor makes of it depends on its build."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=0)
    return file.getvalue()
