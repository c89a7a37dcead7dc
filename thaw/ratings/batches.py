"""Batches of ratings, cut out of tensors that live on the training device."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from thaw.training.batches import chunks, shuffled

VALID_BATCH = 2**16  # held-out ratings at once; bounds memory, changes no number


@dataclass(frozen=True)
class RatingsBatches:
    """Training ratings, each once an epoch in a new order, and held-out ones.

    Attributes:
        pairs: int64 [2, n], rows of users and of items.
        ratings: float [n, 1].
        valid_pairs: int64 [2, m].
        valid_ratings: float [m, 1].
    """

    pairs: Tensor
    ratings: Tensor
    valid_pairs: Tensor
    valid_ratings: Tensor
    batch_size: int
    seed: int
    stage: str

    @property
    def items(self) -> int:
        """Number of training ratings."""
        return len(self.ratings)

    @property
    def valid_items(self) -> int:
        """Number of held-out ratings."""
        return len(self.valid_ratings)

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pairs int64 [2, b] and ratings float [b, 1]."""
        order = shuffled(self.items, self.seed, self.stage, epoch)
        lengths = [len(positions) for positions in chunks(order, self.batch_size)]
        order = order.to(self.ratings.device)
        yield from zip(
            self.pairs[:, order].split(lengths, 1),
            self.ratings[order].split(lengths),
            strict=True,
        )

    def valid(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pairs int64 [2, b] and ratings float [b, 1]."""
        yield from zip(
            self.valid_pairs.split(VALID_BATCH, 1),
            self.valid_ratings.split(VALID_BATCH),
            strict=True,
        )
