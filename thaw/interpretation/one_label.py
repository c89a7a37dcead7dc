"""Answers of one label: tables, and sheets of right and wrong ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.evaluation import per_class, softmax
from thaw.interpretation.confusion import confusion_cells, confusion_counts, most_confused
from thaw.interpretation.order import DECIMALS, by_class, drawn, highest
from thaw.params.interpret import Interpret
from thaw.sheets.sheet import GREEN, GREY, RED, Block, Line, Sheet, Tile
from thaw.vision.several import average_precisions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

READ = (
    "is: the actual label and its probability. said: the predicted one and its probability. "
    "Below: the loss, and the file."
)
READ_HEADED = "said: the predicted label and its probability. Below: the loss, and the file."


@dataclass(frozen=True)
class OneLabel:
    """Held-out items with one label each, and what the model says of them.

    Attributes:
        paths: of the images.
        targets: int64 [n], the actual classes.
        logits: float [n, classes].
        vocab: class names.
    """

    paths: list[str]
    targets: Ints
    logits: NDArray[np.float32]
    vocab: list[str]

    @classmethod
    def read(cls, predictions: pd.DataFrame, vocab: list[str]) -> "OneLabel":
        """Take the predictions' table apart."""
        logits = np.stack(predictions["logits"].to_list())
        return cls(predictions["path"].tolist(), predictions["target"].to_numpy(), logits, vocab)

    @cached_property
    def probabilities(self) -> Floats:
        """Float64 [n, classes]."""
        return softmax(self.logits)

    @cached_property
    def answers(self) -> Ints:
        """The classes predicted, int64 [n]."""
        answers: Ints = self.logits.argmax(1)
        return answers

    @cached_property
    def right(self) -> Mask:
        """Bool [n]."""
        return np.equal(self.answers, self.targets)

    @cached_property
    def losses(self) -> Floats:
        """Cross-entropy, float64 [n]."""
        logits = self.logits.astype(np.float64)
        of_target = logits[np.arange(len(logits)), self.targets]
        losses: Floats = np.logaddexp.reduce(logits, 1) - of_target
        return losses

    @cached_property
    def of_actual(self) -> Floats:
        """The probability of the actual class, float64 [n]."""
        return self.probabilities[np.arange(len(self.targets)), self.targets]

    @cached_property
    def confidence(self) -> Floats:
        """The probability of the predicted class, float64 [n]."""
        confidence: Floats = self.probabilities.max(1)
        return confidence

    @cached_property
    def counts(self) -> Ints:
        """Int64 [actual, predicted]."""
        return confusion_counts(self.answers, self.targets, len(self.vocab))


def tables(items: OneLabel, plan: Interpret) -> dict[str, pd.DataFrame]:
    """Return confusion, most_confused, top_losses and per_class by name."""
    measured = per_class(items.answers, items.targets, items.vocab)
    there = np.eye(len(items.vocab))[items.targets]
    return {
        "confusion": confusion_cells(items.counts, items.vocab),
        "most_confused": most_confused(items.counts, items.vocab, plan.at_least),
        "top_losses": top_losses(items, plan.rows),
        "per_class": measured.assign(
            average_precision=average_precisions(items.probabilities, there)
        ),
    }


def top_losses(items: OneLabel, most: int) -> pd.DataFrame:
    """Return the items that the model is most wrong about, worst first, ties by path.

    Returns:
        path, actual, predicted, loss, probability_actual, probability_predicted.
    """
    rows = highest(items.losses, np.ones(len(items.paths), bool), most)
    return pd.DataFrame(
        {
            "path": [items.paths[row] for row in rows],
            "actual": [items.vocab[items.targets[row]] for row in rows],
            "predicted": [items.vocab[items.answers[row]] for row in rows],
            "loss": items.losses[rows].round(DECIMALS),
            "probability_actual": items.of_actual[rows].round(DECIMALS),
            "probability_predicted": items.confidence[rows].round(DECIMALS),
        }
    )


def sheets(items: OneLabel, plan: Interpret, seed: int) -> dict[str, Sheet]:
    """Return the contact sheets by name."""
    every, right = np.ones(len(items.paths), bool), items.right
    most = plan.pictures
    chosen = {
        "top_losses": ("Top losses", highest(items.losses, every, most), every),
        "most_uncertain": (
            "Most uncertain: lowest probability of the answer",
            highest(-items.confidence, every, most),
            every,
        ),
        "random_right": ("Right, at random", drawn(right, most, seed, "right"), right),
        "random_wrong": ("Wrong, at random", drawn(~right, most, seed, "wrong"), ~right),
    }
    plain = {
        name: Sheet(
            title,
            f"{len(rows)} of {among.sum()} held-out images. {READ}",
            [Block([tile(items, row) for row in rows])] if len(rows) else [],
        )
        for name, (title, rows, among) in chosen.items()
    }
    return plain | {
        "most_correct": of_each_class(
            items, plan, "Most correct of each class: right, and surest of it", right
        ),
        "most_incorrect": of_each_class(
            items, plan, "Most incorrect of each class: wrong, and the class least likely", ~right
        ),
    }


def of_each_class(items: OneLabel, plan: Interpret, title: str, among: Mask) -> Sheet:
    """Return a sheet of the right items of each class, or the wrong ones, the clearest first."""
    clear = np.where(items.right, items.of_actual, -items.of_actual)
    blocks = []
    for number in range(len(items.vocab)):
        of_class = items.targets == number
        rows = highest(clear, among & of_class, plan.per_class)
        note = f"{(items.right & of_class).sum()} of {of_class.sum()} right"
        blocks.append(([tile(items, row, headed=True) for row in rows], note))
    return by_class(title, READ_HEADED, items.vocab, blocks, plan.per_class)


def tile(items: OneLabel, row: int, headed: bool = False) -> Tile:
    """Return an item's tile: both labels with their probabilities, loss and path.

    Args:
        items: all of them.
        row: the item's.
        headed: whether the actual label stands above already.
    """
    right = bool(items.right[row])
    colour = GREEN if right else RED
    actual, answer = items.vocab[items.targets[row]], items.vocab[items.answers[row]]
    caption = [
        Line(f"is {actual}", f"{items.of_actual[row]:.3f}"),
        Line(f"said {answer}", f"{items.confidence[row]:.3f}", colour),
        Line("right" if right else "wrong", f"loss {items.losses[row]:.3f}", colour),
        Line(items.paths[row], colour=GREY, cut_front=True),
    ]
    return Tile(int(row), caption[1:] if headed else caption, colour)
