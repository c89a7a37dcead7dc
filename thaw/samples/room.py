"""Draw a person's room: what the camera sees when nobody is there."""

from collections.abc import Callable

import numpy as np

from thaw.samples.canvas import Canvas, Colour
from thaw.samples.creature import DARK, mixed
from thaw.samples.frame import ONE, Frame
from thaw.samples.people import Furniture, Item, Room

_SQUARE = [(-1000, -1000), (1000, -1000), (1000, 1000), (-1000, 1000)]
_WHITE: Colour = (244, 242, 234)
_SPINES: tuple[Colour, ...] = (
    (166, 60, 52), (58, 92, 138), (206, 176, 92), (70, 116, 84), (120, 78, 110), (206, 200, 186),
)  # fmt: skip


def draw_room(canvas: Canvas, room: Room) -> None:
    """Paint wall, panelling and furniture over the whole canvas; only the grain is by chance."""
    rows = np.arange(canvas.height, dtype=np.int32)[:, None]
    edge = canvas.height * room.horizon // 100
    columns = np.arange(canvas.width, dtype=np.int32)[None, :]
    side = columns * 2 - canvas.width
    shade = 132 + side * canvas.light // (canvas.width * 8) - rows * 16 // canvas.height
    shade = shade + canvas.grain // 2
    colours = np.array([room.wall, room.lower], np.int32).T[:, :, None, None]
    wall = np.where(rows < edge, colours[:, 0], colours[:, 1])
    canvas.pixels[...] = (wall * shade >> 7).astype(np.uint16)
    ledge = Frame.placed(canvas.width // 2, edge, ONE, 0, mirrored=False)
    strip = mixed(room.lower, DARK, 30)
    canvas.polygon(ledge, canvas.width // 2, canvas.height // 60, _SQUARE, strip, flat=True)
    for item in room.items:
        _draw_item(canvas, item)


def _draw_item(canvas: Canvas, item: Item) -> None:
    """Paint a piece of furniture in a frame in which it is 200 units tall."""
    scale = canvas.height * ONE * item.height // (100 * 200)
    x, y = canvas.width * item.x // 100, canvas.height * item.y // 100
    FURNITURE[item.kind](canvas, Frame.placed(x, y, scale, 0, mirrored=False))


def _window(canvas: Canvas, frame: Frame) -> None:
    _panel(canvas, frame, 80, 100, _WHITE)
    for side in (-1, 1):
        _panel(canvas, frame.child(side * 36, -46), 32, 42, (170, 206, 232))
        _panel(canvas, frame.child(side * 36, 46), 32, 42, (150, 190, 170))


def _shelf(canvas: Canvas, frame: Frame) -> None:
    _panel(canvas, frame, 110, 100, (108, 76, 50))
    for row in (-1, 1):
        _panel(canvas, frame.child(0, row * 47), 102, 42, (60, 44, 34))
        for i in range(8):
            tall = 26 + (i * 5 + row * 3) % 14
            book = frame.child(-84 + i * 24, row * 47 + 42 - tall)
            _panel(canvas, book, 10, tall, _SPINES[(i * 5 + row) % len(_SPINES)])


def _poster(canvas: Canvas, frame: Frame) -> None:
    _panel(canvas, frame, 72, 100, (232, 196, 90))
    canvas.ellipse(frame.child(0, -24), 44, 44, (206, 74, 56), flat=True)
    _panel(canvas, frame.child(0, 70), 56, 12, (60, 80, 120))


def _portrait(canvas: Canvas, frame: Frame) -> None:
    _panel(canvas, frame, 84, 100, (150, 112, 52))
    _panel(canvas, frame, 70, 86, (104, 124, 112))
    canvas.ellipse(frame.child(0, 60), 52, 30, (120, 50, 60), flat=True)
    canvas.ellipse(frame.child(0, -10), 32, 42, (216, 172, 140), flat=True)
    canvas.ellipse(frame.child(0, -40), 34, 22, (84, 56, 40), flat=True)
    _panel(canvas, frame.child(0, 93), 70, 7, (150, 112, 52))


def _globe(canvas: Canvas, frame: Frame) -> None:
    canvas.ellipse(frame, 100, 100, (250, 226, 176))
    canvas.ellipse(frame.child(0, -96), 26, 14, (120, 96, 70))


def _clock(canvas: Canvas, frame: Frame) -> None:
    canvas.ellipse(frame, 100, 100, (52, 52, 60))
    canvas.ellipse(frame, 84, 84, _WHITE, flat=True)
    _panel(canvas, frame.child(0, -28), 6, 34, DARK)
    _panel(canvas, frame.child(20, 4), 26, 6, DARK)


def _plant(canvas: Canvas, frame: Frame) -> None:
    for degrees in (-60, -30, 0, 30, 60):
        leaf = frame.child(0, 30, degrees).child(0, -66)
        canvas.ellipse(leaf, 24, 66, (62, 116 + degrees // 3, 66))
    pot = [(-1000, -1000), (1000, -1000), (700, 1000), (-700, 1000)]
    canvas.polygon(frame.child(0, 66), 44, 36, pot, (172, 92, 60))


def _door(canvas: Canvas, frame: Frame) -> None:
    _panel(canvas, frame, 56, 100, (140, 96, 62))
    for row in (-1, 1):
        _panel(canvas, frame.child(0, row * 44), 38, 34, (118, 78, 50))
    canvas.ellipse(frame.child(44, 8), 6, 6, (222, 196, 110))


def _panel(canvas: Canvas, frame: Frame, half_width: int, half_height: int, colour: Colour) -> None:
    canvas.polygon(frame, half_width, half_height, _SQUARE, colour, flat=True)


FURNITURE: dict[Furniture, Callable[[Canvas, Frame], None]] = {
    "window": _window,
    "shelf": _shelf,
    "poster": _poster,
    "portrait": _portrait,
    "globe": _globe,
    "clock": _clock,
    "plant": _plant,
    "door": _door,
}
