"""What several unit tests need: drawn pictures, a tiny network, and settings of a fit."""

import functools
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

# torch takes seconds to import: only the fixtures that need it do so.

SHAPES = [(40, 56), (56, 40), (48, 48), (36, 64), (50, 45), (64, 64), (33, 70), (40, 40), (44, 61)]


@pytest.fixture
def one_thread():
    """Sums in one order, and no fight over the cores with other processes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def fastai():
    """What benchmarks/fastai_reference.py recorded."""
    return json.loads(Path(__file__).with_name("fastai_reference.json").read_text("utf-8"))


def draw_picture(height: int, width: int, number: int) -> np.ndarray:
    """Red rises to the right, green downwards, and a blue disc stands at a place of its own."""
    y, x = np.mgrid[:height, :width]
    red, green = x * 255 // (width - 1), y * 255 // (height - 1)
    distance = (x - (number * 7 + 8) % width) ** 2 + (y - (number * 5 + 8) % height) ** 2
    return np.stack([red, green, np.where(distance < 60, 255, 20 * number)], 2).astype(np.uint8)


@pytest.fixture(scope="session")
def picture():
    """A function that draws a picture, uint8 [height, width, 3]."""
    return draw_picture


@pytest.fixture(scope="session")
def packed():
    """Nine packed pictures of different shapes."""
    from thaw.pack import Packed

    pictures = [draw_picture(*shape, number) for number, shape in enumerate(SHAPES)]
    heights, widths = (np.array(sides, np.int64) for sides in zip(*SHAPES, strict=True))
    ends = np.cumsum([p.nbytes for p in pictures])
    return Packed(
        paths=[f"{number:02}.png" for number in range(len(pictures))],
        heights=heights,
        widths=widths,
        source_heights=heights,
        source_widths=widths,
        offsets=np.concatenate([[0], ends[:-1]]).astype(np.int64),
        pixels=np.concatenate([p.ravel() for p in pictures]),
    )


@pytest.fixture
def image_batches(packed):
    """A function that makes batches of the packed pictures: seven to train on, two held out."""
    import torch

    from thaw.params.training.augment import Augment
    from thaw.training.batches import ImageBatches, Images

    def make(batch_size=4, seed=42, stage="fit_frozen", **augment):
        parts = [
            Images(packed, rows, rows % 2, Augment(image_side=32, **augment), torch.device("cpu"))
            for rows in (torch.arange(7), torch.arange(7, 9))
        ]
        return ImageBatches(*parts, batch_size=batch_size, seed=seed, stage=stage)

    return make


@pytest.fixture
def tiny_network():
    """A function that builds a network of five halving blocks, two of them late."""
    import torch
    from torch import nn

    from thaw.training.body import Body
    from thaw.training.model import Network, build_head

    def block(before, after):
        return nn.Sequential(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )

    def make(seed=0, outputs=2, dropout=0.5):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            body = Body(
                OrderedDict(
                    stem=nn.Conv2d(3, 4, 3, stride=2, padding=1),
                    layer1=nn.Sequential(block(4, 4), block(4, 6)),
                    layer2=block(6, 6),
                    layer3=nn.Sequential(block(6, 8)),
                )
            )
            head = build_head(16, outputs, [8], dropout)
        return Network(body, head).to(memory_format=torch.channels_last)

    return make


@pytest.fixture
def make_setting():
    """A function that makes the setting of a fit on the CPU; keywords go to the plan."""
    import torch
    from torch.nn.functional import cross_entropy

    from thaw.params.training.fit import Fit
    from thaw.training.fit import Setting
    from thaw.vision.metrics import measure

    def make(
        groups,
        lrs,
        *,
        loss=cross_entropy,
        precision="fp32",
        stage="fit_frozen",
        seed=42,
        training_mode=lambda model: model.train(),
        **plan,
    ):
        return Setting(
            stage=stage,
            seed=seed,
            plan=Fit(lr="auto", **plan),
            lrs=lrs,
            groups=groups,
            loss=loss,
            measure=functools.partial(measure, plan.get("metrics", ["error_rate"])),
            precision=precision,
            device=torch.device("cpu"),
            training_mode=training_mode,
        )

    return make
