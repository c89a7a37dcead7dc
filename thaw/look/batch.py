"""The first images that training sees, as they are and as augmentation shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thaw.bands import displayable
from thaw.images import Pixels
from thaw.look.tables import NONE
from thaw.sheets.draw import EMPTY, caption_lines
from thaw.sheets.sheet import Block, Mark, Sheet, Tile
from thaw.training.augment import View, out_of_frame
from thaw.training.batches import Images, shuffled
from thaw.training.body import channel_statistics
from thaw.vision.items import Items
from thaw.vision.task import Task

FIRST_FIT = "fit_frozen"
LINES = 3  # of a caption, at most
POINT = "#ff2d2d"


def first_view(images: Images, seed: int) -> View:
    """Return the view of the training images in the frozen fit's first epoch."""
    cached = images.cached_views(seed)
    return next(iter(cached.values())) if cached else images.epoch_view(seed, FIRST_FIT, 0)


def first_positions(images: Images, seed: int, count: int) -> Tensor:
    """Return the positions of the frozen fit's first training images, int64 [count] at most."""
    return shuffled(len(images.rows), seed, FIRST_FIT, 0)[:count]


@dataclass(frozen=True)
class Seen:
    """A training image as a sheet shows it.

    Attributes:
        pixels: uint8 [height, width, 3].
        caption: its labels, or its file.
        points: x and y of each point, in [-1, 1].
    """

    pixels: Pixels
    caption: str
    points: Sequence[Sequence[float]]


def as_packed(images: Images, positions: Tensor, captions: Sequence[str]) -> list[Seen]:
    """Show images as they are packed, with their points."""
    points = targets_at(images, images.targets, positions)
    pixels = [displayable(images.packed.image(row)) for row in images.rows[positions].tolist()]
    return list(map(Seen, pixels, captions, points))


def as_augmented(
    images: Images, positions: Tensor, captions: Sequence[str], view: View
) -> list[Seen]:
    """Show images as training sees them, points moved with them; a point may be lost.

    Args:
        images: of the training split.
        positions: int64 [n], into `images`.
        captions: of each.
        view: of all of `images`.
    """
    points = targets_at(images, images.targets_in(view), positions)
    pixels = list(map(displayable, displayed(images.render(positions, view)).numpy()))
    lost = [out_of_frame(torch.tensor(those)) for those in points]
    said = [
        f"{caption} (out of frame)" if count else caption
        for caption, count in zip(captions, lost, strict=True)
    ]
    return list(map(Seen, pixels, said, points))


def sheet_of(batch: Sequence[Seen], title: str, note: str) -> Sheet:
    """Lay a batch out; a tile's row is its place in the batch."""
    tiles = [
        Tile(
            row=place,
            caption=caption_lines(seen.caption, LINES),
            colour=EMPTY,
            marks=[(Mark((x + 1) / 2, (y + 1) / 2, POINT),) for x, y in seen.points],
        )
        for place, seen in enumerate(batch)
    ]
    return Sheet(title, note, [Block(tiles)])


def targets_at(images: Images, targets: Tensor, positions: Tensor) -> list[list[list[float]]]:
    """Return x and y of each point of some images; no points if targets are classes."""
    if not images.points:
        return [[] for _ in positions]
    places: list[list[list[float]]] = targets[positions].view(len(positions), -1, 2).tolist()
    return places


def displayed(images: Tensor) -> Tensor:
    """Undo the normalisation of float [n, c, h, w]: uint8 [n, h, w, c]."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in channel_statistics(images.shape[1]))
    levels = (images * std + mean).mul(255).round().clamp(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1)


def captions_of(items: Items, positions: Tensor, task: Task, vocab: Sequence[str]) -> list[str]:
    """Name the labels of some items; of points the file."""
    if task == "points":
        return [items.paths[position] for position in positions.tolist()]
    targets = items.targets[positions.numpy()]
    if task == "label":
        return [vocab[target] for target in targets]
    return [", ".join(vocab[int(i)] for i in np.flatnonzero(row > 0.5)) or NONE for row in targets]
