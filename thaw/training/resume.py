"""Resume checkpoints: one safetensors file, replaced after each epoch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from thaw.core.files import remove, replacing
from thaw.training.smoothing import Smoothed

if TYPE_CHECKING:
    from thaw.training.fit import History


class Checkpoint:
    """The state of a fit after its last finished epoch.

    Args:
        folder: holds the checkpoints of this fit alone; ones under other keys are stale and are
            removed when a new one is written.
        key: hash of everything that the result depends on.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.safetensors"

    def save(
        self,
        epoch: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        history: "History",
        smoothed: Smoothed,
    ) -> None:
        """Write the state from which epoch number `epoch` starts."""
        tensors, numbers = flatten(optimizer.state_dict()["state"])
        tensors |= {f"model/{name}": t for name, t in model.state_dict().items()}
        state = {
            "epoch": epoch,
            "optimizer": numbers,
            "scaler": scaler.state_dict(),
            "history": vars(history),  # not asdict: it would copy every row of every epoch
            "smoothed": vars(smoothed),
        }
        with replacing(self.path) as part:
            save_file(
                {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
                part,
                {"state": json.dumps(state)},
            )
        for other in self.path.parent.glob("*.safetensors"):
            if other != self.path:
                remove(other)

    def load(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        history: "History",
        smoothed: Smoothed,
    ) -> int:
        """Put everything back as it was and return the epoch to go on with; 0 if there is none.

        A checkpoint that a broken disk left unreadable is said, removed, and counts as none.
        """
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            print(f"{self.path} cannot be read ({error}): starting anew", flush=True)
            self.delete()
            return 0
        model.load_state_dict(
            {name.removeprefix("model/"): t for name, t in tensors.items() if "model/" in name}
        )
        restored = unflatten(tensors, state["optimizer"])
        optimizer.load_state_dict(optimizer.state_dict() | {"state": restored})
        keep_memory_format(optimizer)
        scaler.load_state_dict(state["scaler"])
        history.epochs, history.steps = state["history"]["epochs"], state["history"]["steps"]
        history.parts = state["history"]["parts"]
        smoothed.total, smoothed.count = state["smoothed"]["total"], state["smoothed"]["count"]
        print(f"resuming at epoch {state['epoch']}", flush=True)
        return int(state["epoch"])

    def delete(self) -> None:
        """Remove it, once its fit's outputs are in place."""
        remove(self.path)


def flatten(state: dict[int, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Split an optimizer's state into named tensors and named numbers."""
    entries = {
        f"optimizer/{index}/{name}": value
        for index, values in state.items()
        for name, value in values.items()
    }
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    numbers = {name: value for name, value in entries.items() if not isinstance(value, Tensor)}
    return tensors, numbers


def unflatten(tensors: dict[str, Tensor], numbers: dict[str, float]) -> dict[int, dict[str, Any]]:
    """Undo `flatten`."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in (tensors | numbers).items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            index, _, entry = rest.partition("/")
            state.setdefault(int(index), {})[entry] = value
    return state


def keep_memory_format(optimizer: torch.optim.Optimizer) -> None:
    """Lay moments out as their parameters are: vectorised sums depend on it in the last bit."""
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
