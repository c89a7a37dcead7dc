"""Bodies' weights: from a file, an address, torchvision, or another recipe; always verified."""

import re
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from thaw.core.errors import UserError
from thaw.core.files import file_sha256, hash_in_name
from thaw.params.base import did_you_mean
from thaw.training.model import state_differences

# torchvision's files of DenseNets are older than its names: norm.1 is norm1 by now.
OLD_DENSENET_NAME = re.compile(r"(\bdenselayer\d+\.(?:norm|conv))\.([12]\.)")


def check_hash_in_name(path: Path) -> None:
    """Compare a file with the hash that its name carries, if it carries one.

    Raises:
        UserError: the content has another hash.
    """
    named = hash_in_name(path.name)
    if named is None:
        print(f"{path.name} carries no hash in its name: its content is not verified.")
        return
    actual = file_sha256(path)
    if not actual.startswith(named):
        raise UserError(
            f"{path} is damaged or not what its name says: SHA-256 {actual[:12]}… does not begin "
            f"with {named}. Fetch it again."
        )


def read_state(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a `.safetensors` or a `.pth` file; nothing else is unpickled.

    Raises:
        UserError: the file is missing, unreadable, or holds something other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"weights.source: there is no file {path}.") from None
    except UnpicklingError:  # torch's own message tells how to run the code in it all the same
        raise UserError(
            f"{path} is no file of weights, or has more in it than tensors, which could run code. "
            "Save a state_dict, best as safetensors."
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as weights ({reason}). Only tensors are accepted: save a "
            "state_dict, best as safetensors."
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} is not a state_dict: it must map names to tensors.")
    return dict(state)


def load_body(body: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load a body from a whole model's tensors, torchvision's or one of this project.

    Tensors of the old classifier are left out and counted.

    Args:
        body: made by `build_body` for as many channels as `state_channels` finds.
        state: names as torchvision gives them, or with a leading ``body.``.
        source: for messages.

    Raises:
        UserError: the tensors belong to another architecture.
    """
    state = body_names(state)
    wanted = body.state_dict()
    # Files of torch < 0.4.1 lack the counters of seen batches, which nothing reads here.
    counters = {n: t for n, t in wanted.items() if n.endswith("num_batches_tracked")}
    given = counters | {name: t for name, t in state.items() if name in wanted}
    differences = state_differences(given, wanted)
    if differences:
        raise UserError(
            f"weights.source: {source} does not fit model.arch: {'; '.join(differences[:3])}. "
            "Is it another architecture's?"
        )
    body.load_state_dict(given)
    print(f"body: {len(given)} tensors loaded, {len(set(state) - set(wanted))} others left out")


def state_channels(body: nn.Module, state: dict[str, Tensor]) -> int:
    """Return the colour channels of a model's first convolution; 3 if it has none.

    Args:
        body: tells which convolution is the first (files need not keep the order).
        state: as `load_body` takes it.
    """
    first = next(n for n, m in body.named_modules() if isinstance(m, nn.Conv2d))
    weight = body_names(state).get(f"{first}.weight")
    return 3 if weight is None or weight.ndim != 4 else weight.shape[1]


def body_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name a whole model's tensors as its body does; of this project's models, the body alone."""
    if any(name.startswith("body.") for name in state):
        state = {n.removeprefix("body."): t for n, t in state.items() if n.startswith("body.")}
    return {OLD_DENSENET_NAME.sub(r"\1\2", name): tensor for name, tensor in state.items()}


def torchvision_address(arch: str, name: str) -> str:
    """Return the address of torchvision's weights of an architecture.

    Args:
        arch: torchvision's name.
        name: such as ``IMAGENET1K_V1`` or ``DEFAULT``.

    Raises:
        UserError: unknown, with the names there are.
    """
    import torchvision.models  # costs seconds

    known = torchvision.models.list_models(module=torchvision.models)
    if arch not in known:
        raise UserError(f"model.arch: {arch!r} is not in torchvision; {did_you_mean(arch, known)}")
    choices = torchvision.models.get_model_weights(arch)
    if name not in choices.__members__:
        raise UserError(
            f"weights.source: {arch} has no weights {name!r}; "
            f"{did_you_mean(name, list(choices.__members__))}"
        )
    return str(choices[name].url)
