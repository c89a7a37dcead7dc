"""Text on contact sheets: fonts that are the same everywhere, and lines cut to their room."""

import functools
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont
ELLIPSIS = "…"
FACES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")  # regular, bold


@functools.cache
def font(size: int, bold: bool = False) -> Font:
    """Return DejaVu Sans, which comes with Matplotlib and has most alphabets.

    Args:
        size: in pixels.
        bold: or regular.
    """
    # Pillow's own layout: the other one is a library that not every machine has.
    file = _font_file(FACES[bold])
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def drawable(text: str) -> str:
    """Write letters that the font lacks as their code points, such as [U+732B].

    Chinese, Japanese, Korean and emoji would come out as boxes, one like the other. Another font
    of the machine's would draw them, and draw other pictures on every machine.
    """
    known = _letters()
    return "".join(each if each in known else f"[U+{ord(each):04X}]" for each in text)


@functools.cache
def _letters() -> frozenset[str]:
    """The letters that both faces have."""
    regular, bold = (FT2Font(_font_file(name)).get_charmap() for name in FACES)
    return frozenset(map(chr, regular.keys() & bold.keys()))


def _font_file(name: str) -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf", name)


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
    """Break a text at its spaces into drawable lines that fit; a long word within itself."""
    lines: list[str] = []
    words = [part for word in text.split() for part in broken(drawable(word), room, face)]
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def broken(word: str, room: float, face: Font) -> list[str]:
    """Break a word that is longer than its room."""
    parts = [""]
    for letter in word:
        if parts[-1] and face.getlength(parts[-1] + letter) > room:
            parts.append("")
        parts[-1] += letter
    return parts


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
    left, right = drawable(left), drawable(right)
    taken = face.getlength(right + "  ") if right else 0
    pen.text((x, y), cut(left, width - taken, face, front), fill=colour, font=face)
    pen.text((x + width - face.getlength(right), y), right, fill=colour, font=face)
