"""What batches leave in memory, and what is read from the disk before it is needed."""

import dataclasses
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thaw.pack import open_packed, pack_images
from thaw.params.training.augment import Augment
from thaw.params.training.data import Data
from thaw.training.batches import Images, gathered

ROOT = Path(__file__).resolve().parents[2]


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
    for part, canvas in zip(parts, canvases, strict=False):
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


GROWTH = """
import torch
from torch import nn
from thaw.core.memory import keep_freed_memory
from thaw.training.fit import predict

def anonymous():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["RssAnon"].split()[0]) / 1024

class Batches:
    valid_items = 60 * 32

    def valid(self):
        for number in range(60):
            if number in (30, 59):
                print(anonymous())
            yield torch.randn(32, 3, 96, 96), torch.zeros(32, dtype=torch.int64)

keep_freed_memory()
torch.set_num_threads(1)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3, 2), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 400),
)
outputs, targets = predict(model, Batches(), "fp32", torch.device("cpu"))
assert outputs.shape == (1920, 400) and targets.shape == (1920,)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-c", GROWTH], env=environment, capture_output=True, text=True, check=True
    )
    settled, last = map(float, told.stdout.split())
    # MB. Where parts are kept until the end, every other process or so grows by 70.
    assert last < settled + 16
