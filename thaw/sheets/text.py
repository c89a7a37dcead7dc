"""Text on contact sheets: fonts that are the same everywhere, and lines cut to their room."""

import functools
from pathlib import Path

import matplotlib
from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont
ELLIPSIS = "…"


@functools.cache
def font(size: int, bold: bool = False) -> Font:
    """Return DejaVu Sans, which comes with Matplotlib and has most alphabets.

    Args:
        size: in pixels.
        bold: or regular.
    """
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    # Pillow's own layout: the other one is a library that not every machine has.
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def cut(text: str, room: float, face: Font, front: bool = False) -> str:
    """Shorten a text until it fits, with an ellipsis for what is gone.

    Args:
        text: any.
        room: in pixels.
        face: the font.
        front: take from the beginning instead of the end.
    """
    if face.getlength(text) <= room:
        return text
    for kept in range(len(text) - 1, 0, -1):
        short = ELLIPSIS + text[-kept:] if front else text[:kept].rstrip() + ELLIPSIS
        if face.getlength(short) <= room:
            return short
    return ""


def wrap(text: str, room: float, face: Font) -> list[str]:
    """Break a text at its spaces into lines that fit."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def write_line(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int, int],
    left: str,
    right: str,
    face: Font,
    colour: str,
    front: bool = False,
) -> None:
    """Write a line with a left part, cut if need be, and a right one that stays whole.

    Args:
        pen: of the sheet.
        place: the left edge, the top and the width, in pixels.
        left: text.
        right: text.
        face: the font.
        colour: of both.
        front: whether the left part loses its beginning.
    """
    x, y, width = place
    taken = face.getlength(right + "  ") if right else 0
    pen.text((x, y), cut(left, width - taken, face, front), fill=colour, font=face)
    pen.text((x + width - face.getlength(right), y), right, fill=colour, font=face)
