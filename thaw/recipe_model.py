"""Take the body out of another recipe's model: files alone, no torch."""

from pathlib import Path

from safetensors.numpy import load_file, save_file

from thaw.core.errors import UserError
from thaw.core.files import read_json, replacing
from thaw.params.training.model import Model

PREFIX = "body."


def model_channels(source: Path, model: Model) -> int:
    """Return the channels of a recipe's model.

    Args:
        source: another recipe's ``model.safetensors``, with its ``model.json`` beside it.
        model: the section of the recipe that wants its body.

    Raises:
        UserError: the other recipe's body is of another architecture.
    """
    other = read_json(source.with_name("model.json"))["model"]
    if other["arch"] != model.arch:
        raise UserError(
            f"weights.source: {source} has model.arch {other['arch']}, this recipe {model.arch}. "
            "Give both recipes the same model.arch."
        )
    return int(other["channels"])


def extract_body(source: Path, target: Path) -> None:
    """Write the body's tensors of a recipe's model under torchvision's names.

    Args:
        source: another recipe's ``model.safetensors``.
        target: the file to write.
    """
    tensors = load_file(source)
    body = {n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)}
    with replacing(target) as part:
        save_file(body, part)
    print(f"body: {len(body)} tensors of {source}")
