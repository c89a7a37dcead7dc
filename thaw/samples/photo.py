"""Take a picture: a scene, one animal in it somewhere, the light, and the file."""

import io
import random
from collections.abc import Callable

from PIL import Image

from thaw.samples.canvas import Canvas
from thaw.samples.frame import ONE, Frame
from thaw.samples.scene import draw_foreground, draw_scene, light

# Width and height in pixels, landscape and portrait.
SHAPES = ((112, 84), (108, 81), (120, 80), (100, 88), (90, 90), (84, 112), (80, 100), (90, 108))
QUALITY = 75

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


def jpeg(picture: Image.Image, orientation: int = 1) -> bytes:
    """Encode as JPEG; with another `orientation` than 1, an EXIF tag tells to turn it."""
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    picture.save(file, "JPEG", quality=QUALITY, exif=exif)
    return file.getvalue()


def png(picture: Image.Image) -> bytes:
    """Encode as PNG, stored: what a compressor makes of it depends on its build."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=0)
    return file.getvalue()
