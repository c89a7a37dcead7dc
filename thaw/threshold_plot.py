"""A picture of the sweep over thresholds, with the choice marked."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from thaw.core.files import replacing
from thaw.threshold import Choice


def draw_threshold(choice: Choice, target: Path) -> None:
    """Draw the curve and the choice; the same bytes for the same choice.

    Args:
        choice: with its curve.
        target: a PNG to be written.
    """
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    if "coverage" in choice.curve:
        draw_coverage(axes, choice)
    else:
        draw_sweep(axes, choice)
    with replacing(target) as part, part.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})


def draw_coverage(axes: Axes, choice: Choice) -> None:
    """Draw the error of the answers given against the share that is given; mark the choice."""
    given = choice.curve[choice.curve["coverage"] > 0]
    axes.plot(given["coverage"], given["error_rate"], linewidth=2)
    axes.plot(
        choice.metrics["valid/coverage"], choice.metrics["valid/error_rate"], "ko",
        label=f"chosen: answers above {choice.thresholds[0]:.3f}",
    )  # fmt: skip
    axes.set(xlabel="share of items answered", ylabel="error rate of the answers", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def draw_sweep(axes: Axes, choice: Choice) -> None:
    """Draw every column of the curve over the threshold; mark the choice."""
    for name in choice.curve.columns.drop("threshold"):
        width = 2.5 if name == choice.y else 1.2
        axes.plot(choice.curve["threshold"], choice.curve[name], label=name, linewidth=width)
    for number, threshold in enumerate(sorted(set(choice.thresholds))):
        axes.axvline(
            threshold, color="black", linestyle=":", linewidth=1,
            label=None if number else f"chosen: {threshold:.3f}"
            if len(set(choice.thresholds)) == 1 else "chosen, one a class",
        )  # fmt: skip
    axes.set(xlabel="threshold of probability", xlim=(0, 1), ylim=(0, 1))
    if choice.thresholds:
        axes.legend(fontsize=8)
