"""What passes through a model, layer by layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """What is left of a tensor when it is only told of.

    Attributes:
        name: of the step that made it.
        shape: of the tensor.
        dtype: as numpy and torch name it.
        low, high: its smallest and largest value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float


@dataclass(frozen=True)
class Layer:
    """A layer and what it made of a batch.

    Attributes:
        kind: the module's class; empty for what is no module of its own.
        group: of the parameters, which have a learning rate together.
        output: of the layer.
        parameters: how many it has.
        frozen: how many of them train while the body is frozen.
        unfrozen: how many train when it is not.
    """

    kind: str
    group: str
    output: Step
    parameters: int = 0
    frozen: int = 0
    unfrozen: int = 0


def step(name: str, values: np.ndarray | Tensor) -> Step:
    """Measure an array of any shape, not empty."""
    tensor = torch.as_tensor(np.array(values) if isinstance(values, np.ndarray) else values)
    dtype = str(tensor.dtype).removeprefix("torch.")
    low, high = tensor.min().item(), tensor.max().item()
    return Step(name, tuple(tensor.shape), dtype, low, high)


@contextmanager
def recorded(modules: Mapping[str, nn.Module]) -> Iterator[list[Step]]:
    """Note inside of the block what modules put out, in the order in which they are run.

    Noted at once, as a later layer may work in place.

    Args:
        modules: by the name to note them under.
    """
    steps: list[Step] = []

    def note(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, inputs, output: steps.append(step(name, output))

    hooks = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def blocks(name: str, module: nn.Module) -> dict[str, nn.Module]:
    """Name the children of a module, and of a sequence among them its own children."""
    found: dict[str, nn.Module] = {}
    for child_name, child in module.named_children():
        inner = child.named_children() if isinstance(child, nn.Sequential) else [("", child)]
        found |= {".".join(filter(None, (name, child_name, part))): m for part, m in inner}
    return found


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Count the numbers that parameters have."""
    return sum(parameter.numel() for parameter in parameters)


def trained(modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """Count each module's numbers that would train as things are."""
    return {n: count(p for p in m.parameters() if p.requires_grad) for n, m in modules.items()}
