"""A finished vision model, ready for images that nobody has packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from thaw.images import Decoded
from thaw.pack import pack_in_memory
from thaw.params.training.model import Precision
from thaw.training.augment import points_in_image
from thaw.training.batches import Images
from thaw.training.model import Network, build_network, load_weights
from thaw.training.precision import autocast, choose_precision, keep_depthwise_fp32
from thaw.vision.compiled_body import fold_and_compile
from thaw.vision.folding import fold_batch_norms
from thaw.vision.model_file import ModelFile, read_model_file

# Bytes. All images of a part have canvases as large as its largest image.
MAX_CANVASES = 2**28
MANY = 500  # images, over which a body's compiling pays


@dataclass(frozen=True)
class Predictor:
    """A model in eval mode, and what is known of it.

    Attributes:
        about: the content of ``model.json``.
        network: on `device`.
        device: where it computes.
        precision: what it computes in.
    """

    about: ModelFile
    network: Network
    device: torch.device
    precision: Precision

    @torch.inference_mode()
    def outputs(self, images: Sequence[Decoded]) -> NDArray[np.float32]:
        """Answer as validation does.

        Args:
            images: decoded with the model's `presize`; one at least.

        Returns:
            float32 [n, outputs]: logits, or x and y of points in pixels of the upright originals.
        """
        return np.concatenate([self._outputs(part) for part in on_canvases(images)])

    def _outputs(self, images: Sequence[Decoded]) -> NDArray[np.float32]:
        packed = pack_in_memory(images)
        everything = torch.arange(len(images))
        seen = Images(packed, everything, torch.zeros(len(images)), self.about.augment, self.device)
        view = seen.plain()
        with autocast(self.precision, self.device):
            outputs = self.network(seen.render(everything, view)).float().cpu()
        if self.about.task != "points":
            logits: NDArray[np.float32] = outputs.numpy()
            return logits
        return packed.to_pixels(everything.numpy(), points_in_image(outputs, view).numpy())


def on_canvases(images: Sequence[Decoded]) -> Iterator[Sequence[Decoded]]:
    """Split images, in order, so that those of a part fit on canvases of at most so many bytes."""
    first, height, width = 0, 0, 0
    for position, image in enumerate(images):
        sides = image.pixels.shape
        height, width = max(height, sides[0]), max(width, sides[1])
        count = position - first + 1
        if count > 1 and count * height * width * sides[2] > MAX_CANVASES:
            yield images[first:position]
            first, (height, width) = position, sides[:2]
    yield images[first:]


def open_predictor(folder: Path, images: int = 1) -> Predictor:
    """Load a model as `open_model` does, made quick for answers where that changes none.

    Args:
        folder: with ``model.json`` and ``model.safetensors``.
        images: how many will be answered; of many, a body that gains from it is compiled.
    """
    predictor = open_model(folder)
    if predictor.precision != "fp32":  # only there is the difference no more than rounding
        return predictor
    made_quick = fold_and_compile if images >= MANY else fold_batch_norms
    return replace(predictor, network=made_quick(predictor.network))


def open_as_validated(folder: Path) -> Predictor:
    """Load a model as `open_model` does, made to compute what validation did, to the last bit.

    That is with the same threads, on the same kind of processor, and of the same batches; in other
    batches the last digits differ (canvases are as large as their largest image).
    """
    from thaw.vision.fixed_norms import apply_norms_in_convolutions, norms_are_applied

    predictor = open_model(folder)
    if predictor.precision == "bf16" and predictor.device.type == "cpu":
        keep_depthwise_fp32(predictor.network)  # whose norms stay layers of their own
    if norms_are_applied(predictor.precision, predictor.about.model.train_bn):
        apply_norms_in_convolutions(predictor.network.body)
    return predictor


def open_model(folder: Path) -> Predictor:
    """Load a model on the GPU if there is one, else on the CPU.

    Args:
        folder: with ``model.json`` and ``model.safetensors``.

    Raises:
        UserError: the two files do not belong together, or are of another version.
    """
    about = read_model_file(folder / "model.json")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    same = about.device == device.type
    network = build_network(about.model, about.outputs, seed=0)
    precision = about.precision if same else choose_precision("auto", device, network)
    load_weights(folder / "model.safetensors", network)
    network.to(device).eval()
    return Predictor(about, network, device, precision)
