"""Exponential averages without the bias of their start."""

from dataclasses import dataclass


@dataclass
class Smoothed:
    """A running average, debiased as Adam's moments are.

    Attributes:
        beta: share of the past in the average.
        total: the biased average.
        count: values seen.
    """

    beta: float = 0.98
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> float:
        """Take in one value and return the average so far."""
        self.total = self.beta * self.total + (1 - self.beta) * value
        self.count += 1
        return self.total / (1 - self.beta**self.count)
