"""What each vision task minimises."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from thaw.vision.task import Task

LOSSES: dict[Task, Callable[[Tensor, Tensor], Tensor]] = {
    "label": cross_entropy,
    "labels": binary_cross_entropy_with_logits,
    "points": mse_loss,
}
