"""What stands on a contact sheet: tiles with captions, in blocks with headings."""

from collections.abc import Sequence
from dataclasses import dataclass

INK, GREY, GREEN, RED = "#222222", "#777777", "#1a7f37", "#cf222e"
TARGET, PREDICTION = "#2fd05a", "#ff2d7e"  # of points


@dataclass(frozen=True)
class Line:
    """A line of a caption.

    Attributes:
        left: text that is cut where there is no room for it.
        right: text that never is, at the tile's right edge.
        colour: of both.
        cut_front: whether the beginning is what may go, as of a path.
    """

    left: str
    right: str = ""
    colour: str = INK
    cut_front: bool = False


@dataclass(frozen=True)
class Mark:
    """A point drawn on a tile.

    Attributes:
        x, y: where, as shares of the image's width and height.
        colour: of the point.
    """

    x: float
    y: float
    colour: str


@dataclass(frozen=True)
class Tile:
    """An image with its caption.

    Attributes:
        row: by which whoever draws the sheet is asked for the pixels.
        caption: lines below the image.
        colour: of the bar between image and caption.
        marks: points on the image; those of one tuple, such as a target and its prediction, are
            joined by a line.
    """

    row: int
    caption: list[Line]
    colour: str = GREY
    marks: Sequence[tuple[Mark, ...]] = ()


@dataclass(frozen=True)
class Block:
    """Tiles that belong together.

    Attributes:
        heading: of a class; "" for the only block of a sheet.
        tiles: in reading order.
        note: at the heading's right.
    """

    tiles: list[Tile]
    heading: str = ""
    note: str = ""


def channels_note(channels: int) -> str:
    """Say what a sheet shows of images that are not of three channels; nothing of those that are.

    What it says is what `thaw.bands.displayable` does.
    """
    if channels > 3:
        return f" Of {channels} channels the first three are shown, as red, green and blue."
    return " Of two channels the first is shown, as grey." if channels == 2 else ""


@dataclass(frozen=True)
class Sheet:
    """A contact sheet.

    Attributes:
        title: what it shows.
        note: how to read it.
        blocks: one, or one of each class.
        columns: tiles side by side in a block.
    """

    title: str
    note: str
    blocks: list[Block]
    columns: int = 6

    @property
    def tiles(self) -> list[Tile]:
        """All tiles in order."""
        return [tile for block in self.blocks for tile in block.tiles]
