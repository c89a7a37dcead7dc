"""Sheets of images, looked at pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.sheet import (
    FONT,
    GAP,
    LINE,
    MOST_LINES,
    Mark,
    Tile,
    caption_font,
    draw_sheet,
    shortened,
    wrapped,
    write_sheet,
)


def plain(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def place_of(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[float, ...]:
    """The middle of all pixels of a colour, x and y, and how many there are across and down."""
    y, x = np.nonzero((np.asarray(sheet) == colour).all(2))
    return (x.min() + x.max()) / 2, (y.min() + y.max()) / 2, np.ptp(x) + 1, np.ptp(y) + 1


def test_tiles_stand_row_by_row_and_keep_their_shape() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    shapes = [(40, 80), (40, 40), (20, 10)]
    tiles = [Tile(plain(*s, c), "x") for s, c in zip(shapes, colours, strict=True)]
    sheet = draw_sheet(tiles, columns=2, side=80)
    cell = 80 + 4 + LINE + GAP
    assert sheet.size == (GAP + 2 * (80 + GAP), GAP + 2 * cell)
    # Fitted into 80 pixels, in the middle of the column and above the caption.
    assert place_of(sheet, colours[0]) == (GAP + 39.5, GAP + 40 + 19.5, 80, 40)
    assert place_of(sheet, colours[1]) == (GAP + 80 + GAP + 39.5, GAP + 39.5, 80, 80)
    assert place_of(sheet, colours[2]) == (GAP + 39.5, GAP + cell + 39.5, 40, 80)


def test_a_row_is_as_high_as_what_is_in_it() -> None:
    flat, blue = plain(40, 80, (200, 0, 0)), (0, 0, 200)
    tiles = [Tile(flat, "a"), Tile(flat, "word " * 40), Tile(plain(80, 80, blue), "b")]
    sheet = draw_sheet(tiles, columns=2, side=80)
    below = GAP + 40 + 4 + MOST_LINES * LINE + GAP
    assert place_of(sheet, blue) == (GAP + 39.5, below + 39.5, 80, 80)
    assert sheet.height == below + 80 + 4 + LINE + GAP


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (-0.5, 0.5), (0.6, -0.2)])
def test_a_mark_lies_on_its_point(x: float, y: float) -> None:
    sheet = draw_sheet([Tile(plain(30, 40, (90, 90, 90)), "", [Mark(x, y, "blue")])], 1, side=160)
    found = place_of(sheet, (0, 0, 255))
    assert found[:2] == pytest.approx((GAP + (x + 1) * 80 - 0.5, GAP + (y + 1) * 60 - 0.5), abs=1)


def test_a_mark_beyond_the_image_is_not_drawn() -> None:
    grey = plain(30, 40, (90, 90, 90))
    sheet = draw_sheet([Tile(grey, "", [Mark(1.01, 0.0)])], 1)
    assert sheet.tobytes() == draw_sheet([Tile(grey, "")], 1).tobytes()


def test_a_caption_is_written_below_in_its_colour() -> None:
    sheet = draw_sheet([Tile(plain(50, 50, (250, 250, 250)), "Ärger", colour="green")], 1, side=100)
    x, y, width, height = place_of(sheet, (0, 128, 0))
    assert x == pytest.approx(GAP + 50, abs=5)  # the edges of letters are paler
    assert GAP + 100 < y < GAP + 100 + 4 + LINE
    assert 20 < width < 60
    assert 8 < height < FONT + 4


def test_letters_beyond_ascii_are_drawn() -> None:
    font = caption_font()
    missing = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != missing for letter in "äéłñЖλ")


def test_a_long_caption_is_wrapped_and_then_shortened() -> None:
    font = caption_font()
    for text in ("aeroplane, bicycle, person", " ".join(["word"] * 60), "x" * 90, "a " + "y" * 90):
        lines = list(wrapped(text, font, 120))
        assert 1 < len(lines) <= MOST_LINES or "…" in lines[0]
        assert all(font.getlength(line) <= 120 for line in lines)
    assert (
        " ".join(wrapped("aeroplane, bicycle, person", font, 120)) == "aeroplane, bicycle, person"
    )
    assert list(wrapped("", font, 120)) == []
    short = shortened("01/frame_00003_rgb_of_a_long_name.jpg", font, 120)
    assert short.startswith("01/fr")
    assert short.endswith("me.jpg")


def test_a_sheet_is_a_jpeg_of_the_same_bytes_each_time(tmp_path: Path) -> None:
    tiles = [Tile(plain(20, 20, (9, 99, 200)), "a", [Mark(0, 0)])] * 3
    for name in ("a.jpg", "b.jpg"):
        write_sheet(tmp_path / name, tiles, 6)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "JPEG"
        assert image.size == draw_sheet(tiles, 6).size
