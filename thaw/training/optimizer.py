"""AdamW as fastai sets it up."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

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
    parts: list[dict[str, Any]] = []
    for index, group in enumerate(groups):
        trained = [p for p in group if p.requires_grad]
        decayed = [p for p in trained if id(p) not in undecayed]
        others = [p for p in trained if id(p) in undecayed]
        for params, decay in ((decayed, weight_decay), (others, 0.0)):
            if params:
                parts.append({"params": params, "weight_decay": decay, "group": index})
    everything = [parameter for part in parts for parameter in part["params"]]
    one_on_cpu = len(everything) == 1 and everything[0].device.type == "cpu"
    kind = OneTensorAdamW if one_on_cpu else torch.optim.AdamW
    # Fused: one pass over the memory instead of ten, where it counts: in small steps.
    return kind(parts, lr=0.0, betas=(0.9, 0.99), eps=1e-5, fused=True)


class OneTensorAdamW(torch.optim.AdamW):
    """AdamW of one tensor, on the CPU, without what torch's looks up and notes at each step.

    The same update, of which torch's own work around it is otherwise as much again.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the tensor; the first time as torch does, which also makes the moments."""
        (group,) = self.param_groups
        (parameter,) = group["params"]
        state = self.state[parameter]
        scaled = hasattr(self, "grad_scale")  # by a GradScaler, for this step
        if closure is not None or scaled or not state or parameter.grad is None:
            return super().step(closure)
        beta1, beta2 = group["betas"]
        adamw(
            [parameter],
            [parameter.grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        return None

    step.hooked = True  # type: ignore[attr-defined]  # or torch wraps it in a range for profilers

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient."""
        self.param_groups[0]["params"][0].grad = None


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
