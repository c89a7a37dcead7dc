"""A training step of the dot product: gradients by hand over one tensor, beside autograd and torch.

    python -m benchmarks.ratings_step

As many users and items as MovieLens 100k has, 50 factors with biases, batches of 64, one thread, in
one process, in turn. Prints milliseconds a step, median and least, and the loss of the last steps,
which says whether all did the same.
"""

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from stages.common.torch_setup import set_up_torch
from thaw.params.ratings_model import RatingsModel
from thaw.ratings.gradients import DotProductGradients
from thaw.ratings.model import RatingsNetwork, build_ratings_network
from thaw.training.optimizer import OneTensorAdamW

USERS, ITEMS, BATCH, STEPS, ROUNDS = 943, 1_664, 64, 1_250, 8
OPTIONS = {"lr": 5e-3, "betas": (0.9, 0.99), "eps": 1e-5, "weight_decay": 0.1, "fused": True}
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def main() -> None:
    """Run all ways in turn and print."""
    set_up_torch(threads=1)
    pairs = torch.stack([torch.randint(1, n + 1, (BATCH * STEPS,)) for n in (USERS, ITEMS)])
    ratings = torch.randint(1, 6, (BATCH * STEPS, 1)).float()
    ways: dict[str, Callable[[Iterator[tuple[Tensor, Tensor]]], list[Tensor]]] = {
        "autograd, torch's AdamW": by_autograd,
        "by hand, torch's AdamW": lambda batches: by_hand(batches, torch.optim.AdamW),
        "by hand, AdamW of one tensor": lambda batches: by_hand(batches, OneTensorAdamW),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    loss = {}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            batches = zip(pairs.split(BATCH, 1), ratings.split(BATCH), strict=True)
            began = time.perf_counter()
            losses = run(batches)
            seconds[way].append(time.perf_counter() - began)
            loss[way] = torch.stack(losses[-100:]).mean().item()
    for way, found in seconds.items():
        each = [1000 * one / STEPS for one in found]
        print(f"{way:28}  {statistics.median(each):.3f} ms, least {min(each):.3f}  {loss[way]:.6f}")


def network() -> RatingsNetwork:
    """Return the lesson's model."""
    model = RatingsModel(factors=50, bias=True, y_range=[0.0, 5.5])
    return build_ratings_network(USERS, ITEMS, model, seed=1).train()


def by_autograd(batches: Iterator[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Train as any model is."""
    trained, losses = network(), []
    optimizer = torch.optim.AdamW(trained.parameters(), **OPTIONS)
    for pairs, ratings in batches:
        loss = mse_loss(trained(pairs), ratings)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return losses


def by_hand(
    batches: Iterator[tuple[Tensor, Tensor]], kind: type[torch.optim.AdamW]
) -> list[Tensor]:
    """Train as the stage `fit` does."""
    trained = network()
    gradients, losses = DotProductGradients(trained), []
    optimizer = kind([gradients.rows], **OPTIONS)
    for pairs, ratings in batches:
        losses.append(gradients.backward(trained, pairs, ratings, NO_SCALER))
        optimizer.step()
        optimizer.zero_grad()
    return losses


if __name__ == "__main__":
    main()
