"""Draw what a model says of an image onto it."""

from pathlib import Path

from PIL import Image, ImageDraw

from thaw.answers import Answer
from thaw.bands import displayable
from thaw.core.files import replacing
from thaw.images import Reader
from thaw.sheets.marks import mark
from thaw.sheets.text import font, wrap

SIDE = 512  # short side of the picture in pixels, at most
NARROWEST = 480  # a smaller one is enlarged, so that there is room for words and points
LINE = 22
MARGIN = 6


def draw_answer(read: Reader, file: Path, said: Answer, picture_file: Path) -> None:
    """Write a PNG: the image with points marked on it, or with the classes below.

    Args:
        read: decodes the image; of more than three channels the first three are shown.
        file: the image.
        said: what the model says of it.
        picture_file: to be written; its folder is made if need be.
    """
    decoded = read(file, SIDE)
    shown, face = Image.fromarray(displayable(decoded.pixels)), font(LINE - 8)
    scale = max(1.0, NARROWEST / shown.width)
    width, height = round(shown.width * scale), round(shown.height * scale)
    parts = [] if said.points else said.text(top=1).split("  ")
    lines = [line for part in parts for line in wrap(part, width - 2 * MARGIN, face)]
    picture = Image.new("RGB", (width, height + LINE * len(lines)), "white")
    picture.paste(shown.resize((width, height), Image.Resampling.LANCZOS), (0, 0))
    pen = ImageDraw.Draw(picture)
    for x, y in said.points:
        mark(pen, x / decoded.source_width * width, y / decoded.source_height * height)
    for number, line in enumerate(lines):
        pen.text((MARGIN, height + 2 + LINE * number), line, fill="black", font=face)
    with replacing(picture_file) as part:
        picture.save(part, "PNG")
