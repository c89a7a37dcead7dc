"""A frozen body's features, computed once per view and kept in scratch files."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from thaw.core.files import remove, replacing
from thaw.core.progress import track
from thaw.params.training.model import Precision
from thaw.training.augment import View
from thaw.training.batches import Images, gathered
from thaw.training.model import Network
from thaw.training.precision import autocast

BATCH = 64
MAX_BYTES = 4 * 10**9


class FeatureCache:
    """Feature files under one key; the oldest other keys make room when it grows too large.

    Args:
        root: scratch folder of all keys.
        key: hash of all that features depend on: images, items, weights, views, number format.
        max_bytes: of all keys together; what does not fit is computed again each time.
    """

    def __init__(self, root: Path, key: str, max_bytes: int = MAX_BYTES) -> None:
        self.root, self.folder, self.max_bytes = root, root / key, max_bytes

    def get(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return the features `name`, float32 [n, features], computing them if need be."""
        path = self.folder / f"{name}.safetensors"
        with contextlib.suppress(FileNotFoundError, SafetensorError):  # a broken file is no file
            return load_file(path)["features"]
        features = compute()
        if self._make_room(features.numel() * features.element_size()):
            with replacing(path) as part:
                save_file({"features": features}, part)
        return features

    def _make_room(self, needed: int) -> bool:
        if _bytes(self.folder) + needed > self.max_bytes:  # would not fit in any case
            return False
        others = [f for f in self.root.glob("*") if f.is_dir() and f != self.folder]
        others.sort(key=lambda folder: folder.stat().st_mtime)
        while others and _bytes(self.root) + needed > self.max_bytes:
            remove(others.pop(0))
        return _bytes(self.root) + needed <= self.max_bytes


def _bytes(root: Path) -> int:
    return sum(file.stat().st_size for file in root.rglob("*.safetensors"))


@torch.no_grad()
def compute_features(
    network: Network, images: Images, view: View, precision: Precision, label: str
) -> Tensor:
    """Run the body, in eval mode, over all images seen through one view.

    Returns:
        float32 [n, features] on the CPU.
    """
    network.eval()
    batches = torch.arange(len(images.rows)).split(BATCH)
    canvases = track(images.canvases(batches), len(batches), label)

    def features() -> Iterator[Tensor]:
        for positions, canvas in zip(batches, canvases, strict=True):
            with autocast(precision, images.device):
                part = network.features(images.see(canvas, positions, view))
            yield part.float().cpu()

    return gathered(features(), len(images.rows))
