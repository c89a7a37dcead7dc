"""Sheets of images side by side, each with its caption below and points marked on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from thaw.core.files import replacing
from thaw.images import Pixels

SIDE = 160  # of the square that an image is fitted into, in pixels
GAP = 10
ABOVE = 4  # between an image and its caption
FONT, LINE, MOST_LINES = 13, 17, 3
RADIUS = 6
QUALITY = 85


@dataclass(frozen=True)
class Mark:
    """A point on an image.

    Attributes:
        x, y: in [-1, 1] from edge to edge; one beyond the image is not drawn.
        colour: by Pillow's names.
    """

    x: float
    y: float
    colour: str = "red"


@dataclass(frozen=True)
class Tile:
    """An image of a sheet.

    Attributes:
        pixels: uint8 [height, width, 3].
        caption: written below, in as many lines as it needs, three at most.
        marks: points drawn on it.
        colour: of the caption, by Pillow's names.
    """

    pixels: Pixels
    caption: str
    marks: Sequence[Mark] = ()
    colour: str = "black"


def draw_sheet(tiles: Sequence[Tile], columns: int, side: int = SIDE) -> Image.Image:
    """Draw tiles row by row.

    Args:
        tiles: one at least.
        columns: tiles a row; fewer if there are fewer tiles.
        side: of the square that each image is fitted into, in pixels.
    """
    font = caption_font()
    columns = min(columns, len(tiles))
    rows = [
        draw_row(tiles[first : first + columns], columns, side, font)
        for first in range(0, len(tiles), columns)
    ]
    sheet = Image.new("RGB", (rows[0].width, GAP + sum(row.height for row in rows)), "white")
    top = GAP
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def draw_row(
    tiles: Sequence[Tile], columns: int, side: int, font: ImageFont.FreeTypeFont
) -> Image.Image:
    """Draw a row, as high as its tallest image and its longest caption."""
    images = [fitted(tile, side) for tile in tiles]
    captions = [list(wrapped(tile.caption, font, side)) for tile in tiles]
    tallest = max(image.height for image in images)
    height = tallest + ABOVE + LINE * max(map(len, captions)) + GAP
    row = Image.new("RGB", (GAP + columns * (side + GAP), height), "white")
    pen = ImageDraw.Draw(row)
    for column, (tile, image, lines) in enumerate(zip(tiles, images, captions, strict=True)):
        middle = GAP + column * (side + GAP) + side // 2
        row.paste(image, (middle - image.width // 2, tallest - image.height))
        for place, line in enumerate(lines):
            at = (middle, tallest + ABOVE + LINE * place)
            pen.text(at, line, fill=tile.colour, font=font, anchor="ma")
    return row


def write_sheet(file: Path, tiles: Sequence[Tile], columns: int, side: int = SIDE) -> None:
    """Write a sheet as JPEG, the same bytes for the same tiles."""
    sheet = draw_sheet(tiles, columns, side)
    with replacing(file) as part:
        sheet.save(part, "JPEG", quality=QUALITY, subsampling=0)  # else coloured marks blur


def fitted(tile: Tile, side: int) -> Image.Image:
    """Scale a tile's image to fit into a square, and mark its points."""
    image = ImageOps.contain(Image.fromarray(tile.pixels), (side, side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for point in tile.marks:
        if max(abs(point.x), abs(point.y)) <= 1:
            x, y = (point.x + 1) / 2 * image.width, (point.y + 1) / 2 * image.height
            mark(pen, x, y, point.colour)
    return image


def mark(pen: ImageDraw.ImageDraw, x: float, y: float, colour: str = "red") -> None:
    """Draw a ring with a dot, dark on light, so that it shows on any ground."""
    for radius, ring, width in ((RADIUS + 1, "black", 4), (RADIUS, "white", 2)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ring, width=width)
    pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour, outline="white")


def caption_font() -> ImageFont.FreeTypeFont:
    """Load matplotlib's DejaVu Sans; Pillow's own font has no letter beyond ASCII."""
    import matplotlib

    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(file), FONT, layout_engine=ImageFont.Layout.BASIC)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """Break a text into lines of a width in pixels; what is too long loses its middle."""
    words, lines = text.split(), 1
    while words:
        count = next(
            (n for n in range(len(words), 1, -1) if font.getlength(" ".join(words[:n])) <= width), 1
        )
        if lines == MOST_LINES:
            count = len(words)
        yield shortened(" ".join(words[:count]), font, width)
        words, lines = words[count:], lines + 1


def shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Leave out as much of a text's middle as does not fit into a width in pixels."""
    kept = len(text)
    while font.getlength(text) > width:
        kept -= 1
        head = kept // 2
        text = f"{text[:head]}…{text[len(text) - (kept - head) :]}"
    return text
