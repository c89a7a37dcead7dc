"""The items of each split as rows of the packed file."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from thaw.core.errors import UserError
from thaw.pack import Packed
from thaw.vision.items import read_items

ITEMS = [  # not sorted
    ("b/2.jpg", "b", 1, "train"),
    ("a/1.jpg", "a", 0, "train"),
    ("b/1.jpg", "b", 1, "valid"),
    ("a/2.jpg", "a", 0, "valid"),
    ("a/3.jpg", "a", 0, "train"),
]


@pytest.fixture
def folder(tmp_path):
    """An items table."""
    table = pd.DataFrame(ITEMS, columns=["path", "label", "target", "split"])
    table.to_parquet(tmp_path / "items.parquet")
    return tmp_path


@pytest.fixture
def packed():
    """Six packed images, one of which is no item."""
    paths = ["a/1.jpg", "a/2.jpg", "a/3.jpg", "a/4.jpg", "b/1.jpg", "b/2.jpg"]
    ones = np.ones(len(paths), np.int64)
    return Packed(
        paths=paths,
        heights=ones,
        widths=ones,
        source_heights=ones,
        source_widths=ones,
        offsets=3 * np.arange(len(paths)),
        pixels=np.zeros(3 * len(paths), np.uint8),
    )


def read(folder, packed, vocab=("a", "b")):
    return read_items(folder / "items.parquet", packed, list(vocab))


def without(packed, *paths):
    return replace(packed, paths=[path for path in packed.paths if path not in paths])


def undecodable(packed, *paths):
    return replace(without(packed, *paths), bad=list(paths))


def test_items_are_sorted_rows_of_the_packed_file(folder, packed, capsys):
    task, items = read(folder, packed)
    assert task == "label"
    assert items["train"].paths == ["a/1.jpg", "a/3.jpg", "b/2.jpg"]
    assert items["train"].rows.tolist() == [0, 2, 5]
    assert items["train"].targets.tolist() == [0, 0, 1]
    assert items["valid"].paths == ["a/2.jpg", "b/1.jpg"]
    assert items["valid"].rows.tolist() == [1, 4]
    assert items["valid"].targets.tolist() == [0, 1]
    assert items["train"].rows.dtype == items["train"].targets.dtype == np.int64
    assert capsys.readouterr().out == ""


def test_images_that_could_not_be_decoded_are_dropped_and_told(folder, packed, capsys):
    _, items = read(folder, undecodable(packed, "a/3.jpg"))
    assert items["train"].paths == ["a/1.jpg", "b/2.jpg"]
    assert items["train"].rows.tolist() == [0, 4]
    assert "1 of 5 items dropped" in capsys.readouterr().out


def test_items_that_were_never_packed_are_refused(folder, packed):
    message = r"1 items are not in the packed file, b/2\.jpg first\. .*data\.folder"
    with pytest.raises(UserError, match=message):
        read(folder, without(packed, "b/2.jpg"))


def test_a_split_left_empty_is_refused(folder, packed):
    with pytest.raises(UserError, match="no valid item could be decoded"):
        read(folder, undecodable(packed, "a/2.jpg", "b/1.jpg"))


def test_a_class_left_without_a_training_image_is_refused(folder, packed):
    with pytest.raises(UserError, match="no training image of b could be decoded"):
        read(folder, undecodable(packed, "b/2.jpg"))


def test_several_labels_are_rows_of_zeros_and_ones(folder, packed):
    table = pd.read_parquet(folder / "items.parquet")
    hot = [np.array(row, np.float32) for row in ([0, 1], [1, 0], [0, 0], [1, 1], [1, 0])]
    table.assign(target=hot).to_parquet(folder / "items.parquet")
    task, items = read(folder, packed)
    assert task == "labels"
    assert items["train"].targets.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert items["train"].targets.dtype == np.float32
    with pytest.raises(UserError, match="no training image of b could be decoded"):
        read(folder, undecodable(packed, "b/2.jpg"))


def test_points_in_pixels_become_shares_of_the_upright_original(folder, packed):
    table = pd.read_parquet(folder / "items.parquet")
    places = [[160.0, 60.0, 0.0, 0.0]] * 5
    table.assign(target=places).to_parquet(folder / "items.parquet")
    widths, heights = np.full(6, 640), np.full(6, 480)
    sized = replace(packed, source_widths=widths, source_heights=heights)
    task, items = read(folder, sized, vocab=[])
    assert task == "points"
    assert items["valid"].targets.tolist() == [[-0.5, -0.75, -1, -1]] * 2
    assert sized.to_pixels(items["valid"].rows, items["valid"].targets).tolist() == places[:2]
