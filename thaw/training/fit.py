"""The training loop: fit-one-cycle over batches, as the recipe reads."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thaw.core.errors import UserError
from thaw.core.progress import track
from thaw.core.randomness import seeded
from thaw.params.training.fit import OneCycle
from thaw.params.training.model import Precision
from thaw.training.accumulation import Accumulation, Gradients
from thaw.training.batches import Batches, gathered, steps_per_epoch
from thaw.training.optimizer import build_adamw, set_step
from thaw.training.precision import autocast, gradient_scaler
from thaw.training.resume import Checkpoint
from thaw.training.schedule import Step, one_cycle
from thaw.training.smoothing import Smoothed

Loss = Callable[[Tensor, Tensor], Tensor]
Measure = Callable[[Tensor, Tensor], dict[str, float]]
REMEDY = "Choose a smaller {stage}.lr, or precision: fp32 if it was fp16."


@dataclass
class History:
    """What a fit leaves behind.

    Attributes:
        epochs: a row each.
        steps: a row each.
        parts: in how many parts batches went through the model in the end.
        seconds: of each epoch that this process ran, training and validation.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    parts: int = 1
    seconds: list[float] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class Setting:
    """All that a fit needs besides model and batches.

    Attributes:
        stage: names the random generators.
        seed: the recipe's.
        plan: epochs and schedule.
        lrs: largest learning rate per group.
        groups: the model's parameters, a list per group.
        loss: of outputs and targets, a mean over the batch.
        measure: metrics of all outputs and targets of the validation items.
        precision: resolved.
        device: of model and batches.
        training_mode: puts the model into this phase's training mode.
        gradients: the model's own way to gradients of `loss`; None: autograd.
    """

    stage: str
    seed: int
    plan: OneCycle
    lrs: Sequence[float]
    groups: Sequence[Sequence[nn.Parameter]]
    loss: Loss
    measure: Measure
    precision: Precision
    device: torch.device
    training_mode: Callable[[nn.Module], Any]
    gradients: Gradients | None = None


def fit(
    model: nn.Module,
    batches: Batches,
    setting: Setting,
    checkpoint: Checkpoint,
    on_epoch: Callable[[History], None],
) -> History:
    """Fit a model with the one-cycle policy, from the last checkpoint if there is one.

    Args:
        model: trained in place; what may train is said by `requires_grad`.
        batches: training and validation items.
        setting: everything else.
        checkpoint: written after each epoch; a killed fit goes on from it and ends with the same
            bytes as one never killed.
        on_epoch: called with the history so far after each epoch.

    Raises:
        UserError: the loss became NaN or infinite, or not every item was seen.
    """
    plan = setting.plan
    epoch_steps = steps_per_epoch(batches.items, plan.batch_size)
    cycle = one_cycle(
        plan.epochs * epoch_steps,
        setting.lrs,
        pct_start=plan.pct_start,
        div=plan.div,
        div_final=plan.div_final,
        moms=plan.moms,
    )
    optimizer = build_adamw(model, setting.groups, plan.weight_decay)
    scaler = gradient_scaler(setting.precision, setting.device)
    history, smoothed = History(), Smoothed()
    first_epoch = checkpoint.load(model, optimizer, scaler, history, smoothed)
    gradients = setting.gradients or Accumulation(
        setting.loss, setting.precision, setting.device, setting.stage, history.parts
    )
    for epoch in range(first_epoch, plan.epochs):
        started = time.perf_counter()
        steps = cycle[epoch * epoch_steps : (epoch + 1) * epoch_steps]
        losses = train_one_epoch(
            model, batches, epoch, steps, optimizer, scaler, setting, gradients
        )
        history.parts = gradients.parts
        history.steps += step_rows(epoch * epoch_steps, losses, steps, smoothed)
        history.epochs.append(
            {"epoch": epoch, "train_loss": history.steps[-1]["loss"]}
            | validate(model, batches, setting)
            | {"lr": steps[-1].lrs[-1]}
        )
        history.seconds.append(time.perf_counter() - started)
        checkpoint.save(epoch + 1, model, optimizer, scaler, history, smoothed)
        on_epoch(history)
        print(epoch_line(history.epochs[-1], history.seconds[-1]), flush=True)
    return history


def train_one_epoch(
    model: nn.Module,
    batches: Batches,
    epoch: int,
    steps: Sequence[Step],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    setting: Setting,
    gradients: Gradients,
) -> list[float]:
    """Train on every item once; return the loss of each batch.

    Raises:
        UserError: a loss that is not a number, or items missed.
    """
    setting.training_mode(model)
    losses, seen = [], 0
    shown = track(batches.train(epoch), len(steps), f"{setting.stage}, epoch {epoch}", brief=True)
    with seeded(setting.seed, setting.stage, epoch, "dropout"):
        for step, (inputs, targets) in zip(steps, shown, strict=True):
            set_step(optimizer, step)
            losses.append(gradients.backward(model, inputs, targets, scaler))
            scaler.step(optimizer)  # skipped by the scaler if a gradient overflowed
            scaler.update()
            optimizer.zero_grad()
            seen += len(targets)
    return checked_losses(torch.stack(losses).tolist(), seen, batches.items, epoch, setting.stage)


def checked_losses(
    losses: list[float], seen: int, items: int, epoch: int, stage: str
) -> list[float]:
    """Refuse an epoch that went wrong."""
    if seen != items:
        raise UserError(f"{stage}: epoch {epoch} saw {seen} of {items} training items.")
    bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if bad is not None:
        raise UserError(
            f"{stage}: the loss became {losses[bad]} in epoch {epoch}, batch {bad}. "
            f"{REMEDY.format(stage=stage)}"
        )
    return losses


def validate(model: nn.Module, batches: Batches, setting: Setting) -> dict[str, float]:
    """Measure loss and metrics on the validation items.

    Raises:
        UserError: a loss that is not a number.
    """
    outputs, targets = predict(model, batches, setting.precision, setting.device)
    loss = float(setting.loss(outputs, targets))
    if not math.isfinite(loss):
        raise UserError(
            f"{setting.stage}: the validation loss became {loss}. "
            f"{REMEDY.format(stage=setting.stage)}"
        )
    return {"valid_loss": loss} | setting.measure(outputs, targets)


@torch.no_grad()
def predict(
    model: nn.Module,
    batches: Batches,
    precision: Precision,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Run a model in eval mode on the validation items.

    Returns:
        outputs float32 [n, outputs] and targets [n], in the batches' order.
    """
    model.eval()
    targets = []

    def outputs() -> Iterator[Tensor]:
        for inputs, batch_targets in batches.valid():
            targets.append(batch_targets)
            with autocast(precision, device):
                answers = model(inputs).float()
            yield answers

    return gathered(outputs(), batches.valid_items), torch.cat(targets)


def step_rows(
    first: int, losses: Sequence[float], steps: Sequence[Step], smoothed: Smoothed
) -> list[dict[str, float]]:
    """Make a row of batches.csv for each step of an epoch; the loss is smoothed as fastai's."""
    return [
        {
            "step": first + i,
            "loss": smoothed.add(loss),
            "lr": step.lrs[-1],
            "momentum": step.momentum,
        }
        for i, (loss, step) in enumerate(zip(losses, steps, strict=True))
    ]


def epoch_line(row: dict[str, float], seconds: float) -> str:
    """Format an epoch as fastai prints it: its number, losses, metrics and time."""
    cells = [f"{name} {value:.6f}" for name, value in row.items() if name not in ("epoch", "lr")]
    minutes, rest = divmod(round(seconds), 60)
    return f"epoch {int(row['epoch'])}  " + "  ".join(cells) + f"  time {minutes:02d}:{rest:02d}"
