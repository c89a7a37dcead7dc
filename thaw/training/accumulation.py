"""Gradients of a batch; in parts, where a GPU's memory does not hold it at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from thaw.core.errors import UserError
from thaw.params.training.model import Precision
from thaw.training.precision import autocast


class Gradients(Protocol):
    """What turns batches into gradients; `Accumulation`, unless a model has a quicker way."""

    parts: int

    def backward(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, scaler: torch.amp.GradScaler
    ) -> Tensor:
        """Give the parameters, which have none yet, the gradients of a batch; return its loss."""


@dataclass
class Accumulation:
    """Gradients by autograd.

    Attributes:
        loss: of outputs and targets, a mean over the batch.
        precision: resolved.
        device: of model and batches.
        stage: for messages.
        parts: in how many parts every batch goes through the model, one after the other. Doubled
            when memory runs out, and left so.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    precision: Precision
    device: torch.device
    stage: str
    parts: int = 1

    def backward(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, scaler: torch.amp.GradScaler
    ) -> Tensor:
        """Add the gradients of a batch's mean loss to the parameters, which have none yet.

        In parts they are the same up to rounding if no item's output depends on other items (batch
        norms in eval mode); a batch norm in training mode sees the parts.

        Args:
            model: in training mode.
            inputs: of the batch, [b, ...].
            targets: [b, ...].
            scaler: of fp16's gradients.

        Returns:
            The loss, detached.

        Raises:
            UserError: not even two items fit.
        """
        on_gpu = self.device.type == "cuda"
        random = torch.cuda.get_rng_state(self.device) if on_gpu else None
        while True:
            parts = max(1, min(self.parts, len(targets) // 2))
            try:
                return self._in_parts(model, inputs, targets, scaler, parts)
            except torch.OutOfMemoryError as error:
                if 2 * parts > len(targets) // 2:
                    raise UserError(
                        f"{self.stage}: the GPU's memory is too small, even for {len(targets)} "
                        f"items in {parts} parts. Choose a smaller augment.image_side or model, or "
                        f"a larger GPU. ({str(error).splitlines()[0]})"
                    ) from None
            # Out here: what failed was kept alive by the error.
            self.parts = 2 * parts
            model.zero_grad()
            if random is not None:  # dropout draws for the whole batch anew
                torch.cuda.set_rng_state(random, self.device)
            items = -(-len(targets) // parts)
            print(
                f"{self.stage}: the GPU's memory is too small for {items} items at once. A batch "
                f"goes in {self.parts} parts from now on; their gradients are added up, so that "
                "the optimizer sees the same batch.",
                flush=True,
            )

    def _in_parts(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        scaler: torch.amp.GradScaler,
        parts: int,
    ) -> Tensor:
        if parts == 1:
            return self._backward(model, inputs, targets, scaler, 1.0)
        pairs = zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True)
        losses = [
            self._backward(model, some, wanted, scaler, len(wanted) / len(targets))
            for some, wanted in pairs
        ]
        return torch.stack(losses).sum()

    def _backward(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        scaler: torch.amp.GradScaler,
        share: float,
    ) -> Tensor:
        with autocast(self.precision, self.device):
            outputs = model(inputs)
        loss = self.loss(outputs.float(), targets)
        if share < 1:
            loss = loss * share
        scaler.scale(loss).backward()
        return loss.detach()
