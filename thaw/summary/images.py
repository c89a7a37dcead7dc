"""Images: from a file through the packed pixels, augmentation's one matrix, body and head."""

import glob
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thaw.bands import reader
from thaw.core.files import read_json
from thaw.images import BadImageError, Pixels, Reader
from thaw.look.batch import captions_of
from thaw.pack import open_packed
from thaw.predictor import Predictor, open_model
from thaw.summary.steps import Layer, Step, blocks, count, recorded, step, trained
from thaw.training.augment import render
from thaw.training.batches import Images
from thaw.training.body import early_and_late
from thaw.training.model import freeze, unfreeze
from thaw.training.precision import autocast
from thaw.vision.items import Items, read_items
from thaw.vision.losses import LOSSES
from thaw.vision.split_images import split_images

LARGE = 2**20  # a short side in pixels that no image has: decoded as it is


@dataclass(frozen=True)
class Opened:
    """A finished recipe of images: its model, and what it was trained on."""

    model: Predictor
    items: Items
    images: Images
    raw: Path

    @property
    def read(self) -> Reader:
        """What decodes an item."""
        return reader(self.model.about.model.channels, self.model.about.bands)

    def batch(self, size: int) -> Tensor:
        """Return positions of training items, int64 [size] at most, spread evenly."""
        count = len(self.images.rows)
        return torch.linspace(0, count - 1, min(size, count), dtype=torch.float64).long()


def open_images(folder: Path) -> Opened:
    """Open a model and, beside its folder's parent, the data of the same recipe.

    Args:
        folder: such as ``models/pets``.

    Raises:
        UserError: something does not belong together.
        FileNotFoundError: some of the data is not there.
    """
    model, project, recipe = open_model(folder), folder.resolve().parents[1], folder.resolve().name
    data = project / "data" / recipe
    packed = open_packed(data / "packed")
    task, items = read_items(data / "items.parquet", packed, read_json(data / "vocab.json"))
    images = split_images(packed, items, task, model.about.augment, model.device)
    return Opened(model, items["train"], images["train"], data / "raw")


def said_of(opened: Opened, position: int) -> str:
    """Name an item: its path below the images' folder, and its labels or points in pixels."""
    items, about = opened.items, opened.model.about
    path = items.paths[position]
    if about.task == "points":
        target = items.table["target"].iloc[position]
        return f"{path}: ({', '.join(f'{value:.1f}' for value in target)})"
    label = captions_of(items, torch.tensor([position]), about.task, about.vocab)[0]
    return f"{path}: {label}"


def file_of(opened: Opened, position: int) -> Path | None:
    """Find the file that an item was packed from; None if it is not unpacked here.

    The model does not know which folder its images are in: it is the one whose file of that path
    decodes to the packed pixels.
    """
    path = glob.escape(opened.items.paths[position])
    pixels = packed_pixels(opened, position)
    for file in sorted(opened.raw.rglob(path)):
        try:
            decoded = opened.read(file, opened.model.about.presize).pixels
        except BadImageError:
            continue
        if np.array_equal(decoded, pixels):
            return file
    return None


def packed_pixels(opened: Opened, position: int) -> Pixels:
    """Return an item's packed pixels, uint8 [h, w, channels]."""
    return opened.images.packed.image(int(opened.images.rows[position]))


def file_steps(opened: Opened, position: int, file: Path | None) -> list[Step]:
    """Follow an item from its file to its place in the packed file."""
    decoded = [step("decoded, upright", opened.read(file, LARGE).pixels)] if file else []
    return [*decoded, step("packed", packed_pixels(opened, position))]


def batch_steps(
    opened: Opened, positions: Tensor, augmented: bool = False
) -> tuple[list[Step], Tensor, Tensor]:
    """Follow items from the packed file to what the body sees.

    Args:
        opened: the recipe.
        positions: of training items, int64 [b].
        augmented: look at them as training does, else as validation.

    Returns:
        The steps, normalised images float [b, c, h, w], and their targets, on the device.
    """
    images, about = opened.images, opened.model.about
    view = images.random(0, "summary") if augmented else images.plain()
    canvas = images.canvas(positions)
    targets = images.targets_in(view)[positions].to(images.device)
    shapes, seen = images.shapes[positions], view.rows(positions)
    side = about.augment.height_width
    channels = images.packed.channels
    unscaled = render(canvas, shapes, seen, side, (0.0,) * channels, (1.0,) * channels)
    normalised = images.see(canvas, positions, view)
    light = () if seen.lighting is None else (step("light, offset and factor", seen.lighting),)
    steps = [
        step(f"canvas on {images.device.type}", canvas),
        step("matrices, output to image", seen.matrices),
        *light,
        step("interpolated, relit" if light else "interpolated", unscaled),
        step("normalised", normalised),
        step("targets", targets),
    ]
    return steps, normalised, targets


@torch.inference_mode()
def model_layers(opened: Opened, images: Tensor, targets: Tensor) -> list[Layer]:
    """Follow a batch through body, pooling, head and loss, in eval mode.

    Pooled are the maxima of the body's maps, and after them their means.

    Args:
        opened: the recipe.
        images: normalised, float [b, 3, h, w].
        targets: as training has them.
    """
    network, about = opened.model.network, opened.model.about
    early, _ = early_and_late(network.body)
    body, head = blocks("", network.body), blocks("head", network.head)
    modules = body | head
    group = dict.fromkeys(body, "late") | dict.fromkeys(head, "head")
    group |= {name: "early" for name, module in body.items() if any(module is e for e in early)}
    freeze(network, about.model.train_bn)
    frozen = trained(modules)
    unfreeze(network)
    unfrozen = trained(modules)
    with autocast(opened.model.precision, opened.model.device):
        with recorded(body) as through_body:
            features = network.features(images)
        with recorded(head) as through_head:
            outputs = network.head(features)
    loss = LOSSES[about.task](outputs.float(), targets)
    layers = [
        Layer(
            kind=type(modules[made.name]).__name__,
            group=group[made.name],
            output=made,
            parameters=count(modules[made.name].parameters()),
            frozen=frozen[made.name],
            unfrozen=unfrozen[made.name],
        )
        for made in [*through_body, *through_head]
    ]
    layers.insert(len(through_body), Layer("", "", step("pooled", features)))
    name = "points" if about.task == "points" else "logits"
    return [*layers, Layer("", "", step(name, outputs)), Layer("", "", step("loss", loss))]
