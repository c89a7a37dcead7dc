"""Answers of several labels: tables, and sheets of right and wrong ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.evaluation import sigmoid
from thaw.interpretation.confusion import cells_of_each, counts_of_each
from thaw.interpretation.order import DECIMALS, by_class, drawn, highest
from thaw.params.interpret import Interpret
from thaw.sheets.sheet import GREEN, GREY, RED, Block, Line, Sheet, Tile
from thaw.vision.several import per_label

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NONE = "none"
READ = (
    "is: the actual labels. said: the predicted ones. Then the label that matters here, with its "
    "probability; the mean loss of all classes; the file."
)
VERDICTS = {
    (True, True): "found", (True, False): "missed", (False, True): "false",
    (False, False): "absent",
}  # fmt: skip


@dataclass(frozen=True)
class SeveralLabels:
    """Held-out items with any number of labels, and what the model says of them.

    Attributes:
        paths: of the images.
        there: bool [n, classes], the actual labels.
        logits: float [n, classes].
        vocab: class names.
        thresholds: float64 [classes]; a label is given when its probability is above.
    """

    paths: list[str]
    there: Mask
    logits: NDArray[np.float32]
    vocab: list[str]
    thresholds: Floats

    @classmethod
    def read(
        cls, predictions: pd.DataFrame, vocab: list[str], chosen: dict[str, float]
    ) -> "SeveralLabels":
        """Take the predictions' table apart.

        Args:
            predictions: a row per held-out item.
            vocab: class names.
            chosen: the threshold of each class.
        """
        return cls(
            predictions["path"].tolist(),
            np.stack(predictions["target"].to_list()) > 0.5,
            np.stack(predictions["logits"].to_list()),
            vocab,
            np.array([chosen[name] for name in vocab]),
        )

    @cached_property
    def probabilities(self) -> Floats:
        """Float64 [n, classes]."""
        return sigmoid(self.logits)

    @cached_property
    def given(self) -> Mask:
        """The labels predicted, bool [n, classes]."""
        return np.greater(self.probabilities, self.thresholds)

    @cached_property
    def right(self) -> Mask:
        """Whether all of an item's labels are right, bool [n]."""
        right: Mask = (self.given == self.there).all(axis=1)
        return right

    @cached_property
    def cell_losses(self) -> Floats:
        """Binary cross-entropy, float64 [n, classes]."""
        logits = self.logits.astype(np.float64)
        return np.logaddexp(0, logits) - self.there * logits

    @cached_property
    def losses(self) -> Floats:
        """The mean of an item's classes, float64 [n]."""
        losses: Floats = self.cell_losses.mean(1)
        return losses

    @cached_property
    def worst(self) -> Ints:
        """The class with each item's largest loss, int64 [n]."""
        worst: Ints = self.cell_losses.argmax(1)
        return worst

    @cached_property
    def counts(self) -> Ints:
        """Int64 [classes, actual, predicted]."""
        return counts_of_each(self.given, self.there)

    def names(self, labels: Mask) -> str:
        """Join the names of some labels, bool [classes]."""
        return " ".join(np.array(self.vocab, object)[labels])


def tables(items: SeveralLabels, plan: Interpret) -> dict[str, pd.DataFrame]:
    """Return confusion, top_losses and per_class by name."""
    return {
        "confusion": cells_of_each(items.counts, items.vocab),
        "top_losses": top_losses(items, plan.rows),
        "per_class": per_label(items.probabilities, items.there, items.vocab, items.thresholds),
    }


def top_losses(items: SeveralLabels, most: int) -> pd.DataFrame:
    """Return the items that the model is most wrong about, worst first, ties by path.

    Returns:
        path, actual, predicted, loss, worst_class (the one that adds most to the loss),
        probability (of it).
    """
    rows = highest(items.losses, np.ones(len(items.paths), bool), most)
    return pd.DataFrame(
        {
            "path": [items.paths[row] for row in rows],
            "actual": [items.names(items.there[row]) for row in rows],
            "predicted": [items.names(items.given[row]) for row in rows],
            "loss": items.losses[rows].round(DECIMALS),
            "worst_class": [items.vocab[items.worst[row]] for row in rows],
            "probability": items.probabilities[rows, items.worst[rows]].round(DECIMALS),
        }
    )


def sheets(items: SeveralLabels, plan: Interpret, seed: int) -> dict[str, Sheet]:
    """Return the contact sheets by name."""
    every, right, most = np.ones(len(items.paths), bool), items.right, plan.pictures
    off = np.abs(items.probabilities - items.thresholds)
    worst, nearest = items.worst, off.argmin(1)
    chosen = {
        "top_losses": ("Top losses", highest(items.losses, every, most), every, worst),
        "most_uncertain": (
            "Most uncertain: a label's probability nearest to its threshold",
            highest(-off.min(1), every, most),
            every,
            nearest,
        ),
        "random_right": ("All labels right", drawn(right, most, seed, "right"), right, worst),
        "random_wrong": ("Some label wrong", drawn(~right, most, seed, "wrong"), ~right, worst),
    }
    plain = {
        name: Sheet(
            title if name in ("top_losses", "most_uncertain") else f"{title}, at random",
            f"{len(rows)} of {among.sum()} held-out images. {READ}",
            [Block([tile(items, row, matters[row]) for row in rows])] if len(rows) else [],
        )
        for name, (title, rows, among, matters) in chosen.items()
    }
    correct, incorrect = items.given & items.there, items.given != items.there
    return plain | {
        "most_correct": of_each_class(
            items, plan, "Most correct of each class: found, and surest of it", correct
        ),
        "most_incorrect": of_each_class(
            items, plan, "Most incorrect of each class: missed or false, largest loss", incorrect
        ),
    }


def of_each_class(items: SeveralLabels, plan: Interpret, title: str, among: Mask) -> Sheet:
    """Return a sheet of some items of each class, the clearest first; `among` is [n, classes]."""
    wrong = items.given != items.there
    clear = np.where(wrong, items.cell_losses, -items.cell_losses)
    blocks = []
    for number in range(len(items.vocab)):
        rows = highest(clear[:, number], among[:, number], plan.per_class)
        negatives, positives = items.counts[number]
        note = f"{positives[1]} of {positives.sum()} found, {negatives[1]} false"
        blocks.append(([tile(items, row, number) for row in rows], note))
    return by_class(title, READ, items.vocab, blocks, plan.per_class)


def tile(items: SeveralLabels, row: int, number: int) -> Tile:
    """Return an item's tile, with the probability of one class."""
    right = bool(items.right[row])
    there, given = items.there[row, number], items.given[row, number]
    verdict = VERDICTS[bool(there), bool(given)]
    whole, part = (GREEN if right else RED), (GREEN if there == given else RED)
    caption = [
        Line(f"is {items.names(items.there[row]) or NONE}"),
        Line(f"said {items.names(items.given[row]) or NONE}", colour=whole),
        Line(f"{verdict} {items.vocab[number]}", f"{items.probabilities[row, number]:.3f}", part),
        Line("right" if right else "wrong", f"loss {items.losses[row]:.3f}", whole),
        Line(items.paths[row], colour=GREY, cut_front=True),
    ]
    return Tile(int(row), caption, whole)
