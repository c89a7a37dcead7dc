"""What a vision model's outputs say of an image, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from thaw.evaluation import EVEN, sigmoid, softmax
from thaw.vision.task import Task

CONFIDENCE = "confidence"  # what threshold.json calls the one threshold of recipes of one label


@dataclass(frozen=True)
class Answer:
    """What a model says of one image.

    Attributes:
        given: the classes that it names, likeliest first; none of them says "none of these".
        probabilities: of all classes, likeliest first; empty for points.
        points: x and y of each in pixels of the upright original; empty for classes.
    """

    given: list[str] = field(default_factory=list)
    probabilities: dict[str, float] = field(default_factory=dict)
    points: list[tuple[float, float]] = field(default_factory=list)

    def text(self, top: int) -> str:
        """Say it in a line, with the probabilities of all given classes and `top` at least."""
        if self.points:
            return "  ".join(f"({x:.1f}, {y:.1f})" for x, y in self.points)
        shown = list(self.probabilities.items())[: max(top, len(self.given))]
        listed = ", ".join(f"{name} {probability:.3f}" for name, probability in shown)
        return f"{', '.join(self.given) or 'none of these'}  [{listed}]"


def answer(
    task: Task, outputs: NDArray[np.float32], vocab: Sequence[str], thresholds: Mapping[str, float]
) -> Answer:
    """Read one image's outputs.

    Args:
        task: the model's.
        outputs: float32 [outputs], logits or pixels.
        vocab: class names.
        thresholds: as the stage `threshold` wrote them. Without one, the likeliest of one label
            is named whatever its probability, and of several labels those above a half.
    """
    if task == "points":
        return Answer(points=[(float(x), float(y)) for x, y in outputs.reshape(-1, 2)])
    chances = softmax(outputs[None])[0] if task == "label" else sigmoid(outputs)
    order = np.argsort(-chances, kind="stable")
    probabilities = {vocab[i]: float(chances[i]) for i in order}
    named = list(probabilities)[:1] if task == "label" else list(probabilities)
    limits = {name: limit_of(task, name, thresholds) for name in named}
    given = [name for name in named if probabilities[name] > limits[name]]
    return Answer(given, probabilities)


def limit_of(task: Task, name: str, thresholds: Mapping[str, float]) -> float:
    """Return the probability above which a class is named."""
    if task == "label":
        return thresholds.get(CONFIDENCE, 0.0)
    return thresholds.get(name, EVEN)
