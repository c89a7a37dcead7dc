"""The learning-rate range test (Smith 2015, section 3.3)."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from thaw.core.progress import track
from thaw.core.randomness import seeded
from thaw.params.training.lr_test import LRTest
from thaw.params.training.model import Precision
from thaw.training.accumulation import Accumulation
from thaw.training.batches import Batches
from thaw.training.fit import Loss
from thaw.training.lr_curve import Curve
from thaw.training.optimizer import build_adamw, set_step
from thaw.training.precision import gradient_scaler
from thaw.training.schedule import Step
from thaw.training.smoothing import Smoothed

MOMENTUM = 0.9  # and this decay are fastai's when a test runs before any fit
WEIGHT_DECAY = 0.01
DIVERGED = 4.0  # times the best smoothed loss, fastai's rule


def range_lrs(plan: LRTest) -> list[float]:
    """Return the learning rates of the test, from `start` (first) towards `end` (not reached)."""
    return [plan.start * (plan.end / plan.start) ** (k / plan.steps) for k in range(plan.steps)]


def lr_range_test(
    model: nn.Module,
    batches: Batches,
    plan: LRTest,
    *,
    stage: str,
    seed: int,
    groups: Sequence[Sequence[nn.Parameter]],
    loss: Loss,
    precision: Precision,
    device: torch.device,
    training_mode: Callable[[nn.Module], Any],
) -> Curve:
    """Train for a few batches at ever larger learning rates, and forget it.

    Stops when the smoothed loss is four times its best, or no number. Weights, buffers and
    every random generator are left as they were found, and the optimizer is the test's own.

    Args:
        model: in the state to be tested, `requires_grad` included.
        batches: training items; as many epochs as it takes.
        plan: range and number of steps.
        stage: names the random generators.
        seed: the recipe's.
        groups: the model's parameters, a list per group; all get the same rate.
        loss: of outputs and targets.
        precision: resolved.
        device: of model and batches.
        training_mode: puts the model into the phase's training mode.
    """
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    was_training = {name: module.training for name, module in model.named_modules()}
    optimizer = build_adamw(model, groups, WEIGHT_DECAY)
    scaler = gradient_scaler(precision, device)
    gradients = Accumulation(loss, precision, device, stage)
    curve, smoothed = Curve([], [], []), Smoothed()
    stream = itertools.chain.from_iterable(batches.train(epoch) for epoch in itertools.count())
    try:
        training_mode(model)
        with seeded(seed, stage, "dropout"):
            rates = track(range_lrs(plan), plan.steps, stage, brief=True)
            for lr, (inputs, targets) in zip(rates, stream, strict=False):
                set_step(optimizer, Step([lr] * len(groups), MOMENTUM))
                batch_loss = gradients.backward(model, inputs, targets, scaler)
                curve.lr.append(lr)
                curve.loss.append(batch_loss.item())
                curve.smoothed.append(smoothed.add(curve.loss[-1]))
                if diverged(curve.smoothed):
                    break
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
    finally:
        optimizer.zero_grad()
        model.load_state_dict(before)
        for name, module in model.named_modules():
            module.training = was_training[name]
    return curve


def diverged(smoothed: Sequence[float]) -> bool:
    """Say whether the last smoothed loss is beyond four times the best, or no number."""
    return not (math.isfinite(smoothed[-1]) and smoothed[-1] <= DIVERGED * min(smoothed))
