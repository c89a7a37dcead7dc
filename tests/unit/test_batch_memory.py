"""What batches leave in memory, and what is read from the disk before it is needed."""

import dataclasses
import mmap
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from thaw.pack import open_packed, pack_images
from thaw.params.training.augment import Augment
from thaw.params.training.data import Data
from thaw.training.batches import Images, gathered
from thaw.training.fit import predict
from thaw.vision.features import compute_features


class Reads:
    """A memory map that notes what is to be read ahead."""

    def __init__(self):
        self.ranges = []

    def madvise(self, option, begin, length):
        assert option == mmap.MADV_WILLNEED
        assert begin % mmap.PAGESIZE == 0
        self.ranges.append((begin, begin + length))


@pytest.fixture
def read(packed):
    """The packed pictures, as if they were a mapped file."""
    return dataclasses.replace(packed, mapped=Reads())


def span(packed, row):
    begin = int(packed.offsets[row])
    return begin - begin % mmap.PAGESIZE, begin + packed.image(row).nbytes


def test_every_byte_of_the_images_is_read_ahead(read) -> None:
    read.read_ahead([8, 0, 3])
    assert read.mapped.ranges == [span(read, row) for row in (8, 0, 3)]


def test_images_in_memory_are_not_read(packed) -> None:
    packed.read_ahead([0])
    assert packed.mapped is None


def test_a_mapped_file_is_read_ahead_and_the_same(tmp_path, picture) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(3):
        Image.fromarray(picture(60, 80, number)).save(tmp_path / f"raw/{number}.png")
    data = Data(folder=".", presize=60)
    pack_images(tmp_path / "raw", data, tmp_path / "packed", tmp_path / "bad.csv")
    packed = open_packed(tmp_path / "packed")
    assert isinstance(packed.mapped, mmap.mmap)
    packed.read_ahead([2, 0, 1])
    for number in range(3):
        assert np.array_equal(packed.image(number), picture(60, 80, number))
    assert packed.pixels.base is not None  # not a copy
    assert not packed.pixels.flags.writeable


def test_the_next_batch_is_read_while_one_is_worked_on(read) -> None:
    rows, targets = torch.tensor([4, 1, 8, 6, 2]), torch.zeros(5, dtype=torch.int64)
    images = Images(read, rows, targets, Augment(image_side=32), torch.device("cpu"))
    parts = torch.tensor([3, 0, 1, 2, 4]).split(2)
    canvases = images.canvases(parts)
    for part, canvas in zip(parts, canvases, strict=True):
        assert torch.equal(canvas, images.canvas(part))
        expected = [span(read, row) for row in rows[torch.cat(parts)].tolist()[2:]]
        known = len(read.mapped.ranges)
        assert read.mapped.ranges == expected[:known]
        assert known == min(3, 2 * (1 + [p is part for p in parts].index(True)))


def test_gathered_parts_are_concatenated() -> None:
    parts = list(torch.randn(7, 3).split(2))
    assert torch.equal(gathered(iter(parts), 7), torch.cat(parts))
    assert gathered([torch.zeros(2, 1, dtype=torch.int64)], 2).dtype == torch.int64


@pytest.mark.parametrize("items", [6, 8])
def test_parts_that_are_not_all_there_are_no_whole(items) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        gathered(torch.randn(7, 3).split(2), items)
    with pytest.raises(ValueError, match="0 of 7 items came"):
        gathered([], 7)


class Noting(nn.Linear):
    """Notes its outputs without keeping them."""

    def __init__(self):
        super().__init__(5, 3)
        self.noted, self.kept = [], []

    def forward(self, inputs):
        self.kept.append(sum(output() is not None for output in self.noted))
        outputs = super().forward(inputs)
        self.noted.append(weakref.ref(outputs))
        return outputs


class Eight:
    """Eight validation batches of four."""

    valid_items = 32

    def valid(self):
        for _ in range(8):
            yield torch.randn(4, 5), torch.zeros(4, dtype=torch.int64)


def test_validation_keeps_no_outputs_of_earlier_batches() -> None:
    model = Noting()
    outputs, targets = predict(model, Eight(), "fp32", torch.device("cpu"))
    assert outputs.shape == (32, 3)
    assert targets.shape == (32,)
    assert model.kept == [0, *[1] * 7]  # the one before, until it is replaced


def test_features_of_earlier_batches_are_not_kept(packed, monkeypatch) -> None:
    monkeypatch.setattr("thaw.vision.features.BATCH", 2)
    body = Noting()
    network = nn.Module()
    network.features = lambda images: body(images.mean((2, 3)).repeat(1, 2)[:, :5])
    rows = torch.arange(len(packed))
    images = Images(packed, rows, rows, Augment(image_side=32), torch.device("cpu"))
    features = compute_features(network, images, images.plain(), "fp32", "features")
    assert features.shape == (9, 3)
    assert body.kept == [0, *[1] * 4]
