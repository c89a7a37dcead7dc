"""Tables of a recipe's images, and the sheets of its first batch."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw

from thaw.images import Decoded
from thaw.look.batch import (
    Seen,
    as_augmented,
    as_packed,
    captions_of,
    displayed,
    first_positions,
    first_view,
    sheet_of,
)
from thaw.look.tables import class_counts, dimensions, duplicates
from thaw.pack import pack_in_memory
from thaw.params.training.augment import Augment
from thaw.training.augment import View
from thaw.training.batches import FeatureBatches, ImageBatches, Images
from thaw.vision.items import Items


def items(targets=(), paths=None, rows=None, **columns):
    """Items of a split."""
    targets = np.array(targets)
    paths = paths or [f"{number}.png" for number in range(len(targets))]
    table = pd.DataFrame({"path": paths, **columns})
    return Items(paths, np.array(rows if rows is not None else range(len(paths))), targets, table)


def test_classes_are_counted_in_each_split() -> None:
    parts = {"train": items([2, 0, 2, 2]), "valid": items([0, 0])}
    table = class_counts(parts, "label", ["a", "b", "c"])
    assert table.to_dict("list") == {
        "class": ["a", "b", "c"], "train": [1, 0, 3], "valid": [2, 0, 0],
    }  # fmt: skip


def test_an_item_counts_for_each_of_its_labels_and_without_any_for_none() -> None:
    train = items(np.array([[1, 1], [0, 1], [0, 0]], np.float32))
    valid = items(np.array([[0, 0], [0, 0]], np.float32))
    table = class_counts({"train": train, "valid": valid}, "labels", ["a", "b"])
    assert table.to_dict("list") == {
        "class": ["a", "b", "(none)"], "train": [1, 2, 1], "valid": [0, 0, 2],
    }  # fmt: skip


def test_points_are_counted_by_the_groups_of_further_columns() -> None:
    spots = np.zeros((3, 2), np.float32)
    train = items(spots, person=["x", "y", "x"], folder=["", "", ""], split="train")
    valid = items(spots[:1], person=["z"], folder=[""], split="valid")
    table = class_counts({"train": train, "valid": valid}, "points", [])
    assert table.to_dict("list") == {
        "class": ["(all)", "person x", "person y", "person z"],
        "train": [3, 2, 1, 0],
        "valid": [1, 0, 0, 1],
    }


def pack(*pictures: np.ndarray, sources=None):
    """Pack pictures uint8 [h, w, 3]; sources are their heights and widths before."""
    sides = sources or [picture.shape[:2] for picture in pictures]
    return pack_in_memory([Decoded(p, *s) for p, s in zip(pictures, sides, strict=True)])


def test_dimensions_are_the_originals_commonest_first() -> None:
    small = np.zeros((8, 8, 3), np.uint8)
    packed = pack(*[small] * 5, sources=[(30, 20), (90, 70), (30, 20), (20, 30), (1, 1)])
    parts = {
        "train": items(paths=["a", "b"], rows=[0, 1]),
        "valid": items(paths=["c", "d"], rows=[2, 3]),
    }
    assert dimensions(packed, parts).to_numpy().tolist() == [[20, 30, 2], [30, 20, 1], [70, 90, 1]]


def test_equal_pixels_across_splits_are_named_and_nothing_else() -> None:
    black = np.zeros((4, 6, 3), np.uint8)
    lying, other, nearly = black.reshape(6, 4, 3), black + 1, black.copy()
    nearly[3, 5, 2] = 1
    packed = pack(black, other, other, black, lying, nearly, black, black)
    train = items(paths=["t0", "t1", "t2", "t3"], rows=[0, 1, 2, 3])
    valid = items(paths=["v4", "v5", "v6", "v7"], rows=[4, 5, 6, 7])
    # t1 and t2 are equal, but both are trained on; v4 has the same bytes in another shape.
    assert duplicates(packed, {"train": train, "valid": valid}).to_numpy().tolist() == [
        ["t0", "train", "v6", "valid"],
        ["t0", "train", "v7", "valid"],
        ["t3", "train", "v6", "valid"],
    ]
    found = duplicates(packed, {"train": train, "valid": items(paths=["v5"], rows=[5])})
    assert list(found) == ["path", "split", "duplicate_path", "duplicate_split"]
    assert len(found) == 0


def test_captions_say_the_labels() -> None:
    where = torch.tensor([1, 0])
    assert captions_of(items([2, 0]), where, "label", ["a", "b", "c"]) == ["a", "c"]
    several = items(np.array([[1, 0, 1], [0, 0, 0]], np.float32))
    assert captions_of(several, where, "labels", ["a", "b", "c"]) == ["(none)", "a, c"]
    assert captions_of(items(np.zeros((2, 2))), where, "points", []) == ["1.png", "0.png"]


def test_the_sheet_shows_the_first_live_batch(image_batches) -> None:
    batches: ImageBatches = image_batches(batch_size=4)
    images, targets = next(batches.train(0))
    positions = first_positions(batches.training, 42, 4)
    assert batches.training.targets[positions].tolist() == targets.tolist()
    shown = as_augmented(batches.training, positions, ["x"] * 4, first_view(batches.training, 42))
    assert np.array_equal(np.stack([tile.pixels for tile in shown]), displayed(images).numpy())
    before = as_packed(batches.training, positions, ["x"] * 4)
    for tile, row in zip(before, batches.training.rows[positions].tolist(), strict=True):
        assert np.array_equal(tile.pixels, batches.training.packed.image(row))


def test_the_sheet_shows_the_first_cached_view(image_batches) -> None:
    training = image_batches(views=3).training
    view = first_view(training, 42)
    assert torch.equal(view.matrices, training.random(42, "views", "view000").matrices)
    numbers = torch.arange(len(training.rows))
    batches = FeatureBatches(
        [numbers[:, None].float()], [numbers], torch.zeros(1), numbers[:1], 4, 42, "fit_frozen"
    )
    _, seen = next(batches.train(0))
    assert first_positions(training, 42, 4).tolist() == seen.tolist()


def test_what_is_displayed_is_what_was_packed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    images = Images(
        pack(picture), torch.tensor([0]), torch.tensor([0]), Augment(image_side=32),
        torch.device("cpu"),
    )  # fmt: skip
    seen = displayed(images.render(torch.tensor([0]), images.plain()))
    assert np.array_equal(seen[0].numpy(), picture)


@pytest.fixture
def discs() -> Images:
    """Sixteen dark pictures with a white disc each, whose centre is the point."""
    pictures, points = [], []
    for number in range(16):
        width, height = 64 + number, 60
        x, y = 20 + 2 * number, 18 + 3 * (number % 8)
        image = Image.new("RGB", (width, height), (30, 40, 60))
        ImageDraw.Draw(image).ellipse((x - 5, y - 5, x + 5, y + 5), fill="white")
        pictures.append(np.asarray(image))
        points.append([(x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1])
    return Images(
        pack(*pictures),
        torch.arange(16),
        torch.tensor(points),
        Augment(image_side=[48, 56], rotate=30.0, warp=0.3),
        torch.device("cpu"),
        points=True,
    )


def centre(pixels: np.ndarray) -> tuple[float, float]:
    """Where the bright pixels lie, as x and y in [-1, 1]."""
    height, width = pixels.shape[:2]
    y, x = np.nonzero(pixels.min(2) > 150)
    return (x.mean() + 0.5) / width * 2 - 1, (y.mean() + 0.5) / height * 2 - 1


@pytest.mark.parametrize("augmented", [False, True])
def test_points_lie_where_the_things_are(discs: Images, augmented: bool) -> None:
    positions, view = first_positions(discs, 7, 16), first_view(discs, 7)
    names = [str(position) for position in positions.tolist()]
    tiles = (
        as_augmented(discs, positions, names, view)
        if augmented
        else as_packed(discs, positions, names)
    )
    inside = [tile for tile in tiles if max(map(abs, tile.points[0])) < 0.7]
    assert len(inside) > 5
    for tile in inside:
        (point,) = tile.points
        assert tuple(point) == pytest.approx(centre(tile.pixels), abs=0.05)
    assert sorted(int(tile.caption.split()[0]) for tile in tiles) == list(range(16))


def test_a_point_that_has_left_the_frame_is_said_to_have(discs: Images) -> None:
    away = View(torch.eye(3).repeat(16, 1, 1), None)
    away.matrices[0, 0, 2] = 10.0  # looks ten halves of a width to the right
    shown = as_augmented(discs, torch.tensor([0, 1]), ["a", "b"], away)
    assert [tile.caption for tile in shown] == ["a (out of frame)", "b"]


def test_a_sheet_has_the_batchs_captions_and_points() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    batch = [Seen(picture, "one, two", [(-1.0, 0.5)]), Seen(picture, "word " * 60, [])]
    (block,) = sheet_of(batch, "title", "note").blocks
    first, second = block.tiles
    assert [line.left for line in first.caption] == ["one, two"]
    assert len(second.caption) == 3
    assert " ".join(line.left for line in second.caption) == ("word " * 60).strip()
    ((mark,),) = first.marks
    assert (mark.x, mark.y) == (0.0, 0.75)
