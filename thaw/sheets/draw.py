"""Draw contact sheets: small JPEGs, the same bytes for the same pictures."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from thaw.core.files import replacing
from thaw.images import Pixels
from thaw.sheets.marks import mark
from thaw.sheets.sheet import GREY, INK, Block, Line, Sheet, Tile
from thaw.sheets.text import font, wrap, write_line

LARGEST, SMALLEST = 160, 64  # a tile's longer side in pixels
AREA = 700_000  # pixels of all tiles together, roughly
WIDTH = 1440  # of a sheet with blocks side by side, at most
NARROWEST = 560  # so that there is room for the title
MARGIN, GAP, BLOCK_GAP = 16, 12, 28
BAR = 4
TEXT, LINE = 11, 15
HEADING, TITLE, TITLE_LINE = 26, 18, 24
GROUND, EMPTY = "white", "#f1f1f1"
BYTES = 300_000
# JPEG's quality, and how much coarser colours are than light (0: not), best first.
QUALITIES = ((85, 0), (75, 0), (75, 2), (60, 2), (50, 2))


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels.

    Attributes:
        side: of the square that holds an image.
        columns: tiles side by side in a block.
        abreast: blocks side by side.
        lines: of a caption.
        headed: whether blocks have headings.
    """

    side: int
    columns: int
    abreast: int
    lines: int
    headed: bool

    @property
    def tile_height(self) -> int:
        """From a tile's top to the next one's."""
        return self.side + BAR + 4 + self.lines * LINE + GAP

    @property
    def block_width(self) -> int:
        """Of a block's tiles, without the gap after the last."""
        return self.columns * (self.side + GAP) - GAP

    @property
    def width(self) -> int:
        """Of the sheet, margins included."""
        inner = self.abreast * (self.block_width + BLOCK_GAP) - BLOCK_GAP
        return 2 * MARGIN + max(inner, NARROWEST)

    def block_height(self, block: Block) -> int:
        """Of a block with its heading."""
        rows = math.ceil(len(block.tiles) / self.columns)
        return rows * self.tile_height + (HEADING if self.headed else 0)


def layout_of(sheet: Sheet) -> Layout:
    """Choose sizes such that the sheet stays loadable."""
    tiles = sheet.tiles
    side = int(math.sqrt(AREA / max(len(tiles), 1)))
    side = min(max(side, SMALLEST), LARGEST)
    columns = min(sheet.columns, max((len(block.tiles) for block in sheet.blocks), default=1))
    block_width = columns * (side + GAP) - GAP + BLOCK_GAP
    return Layout(
        side=side,
        columns=max(columns, 1),
        abreast=min(max(WIDTH // block_width, 1), max(len(sheet.blocks), 1)),
        lines=max((len(tile.caption) for tile in tiles), default=0),
        headed=any(block.heading for block in sheet.blocks),
    )


def draw_sheet(sheet: Sheet, image: Callable[[int], Pixels], target: Path) -> None:
    """Write a contact sheet.

    Args:
        sheet: what stands on it.
        image: returns the picture of a row of the predictions, uint8 RGB [height, width, 3].
        target: a JPEG to be written.
    """
    layout = layout_of(sheet)
    notes = wrap(sheet.note, layout.width - 2 * MARGIN, font(TEXT + 1))
    firsts = range(0, len(sheet.blocks), layout.abreast)
    rows = [sheet.blocks[first : first + layout.abreast] for first in firsts]
    heights = [max(layout.block_height(block) for block in row) for row in rows]
    titles = wrap(sheet.title, layout.width - 2 * MARGIN, font(TITLE, bold=True))
    more = (len(titles) - 1) * TITLE_LINE
    top = MARGIN + TITLE + more + 10 + (LINE + 2) * len(notes) + GAP
    picture = Image.new("RGB", (layout.width, top + sum(heights) + MARGIN - GAP // 2), GROUND)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(titles):
        place = (MARGIN, MARGIN - 4 + number * TITLE_LINE)
        pen.text(place, line, fill=INK, font=font(TITLE, bold=True))
    for number, line in enumerate(notes):
        place = (MARGIN, MARGIN + TITLE + more + 8 + number * (LINE + 2))
        pen.text(place, line, fill=GREY, font=font(TEXT + 1))
    for row, height in zip(rows, heights, strict=True):
        for number, block in enumerate(row):
            left = MARGIN + number * (layout.block_width + BLOCK_GAP)
            draw_block(picture, block, (left, top), layout, image)
        top += height
    with replacing(target) as part:
        part.write_bytes(jpeg(picture))


def draw_block(
    picture: Image.Image,
    block: Block,
    place: tuple[int, int],
    layout: Layout,
    image: Callable[[int], Pixels],
) -> None:
    """Draw a block's heading, with a line over it, and its tiles."""
    left, top = place
    pen = ImageDraw.Draw(picture)
    if layout.headed:
        pen.line((left, top, left + layout.block_width, top), fill="#cccccc")
        where, face = (left, top + 5, layout.block_width), font(TEXT + 2, bold=True)
        write_line(pen, where, block.heading, block.note, face, INK)
        top += HEADING
    for number, tile in enumerate(block.tiles):
        row, column = divmod(number, layout.columns)
        corner = left + column * (layout.side + GAP), top + row * layout.tile_height
        draw_tile(picture, tile, corner, layout, image(tile.row))


def draw_tile(
    picture: Image.Image, tile: Tile, place: tuple[int, int], layout: Layout, pixels: Pixels
) -> None:
    """Draw an image in the middle of its square, a bar, and the caption."""
    (left, top), side = place, layout.side
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left, top, left + side - 1, top + side - 1), fill=EMPTY)
    drawn = marked(scaled(pixels, side), tile)
    corner = left + (side - drawn.width) // 2, top + (side - drawn.height) // 2
    picture.paste(drawn, corner)
    pen.rectangle((left, top + side, left + side - 1, top + side + BAR - 1), fill=tile.colour)
    for number, line in enumerate(tile.caption):
        where = left, top + side + BAR + 4 + number * LINE, side
        write_line(pen, where, line.left, line.right, font(TEXT), line.colour, line.cut_front)


def caption_lines(text: str, most: int) -> list[Line]:
    """Break a text into as many lines as it needs at a tile's largest; the last may be cut."""
    lines = wrap(text, LARGEST, font(TEXT))
    return [Line(line) for line in [*lines[: most - 1], " ".join(lines[most - 1 :])] if line]


def scaled(pixels: Pixels, side: int) -> Image.Image:
    """Return an image whose longer side is `side`."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    shape = max(round(width * scale), 1), max(round(height * scale), 1)
    return Image.fromarray(pixels).resize(shape, Image.Resampling.LANCZOS)


def marked(image: Image.Image, tile: Tile) -> Image.Image:
    """Draw the tile's points onto its image, a line through those that belong together."""
    pen = ImageDraw.Draw(image)
    for together in tile.marks:
        places = [(one.x * image.width, one.y * image.height) for one in together]
        pen.line(places, fill="white", width=2)
        for (x, y), one in zip(places, together, strict=True):
            mark(pen, x, y, one.colour, one.colour)
    return image


def jpeg(picture: Image.Image) -> bytes:
    """Encode in the best quality that fits into `BYTES`, else in the lowest."""
    content = b""
    for quality, subsampling in QUALITIES:
        buffer = io.BytesIO()
        # Neither optimized nor progressive: Pillow's buffer for these is too small for noise.
        picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        content = buffer.getvalue()
        if len(content) <= BYTES:
            break
    return content
