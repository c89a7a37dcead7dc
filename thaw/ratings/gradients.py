"""Gradients of the dot product by hand: of a small batch, autograd's own work is most of a step."""

import torch
from torch import Tensor, nn

from thaw.ratings.model import RatingsNetwork
from thaw.training.model import ScaledSigmoid


class DotProductGradients:
    """What turns batches into gradients of a model without hidden layers.

    The model is y = s(u . i + b_u + b_i), its loss the mean of (y - rating)^2; the scaled sigmoid
    s with the range (low, high) has the slope (y - low) (high - y) / (high - low). Rows of users
    and items lie in one tensor, of which the model's two are parts from now on: it is gathered
    from, added to and updated at once. The same numbers as by autograd.

    Attributes:
        rows: float [users + items, factors + bias], users first; the one tensor to be trained.
        parts: always 1; a batch is never divided.
    """

    def __init__(self, network: RatingsNetwork) -> None:
        assert network.layers is None
        tables = network.users, network.items
        counts = [len(table.weight) for table in tables]
        self.rows = nn.Parameter(torch.cat([table.weight.detach() for table in tables]))
        self._values = self.rows.detach()
        for table, part in zip(tables, self._values.split(counts), strict=True):
            table.weight.data = part
        self.parts = 1
        self._starts = torch.tensor([[0], [counts[0]]], device=self.rows.device)
        self._gradient = torch.zeros_like(self.rows, requires_grad=False)
        self._factors = self.rows.shape[1] - network.biases
        scaled = network.scaled
        self._range = (scaled.low, scaled.high) if isinstance(scaled, ScaledSigmoid) else None

    @torch.no_grad()
    def backward(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, scaler: torch.amp.GradScaler
    ) -> Tensor:
        """Make the gradients of a batch's mean loss those of `rows`.

        Args:
            model: the one that this was made for.
            inputs: pairs of rows, int64 [2, b] (users, items).
            targets: ratings, float [b, 1].
            scaler: not needed, as nothing here is fp16.

        Returns:
            The loss.
        """
        index = (inputs + self._starts).flatten()
        both = self._values.index_select(0, index)
        users, items = both.chunk(2)
        outputs = (users * items)[:, : self._factors].sum(1, keepdim=True)
        if self._factors < both.shape[1]:
            outputs += users[:, self._factors :]
            outputs += items[:, self._factors :]
            both[:, self._factors :] = 1  # what the other one's bias is multiplied by
        slope = 2 / len(targets)
        if self._range is not None:
            low, high = self._range
            share = outputs.sigmoid_()
            outputs = torch.add(share * (high - low), low)
        errors = outputs - targets
        loss = errors.square().mean()
        if self._range is not None:
            errors *= share * (1 - share)
            slope *= high - low
        errors *= slope
        by_row = torch.cat([items, users]).view(2, len(errors), -1) * errors
        self._gradient.zero_().index_put_((index,), by_row.flatten(0, 1), accumulate=True)
        self.rows.grad = self._gradient
        return loss
