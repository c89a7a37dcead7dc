"""Where batches come from: live augmented images, or features computed once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from thaw.core.randomness import generator
from thaw.pack import Packed
from thaw.params.training.augment import Augment
from thaw.training.augment import View, move_points, plain_view, random_view, render
from thaw.training.body import channel_statistics

RESIDENT_SHARE = 0.5  # of a GPU's free memory that packed pixels may take


class Batches(Protocol):
    """Batches of (inputs, targets) on the training device."""

    @property
    def items(self) -> int:
        """Number of training items."""

    @property
    def valid_items(self) -> int:
        """Number of validation items."""

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield an epoch of shuffled training batches, the same for the same epoch."""

    def valid(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation items in order."""


@dataclass(frozen=True)
class Images:
    """Some packed images and their targets.

    Attributes:
        packed: the packed file.
        rows: int64 [n], their positions in it.
        targets: int64 [n], classes; or float [n, classes], 1 for each label; or float
            [n, 2 * points], x and y of points in the image's [-1, 1].
        augment: the recipe's section.
        device: where pixels become floats.
        points: whether targets are places, which move as the image does.
        resident: all packed pixels on the device, if they fit there (`resident_pixels`).
    """

    packed: Packed
    rows: Tensor
    targets: Tensor
    augment: Augment
    device: torch.device
    points: bool = False
    resident: Tensor | None = None

    @cached_property
    def shapes(self) -> Tensor:
        """Height and width of each image, int64 [n, 2]."""
        index = self.rows.numpy()
        return torch.from_numpy(
            np.stack([self.packed.heights[index], self.packed.widths[index]], 1).astype(np.int64)
        )

    def plain(self) -> View:
        """How validation sees these images."""
        return plain_view(self.shapes, self.augment)

    def random(self, seed: int, *purpose: str | int) -> View:
        """An augmented view of these images for one purpose."""
        return random_view(self.shapes, self.augment, generator(seed, *purpose))

    def epoch_view(self, seed: int, stage: str, epoch: int) -> View:
        """The augmented view of an epoch's live images."""
        return self.random(seed, stage, epoch, "augment")

    def cached_views(self, seed: int) -> dict[str, View]:
        """The augmented views that a frozen body's features are kept of, by name."""
        names = [f"view{number:03}" for number in range(self.augment.views)]
        return {name: self.random(seed, "views", name) for name in names}

    def targets_in(self, view: View) -> Tensor:
        """Return the targets as they are when the images are seen through a view."""
        return move_points(self.targets, view) if self.points else self.targets

    def canvas(self, positions: Tensor) -> Tensor:
        """Return the images at `positions`, int64 [b], on the device: uint8 [b, h, w, c].

        Each is in the top left corner of a canvas that the largest just fills.
        """
        height, width = (int(side) for side in self.shapes[positions].amax(0))
        shape = (len(positions), height, width, self.packed.channels)
        rows = self.rows[positions].tolist()
        if self.resident is not None:
            canvas = torch.zeros(shape, dtype=torch.uint8, device=self.device)
            for place, row in zip(canvas, rows, strict=True):
                image = self._resident_image(self.resident, row)
                place[: image.shape[0], : image.shape[1]] = image
            return canvas
        pinned = self.device.type == "cuda"  # so that the copy need not be waited for
        canvas = torch.zeros(shape, dtype=torch.uint8, pin_memory=pinned)
        for corner, row in zip(canvas.numpy(), rows, strict=True):
            pixels = self.packed.image(row)
            corner[: pixels.shape[0], : pixels.shape[1]] = pixels
        return canvas.to(self.device, non_blocking=pinned)

    def _resident_image(self, pixels: Tensor, row: int) -> Tensor:
        height, width = int(self.packed.heights[row]), int(self.packed.widths[row])
        start, channels = int(self.packed.offsets[row]), self.packed.channels
        return pixels[start : start + height * width * channels].view(height, width, channels)

    def canvases(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield `canvas` of each part.

        For a GPU the next one is filled meanwhile; for a CPU it is read from the disk meanwhile.
        """
        if self.resident is not None:
            return map(self.canvas, parts)
        if self.device.type == "cuda":
            return ahead(self.canvas, parts)
        return self._canvases_read_ahead(parts)

    def _canvases_read_ahead(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part, following in zip_longest(parts, parts[1:]):
            if following is not None:
                self.packed.read_ahead(self.rows[following].tolist())
            yield self.canvas(part)

    def render(self, positions: Tensor, view: View) -> Tensor:
        """Return the images at `positions`, int64 [b], as float [b, c, h, w] seen through `view`.

        Args:
            positions: into `rows`.
            view: of all of `rows`.
        """
        return self.see(self.canvas(positions), positions, view)

    def see(self, canvas: Tensor, positions: Tensor, view: View) -> Tensor:
        """Return what `render` does, from the canvas of the images at `positions`."""
        return render(
            canvas,
            self.shapes[positions],
            view.rows(positions),
            self.augment.height_width,
            *channel_statistics(self.packed.channels),
        )


def resident_pixels(packed: Packed, device: torch.device) -> Tensor | None:
    """Copy all packed pixels to a GPU, uint8 [bytes]; None if there is none, or no room."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if packed.pixels.nbytes > RESIDENT_SHARE * free:
        return None
    return torch.tensor(packed.pixels, device=device)


def ahead(make: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield what `make` makes of each part, in order, made one part ahead in a thread."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(make, part) for part in parts[:1])
        for part in parts[1:]:
            made = waiting.popleft().result()
            waiting.append(thread.submit(make, part))
            yield made
        yield from (last.result() for last in waiting)


@dataclass(frozen=True)
class ImageBatches:
    """Every epoch a fresh augmented view of every training image."""

    training: Images
    validation: Images
    batch_size: int
    seed: int
    stage: str

    @property
    def items(self) -> int:
        """Number of training items."""
        return len(self.training.rows)

    @property
    def valid_items(self) -> int:
        """Number of validation items."""
        return len(self.validation.rows)

    def training_targets(self, epoch: int) -> Tensor:
        """Return the targets of all training items as they are in an epoch's view."""
        return self.training.targets_in(self._view(epoch))

    def _view(self, epoch: int) -> View:
        return self.training.epoch_view(self.seed, self.stage, epoch)

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images float [b, c, h, w] and their targets."""
        view, targets = self._view(epoch), self.training_targets(epoch)
        order = shuffled(self.items, self.seed, self.stage, epoch)
        parts = chunks(order, self.batch_size)
        for positions, canvas in zip(parts, self.training.canvases(parts), strict=True):
            yield (
                self.training.see(canvas, positions, view),
                targets[positions].to(self.training.device),
            )

    def valid(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images float [b, c, h, w] and their targets."""
        view = self.validation.plain()
        parts = torch.arange(self.valid_items).split(self.batch_size)
        targets = self.validation.targets_in(view).split(self.batch_size)
        canvases = self.validation.canvases(parts)
        for positions, canvas, part in zip(parts, canvases, targets, strict=True):
            yield self.validation.see(canvas, positions, view), part.to(self.validation.device)


@dataclass(frozen=True)
class FeatureBatches:
    """A frozen body's pooled features, one view of the training images an epoch.

    Attributes:
        views: float [n, features] each.
        targets: of each view: int64 [n] or float [n, outputs].
        valid_features: float [m, features].
        valid_targets: int64 [m] or float [m, outputs].
    """

    views: Sequence[Tensor]
    targets: Sequence[Tensor]
    valid_features: Tensor
    valid_targets: Tensor
    batch_size: int
    seed: int
    stage: str

    @property
    def items(self) -> int:
        """Number of training items."""
        return len(self.targets[0])

    @property
    def valid_items(self) -> int:
        """Number of validation items."""
        return len(self.valid_targets)

    def training_targets(self, epoch: int) -> Tensor:
        """Return the targets of all training items as they are in an epoch's view."""
        return self.targets[epoch % len(self.views)]

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features float [b, features] and their targets."""
        features, targets = self.views[epoch % len(self.views)], self.training_targets(epoch)
        order = shuffled(self.items, self.seed, self.stage, epoch)
        for positions in chunks(order, self.batch_size):
            where = positions.to(features.device)
            yield features[where], targets[where]

    def valid(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all validation features at once."""
        yield self.valid_features, self.valid_targets


def gathered(parts: Iterable[Tensor], items: int) -> Tensor:
    """Concatenate what comes of one batch after the other, each part copied when it comes.

    Kept until the end, the parts would lie scattered among the memory that each batch frees, so
    that the next one's tensors did not fit there: an epoch's memory grew with its batches.

    Args:
        parts: [b, ...] each, one at least.
        items: in all of them together.

    Raises:
        ValueError: there are more or fewer.
    """
    whole, filled = None, 0
    for part in parts:
        if whole is None:
            whole = part.new_empty(items, *part.shape[1:])
        whole[filled : filled + len(part)] = part
        filled += len(part)
    if whole is None or filled != items:
        raise ValueError(f"{filled} of {items} items came.")
    return whole


def shuffled(items: int, seed: int, stage: str, epoch: int) -> Tensor:
    """Return the order of an epoch's training items, int64 [items]."""
    return torch.randperm(items, generator=generator(seed, stage, epoch, "shuffle"))


def chunks(order: Tensor, length: int) -> list[Tensor]:
    """Cut an order into batches; a last batch of one joins its neighbour.

    No item is dropped, and a batch norm never sees a single item (unless there is no other).
    """
    parts = list(order.split(length))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Return how many batches `chunks` makes of an epoch."""
    return len(chunks(torch.arange(items), batch_size))
