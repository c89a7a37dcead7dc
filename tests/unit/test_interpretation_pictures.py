"""Sheets and plots of answers: checked by what is seen on them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from thaw.interpretation.plots import draw_confusion, draw_errors, draw_tables
from thaw.interpretation.points import Points
from thaw.interpretation.points import tile as tile_of_points
from thaw.sheets.draw import BYTES, GAP, MARGIN, draw_sheet, jpeg, layout_of
from thaw.sheets.marks import mark
from thaw.sheets.sheet import (
    GREEN,
    PREDICTION,
    RED,
    TARGET,
    Block,
    Line,
    Sheet,
    Tile,
    channels_note,
)
from thaw.sheets.text import cut, drawable, font, wrap, write_line

COLOURS = [(200, 30, 30), (30, 160, 30), (40, 40, 200), (200, 180, 20), (20, 180, 190)]


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def solid(row: int) -> np.ndarray:
    """A wide image of one colour."""
    return np.full((30, 60, 3), COLOURS[row], np.uint8)


def pixels_of(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def near(found: np.ndarray, wanted: np.ndarray, off: int = 30) -> np.ndarray:
    return (np.abs(found - wanted) <= off).all(-1)


def test_tiles_stand_in_a_grid_with_their_bars_below(tmp_path: Path) -> None:
    tiles = [Tile(row, [Line("a", "0.5")], GREEN if row % 2 else RED) for row in range(5)]
    sheet = Sheet("Title", "Note.", [Block(tiles)], columns=3)
    draw_sheet(sheet, solid, tmp_path / "sheet.jpg")
    found, layout = pixels_of(tmp_path / "sheet.jpg"), layout_of(sheet)
    height = 2 * layout.tile_height
    top = found.shape[0] - MARGIN + GAP // 2 - height
    for number, tile in enumerate(tiles):
        row, column = divmod(number, 3)
        y = top + row * layout.tile_height
        x = MARGIN + column * (layout.side + GAP) + layout.side // 2
        assert near(found[y + layout.side // 2, x], np.array(COLOURS[number])), number
        assert near(found[y + layout.side + 2, x], rgb(tile.colour)), number
        assert near(found[y + 4, x], np.array([241, 241, 241])), "beside the image"
    assert layout.side == 160


def test_a_drawn_point_is_found_at_its_position(tmp_path: Path) -> None:
    items = Points(
        paths=["a.jpg"],
        targets=np.array([[[15.0, 10.0]]]),
        predictions=np.array([[[45.0, 20.0]]]),
        sides=np.array([[60, 30]]),
        groups={"all": np.array([0])},
    )
    sheet = Sheet("Points", "Note.", [Block([tile_of_points(items, 0)])])
    grey = np.full((30, 60, 3), 128, np.uint8)
    draw_sheet(sheet, lambda _: grey, tmp_path / "points.jpg")
    found, layout = pixels_of(tmp_path / "points.jpg"), layout_of(sheet)
    top = found.shape[0] - MARGIN + GAP // 2 - layout.tile_height
    scale = layout.side / 60
    corner = np.array([MARGIN, top + (layout.side - 30 * scale) // 2])
    for colour, place in ((TARGET, (15, 10)), (PREDICTION, (45, 20))):
        ys, xs = np.nonzero(near(found, rgb(colour), 60))
        inside = ys < top + layout.side
        middle = (xs[inside].mean(), ys[inside].mean())
        assert middle == pytest.approx(tuple(corner + np.array(place) * scale), abs=2)


def test_a_mark_has_its_colours_where_it_stands() -> None:
    image = Image.new("RGB", (40, 30), "grey")
    mark(ImageDraw.Draw(image), 25, 12, "yellow", "blue")
    assert image.getpixel((25, 12)) == (0, 0, 255)
    assert image.getpixel((25 - 6, 12)) == (255, 255, 0)
    assert image.getpixel((25 - 10, 12)) == (128, 128, 128)


def test_blocks_have_headings_and_stand_side_by_side(tmp_path: Path) -> None:
    blocks = [Block([Tile(row, [Line("x")])] * 2, f"class {row}") for row in range(5)]
    sheet = Sheet("Classes", "Note.", blocks, columns=2)
    layout = layout_of(sheet)
    assert (layout.abreast, layout.headed, layout.columns) == (4, True, 2)
    draw_sheet(sheet, solid, tmp_path / "sheet.jpg")
    found = pixels_of(tmp_path / "sheet.jpg")
    for row, colour in enumerate(COLOURS):
        ys, xs = np.nonzero(near(found, np.array(colour), 12))
        assert len(ys) > layout.side**2 * 0.9, "two images, each half as high as wide"
        left = MARGIN + row % 4 * (layout.block_width + 28)
        assert xs.min() == pytest.approx(left, abs=2)
        assert (ys.min() > found.shape[0] / 2) == (row >= 4)


def test_a_sheet_without_images_says_what_it_would_show(tmp_path: Path) -> None:
    draw_sheet(Sheet("Wrong, at random", "0 of 0 images.", []), solid, tmp_path / "none.jpg")
    found = pixels_of(tmp_path / "none.jpg")
    assert (found < 100).any()
    assert found.shape[0] < 100


def test_a_title_longer_than_its_sheet_goes_on_below(tmp_path: Path) -> None:
    title = "Most incorrect of each class: wrong, and the class least likely"
    for name, sheet in (
        ("long", Sheet(title, "Note.", [])),
        ("short", Sheet(title[:14], "Note.", [])),
        ("cut", Sheet(title[:48], "Note.", [])),
    ):
        draw_sheet(sheet, solid, tmp_path / name)
    long, short, one = (pixels_of(tmp_path / name) for name in ("long", "short", "cut"))
    assert long.shape[0] == short.shape[0] + 24
    assert one.shape == short.shape
    margin = long[:, -MARGIN:]
    assert (margin > 240).all(), "nothing is cut at the edge"
    dark = (long.max(2) < 100).any(1)
    lines = (np.diff(dark[: MARGIN + 45].astype(int)) == 1).sum()
    assert lines == 2


def test_letters_that_the_font_lacks_are_named() -> None:
    assert drawable("猫 ö ж λ ✓") == "[U+732B] ö ж λ ✓"
    assert drawable("tiger 🐯\n") == "tiger [U+1F42F][U+000A]"
    assert drawable("plain") == "plain"
    lines = wrap("名前" * 12, 100, font(11))
    assert "".join(lines) == drawable("名前" * 12)
    assert all(font(11).getlength(line) <= 100 for line in lines)


def test_no_two_labels_look_alike_and_nothing_is_warned(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Boxes would be the same for every letter that the font lacks."""
    for name, label in (("cat", "猫"), ("dog", "犬"), ("box", "\u0378")):
        draw_sheet(Sheet(label, label, [Block([Tile(1, [Line(label, label)])], label)]), solid,
                   tmp_path / f"{name}.jpg")  # fmt: skip
        draw_confusion(np.diag([2, 1]), [label, "b"], tmp_path / f"{name}.png")
    for kind in ("jpg", "png"):
        contents = {(tmp_path / f"{name}.{kind}").read_bytes() for name in ("cat", "dog", "box")}
        assert len(contents) == 3
    assert not recwarn.list


def test_a_sheet_says_what_it_does_not_show() -> None:
    assert channels_note(5) == (" Of 5 channels the first three are shown, as red, green and blue.")
    assert channels_note(2).endswith("the first is shown, as grey.")
    assert channels_note(3) == channels_note(1) == ""


def test_a_sheet_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    sheet = Sheet("Title", "Note.", [Block([Tile(1, [Line("é ł ж", "1.0")])])])
    for name in ("a", "b"):
        draw_sheet(sheet, solid, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("blocks", "each"), [(1, 24), (37, 2), (75, 1)])
def test_sheets_are_small_enough_to_load(tmp_path: Path, blocks: int, each: int) -> None:
    random = np.random.default_rng(1)
    coarse = [random.integers(0, 256, (18, 24, 3), np.uint8) for _ in range(6)]

    def photo(row: int) -> np.ndarray:
        image = Image.fromarray(coarse[row % 6]).resize((340, 256), Image.Resampling.BICUBIC)
        return np.asarray(image)

    caption = [Line("said american_pit_bull", "0.123"), Line("wrong", "loss 2.345"), Line("a.jpg")]
    tiles = [Tile(row, caption, RED) for row in range(each)]
    sheet = Sheet("Title", "Note.", [Block(tiles, str(b)) for b in range(blocks)], min(each, 6))
    draw_sheet(sheet, photo, tmp_path / "sheet.jpg")
    assert (tmp_path / "sheet.jpg").stat().st_size < BYTES


def test_quality_falls_until_a_picture_fits() -> None:
    random = np.random.default_rng(2)
    noise = Image.fromarray(random.integers(0, 256, (500, 500, 3), np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=85, subsampling=0)
    assert len(jpeg(noise)) < BYTES < len(buffer.getvalue())


def test_text_is_cut_to_its_room() -> None:
    face = font(11)
    assert cut("short", 100, face) == "short"
    for front in (False, True):
        short = cut("american_pit_bull_terrier", 80, face, front)
        assert 60 < face.getlength(short) <= 80
        assert short[0 if front else -1] == "…"
    assert cut("word", 1, face) == ""
    lines = wrap("some words that need more than a line", 100, face)
    assert len(lines) > 1
    assert " ".join(lines) == "some words that need more than a line"
    assert all(face.getlength(line) <= 100 for line in lines)


def test_the_right_part_of_a_line_stays_whole_at_the_edge() -> None:
    image = Image.new("L", (200, 20), 255)
    write_line(ImageDraw.Draw(image), (20, 2, 100), "a long name " * 5, "0.123", font(11), "black")
    columns = np.flatnonzero((np.asarray(image) < 200).any(0))
    assert columns.min() >= 20
    assert 116 <= columns.max() <= 120
    number = font(11).getlength("0.123")
    between = np.asarray(image)[:, int(120 - number - 5) : int(120 - number)]
    assert (between == 255).all(), "room between both"


def colour_shares(file: Path) -> tuple[float, float]:
    """Shares of bluish and of orange pixels."""
    found = pixels_of(file)
    blue = (found[..., 2] > found[..., 0] + 60).mean()
    return float(blue), float((found[..., 0] > found[..., 2] + 60).mean())


def test_confusions_are_blue_where_right_and_orange_where_wrong(tmp_path: Path) -> None:
    file = tmp_path / "confusion.png"
    draw_confusion(np.diag([5, 4, 3]), ["a", "b$", "c$"], file)
    blue, orange = colour_shares(file)
    assert blue > 0.1
    assert orange == 0
    draw_confusion(np.array([[0, 5, 0], [0, 0, 4], [3, 0, 0]]), ["a", "b", "c"], file)
    blue, orange = colour_shares(file)
    assert blue == 0
    assert orange > 0.1
    before = file.read_bytes()
    draw_confusion(np.array([[0, 5, 0], [0, 0, 4], [3, 0, 0]]), ["a", "b", "c"], file)
    assert file.read_bytes() == before


def test_a_confusion_of_37_classes_has_room_for_its_numbers(tmp_path: Path) -> None:
    names = [f"american_pit_bull_terrier {number}" for number in range(37)]
    draw_confusion(np.diag(np.arange(37)), names, tmp_path / "confusion.png")
    height, width = pixels_of(tmp_path / "confusion.png").shape[:2]
    assert 1200 < width < 1800
    assert height == width


def test_each_class_of_several_has_its_table(tmp_path: Path) -> None:
    right = np.array([[[9, 0], [0, 4]]] * 7)
    draw_tables(right, list("abcdefg"), tmp_path / "right.png")
    blue, orange = colour_shares(tmp_path / "right.png")
    assert (blue > 0.1, orange) == (True, 0)
    draw_tables(right[:, ::-1], list("abcdefg"), tmp_path / "wrong.png")
    blue, orange = colour_shares(tmp_path / "wrong.png")
    assert (blue, orange > 0.1) == (0, True)


def test_errors_have_a_row_for_each_group(tmp_path: Path) -> None:
    errors = np.arange(12.0)
    items = Points(
        paths=["x"] * 12,
        targets=np.zeros((12, 1, 2)),
        predictions=np.stack([errors, errors * 0], 1)[:, None],
        sides=np.full((12, 2), 50),
        groups={"all": np.arange(12), "folder 1": np.arange(3), "folder 2": np.arange(3, 12)},
    )
    draw_errors(items, tmp_path / "errors.png")
    found = pixels_of(tmp_path / "errors.png")
    blue = found[..., 2] > found[..., 0] + 40
    assert 24 * 12 < blue.sum() < 24 * 60, "a dot of four points for each error, twice"
    right = blue[:, int(found.shape[1] * 0.9) :].any(1)
    assert (np.diff(right.astype(int)) == 1).sum() == 2, "the largest: of all, and of folder 2"
    many = {f"g {number}": np.array([number % 12]) for number in range(50)}
    draw_errors(Points(items.paths, items.targets, items.predictions, items.sides, many),
                tmp_path / "many.png")  # fmt: skip
    assert pixels_of(tmp_path / "many.png").shape[0] == round((1.6 + 0.5 * 40) * 100)


def test_errors_of_one_group_are_a_histogram(tmp_path: Path) -> None:
    errors = np.array([1.0] * 30 + [9.0] * 10)
    items = Points(
        paths=["x"] * 40,
        targets=np.zeros((40, 1, 2)),
        predictions=np.stack([errors, errors * 0], 1)[:, None],
        sides=np.full((40, 2), 50),
        groups={"all": np.arange(40), "folder 05": np.arange(40)},
    )
    draw_errors(items, tmp_path / "errors.png")
    found = pixels_of(tmp_path / "errors.png")
    heights = (found[..., 2] > found[..., 0] + 60).sum(0)
    middle = len(heights) // 2
    left, right = heights[:middle].max(), heights[middle:].max()
    assert left == pytest.approx(3 * right, rel=0.05), "thirty small errors, ten large ones"
