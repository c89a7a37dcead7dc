"""The packed images of each split, ready to be looked at in batches."""

from collections.abc import Mapping

import torch

from thaw.pack import Packed
from thaw.params.training.augment import Augment
from thaw.training.batches import Images, resident_pixels
from thaw.vision.items import Items
from thaw.vision.task import Task


def split_images(
    packed: Packed, parts: Mapping[str, Items], task: Task, augment: Augment, device: torch.device
) -> dict[str, Images]:
    """Return the images and targets of each split.

    Args:
        packed: the packed file.
        parts: the items of each split.
        task: says whether targets are points, which move as the image does.
        augment: the recipe's section.
        device: where pixels become floats.
    """
    resident = resident_pixels(packed, device)
    return {
        split: Images(
            packed,
            torch.from_numpy(part.rows),
            torch.from_numpy(part.targets),
            augment,
            device,
            points=task == "points",
            resident=resident,
        )
        for split, part in parts.items()
    }
