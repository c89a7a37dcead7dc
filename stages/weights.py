"""Bring the body's weights into one form: `python -m stages weights RECIPE`."""

import os
from pathlib import Path

from stages.common.paths import SCRATCH, Paths
from thaw.core.errors import UserError
from thaw.params.base import Seed, params
from thaw.params.download import Download
from thaw.params.training.model import Model
from thaw.params.weights import Weights, is_recipe_model
from thaw.recipe_model import extract_body, model_channels


@params
class Params:
    """The sections that this stage reads."""

    seed: Seed
    model: Model
    weights: Weights


def run(params: Params, paths: Paths) -> None:
    """Write the body's weights, verified, as safetensors with torchvision's names."""
    source, model = params.weights.source, params.model
    if is_recipe_model(source) and model_channels(Path(source), model) == model.channels:
        extract_body(Path(source), paths.pretrained)
    else:
        write_body(params, paths)


def write_body(params: Params, paths: Paths) -> None:
    """Build the architecture, fill it from the source, and write it."""
    from thaw.core.randomness import seeded
    from thaw.training.body import (
        adapt_first_convolution,
        build_body,
        input_channels,
        replace_first_convolution,
    )
    from thaw.training.model import save_weights
    from thaw.weights import load_body, read_state, state_channels

    arch, source = params.model.arch, params.weights.source
    with seeded(params.seed, "weights", "body"):
        if source == "none":
            body = build_body(arch, params.model.channels)
        else:
            state = read_state(local_file(source, arch, paths))
            body = build_body(arch)
            channels = state_channels(body, state)
            if channels != 3:
                replace_first_convolution(body, channels)
            load_body(body, state, source)
    if input_channels(body) != params.model.channels:
        adapt_first_convolution(body, params.model.channels)
    save_weights(paths.pretrained, body)


def local_file(source: str, arch: str, paths: Paths) -> Path:
    """Return the verified local file of a source, fetched first if it has an address."""
    if is_recipe_model(source):  # DVC's, made in this project
        return Path(source)
    from thaw.weights import check_hash_in_name, torchvision_address

    if source.startswith("torchvision:"):
        source = torchvision_address(arch, source.removeprefix("torchvision:"))
    path = Path(source).expanduser()
    if source.startswith(("http://", "https://", "file://")):
        from thaw.fetch import fetch

        path = fetch(
            Download(url=source),
            SCRATCH / "weights" / paths.recipe,
            where=f"recipes.{paths.recipe}.weights",
            mirror=os.environ.get("THAW_MIRROR"),
        )
    if not path.is_file():
        raise UserError(
            f"recipes.{paths.recipe}.weights.source: there is no file {path}. Give a path from the "
            "project's folder, or an address."
        )
    check_hash_in_name(path)
    return path
