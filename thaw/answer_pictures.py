"""Draw what a model says of an image onto it."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from thaw.answers import Answer
from thaw.bands import displayable
from thaw.core.files import replacing
from thaw.images import Reader
from thaw.sheets.marks import mark

SIDE = 512  # short side of the picture in pixels, at most
LINE = 22


def draw_answer(read: Reader, file: Path, said: Answer, picture_file: Path) -> None:
    """Write a PNG: the image with points marked on it, or with the classes below.

    Args:
        read: decodes the image; of more than three channels the first three are shown.
        file: the image.
        said: what the model says of it.
        picture_file: to be written; its folder is made if need be.
    """
    decoded = read(file, SIDE)
    height, width = decoded.pixels.shape[:2]
    lines = [] if said.points else said.text(top=1).split("  ")
    picture = Image.new("RGB", (width, height + LINE * len(lines)), "white")
    picture.paste(Image.fromarray(displayable(decoded.pixels)), (0, 0))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=LINE - 8)
    for x, y in said.points:
        mark(pen, x / decoded.source_width * width, y / decoded.source_height * height)
    for number, line in enumerate(lines):
        pen.text((6, height + 2 + LINE * number), line, fill="black", font=font)
    with replacing(picture_file) as part:
        picture.save(part, "PNG")
