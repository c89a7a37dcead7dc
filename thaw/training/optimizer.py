"""AdamW as fastai sets it up."""

from collections.abc import Sequence

import torch
from torch import nn

from thaw.training.model import NORMS
from thaw.training.schedule import Step


def build_adamw(
    model: nn.Module, groups: Sequence[Sequence[nn.Parameter]], weight_decay: float
) -> torch.optim.AdamW:
    """Build an AdamW (Loshchilov and Hutter 2019) over what may train, by parameter group.

    Betas are (scheduled, 0.99) and epsilon 1e-5, fastai's values. Norms and biases do not decay.

    Args:
        model: holds the parameters; tells norms and biases from the rest.
        groups: parameters from early to late.
        weight_decay: decoupled decay of the others.

    Returns:
        An optimizer whose parameter groups carry `group`, their index in `groups`.
    """
    undecayed = {id(p) for p in _norms_and_biases(model)}
    parts = []
    for index, group in enumerate(groups):
        trained = [p for p in group if p.requires_grad]
        decayed = [p for p in trained if id(p) not in undecayed]
        others = [p for p in trained if id(p) in undecayed]
        for params, decay in ((decayed, weight_decay), (others, 0.0)):
            if params:
                parts.append({"params": params, "weight_decay": decay, "group": index})
    # Fused: one pass over the memory instead of ten, where it counts: in small steps.
    return torch.optim.AdamW(parts, lr=0.0, betas=(0.9, 0.99), eps=1e-5, fused=True)


def set_step(optimizer: torch.optim.Optimizer, step: Step) -> None:
    """Give every parameter group its learning rate and momentum."""
    for part in optimizer.param_groups:
        part["lr"] = step.lrs[part["group"]]
        part["betas"] = (step.momentum, part["betas"][1])


def _norms_and_biases(model: nn.Module) -> list[nn.Parameter]:
    return [
        parameter
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, NORMS)
    ]
