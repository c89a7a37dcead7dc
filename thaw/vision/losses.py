"""What each vision task minimises."""

from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from thaw.training.fit import Loss
from thaw.vision.task import Task

LOSSES: dict[Task, Loss] = {
    "label": cross_entropy,
    "labels": binary_cross_entropy_with_logits,
    "points": mse_loss,
}
