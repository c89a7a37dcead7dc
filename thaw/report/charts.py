"""The charts of a report: LR curves, losses and metrics, rate and momentum, thresholds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from thaw.report.svg import DASHES, HEIGHT, INK, MARKERS, SERIES, new_figure, style, to_svg

MARKED = {"steepest": "^", "valley": "v", "minimum": "D", "rise": "s"}
RULES = {
    "steepest": "steepest",
    "valley": "valley",
    "minimum": "minimum / 10",
    "rise": "begins to rise",
}
CHOSEN = "chosen"  # the id of what marks a choice
TALL = 1.35  # times the height of a chart, for two on top of each other
EMPTY_TOP, EMPTY_BOTTOM = 0.3, 0.12  # shares of the loss's fall left free above and below it


def lr_chart(curve: pd.DataFrame, suggestion: Mapping[str, Any], name: str) -> str:
    """Draw the loss over the learning rate, with what can be read off it and what was chosen.

    Args:
        curve: columns ``lr``, ``loss``, ``smoothed``; a row at least.
        suggestion: learning rates by name, None for those that were not found.
        name: begins the chart's ids.
    """
    chosen, tested = suggestion[CHOSEN], (curve["lr"].min(), curve["lr"].max())
    with style():
        figure = new_figure()
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.plot(curve["lr"], curve["loss"], ":", color=SERIES[1], lw=0.8, label="loss of a batch")
        axes.plot(curve["lr"], curve["smoothed"], color=SERIES[0], label="smoothed", gid="smoothed")
        for rule, marker in MARKED.items():
            rate = suggestion.get(rule)
            if rate is not None and tested[0] <= rate <= tested[1]:
                height = np.interp(math.log(rate), np.log(curve["lr"]), curve["smoothed"])
                axes.plot(
                    rate, height, marker, color=INK, ms=6, mfc="none", zorder=3,
                    label=f"{RULES[rule]} {rate:.1e}",
                )  # fmt: skip
        if chosen is not None:
            inside = tested[0] <= chosen <= tested[1]
            axes.axvline(
                min(max(chosen, tested[0]), tested[1]), color=INK, lw=1.4, gid=CHOSEN,
                label=f"chosen {chosen:.2e}" + ("" if inside else ", beyond the tested rates"),
            )  # fmt: skip
        axes.set(xlabel="learning rate", ylabel="loss", ylim=falling_part(curve["smoothed"]))
        finish(axes, columns=2)
        said = f"chosen {chosen:.2e}" if chosen is not None else "none was chosen"
        return to_svg(figure, name, f"Loss over the learning rate; {said}")


def falling_part(smoothed: "pd.Series[float]") -> tuple[float, float] | None:
    """Return limits for the loss up to its minimum: behind it, it grows beyond all bounds.

    The first tenth counts for no minimum: there the average has hardly begun.
    """
    values = smoothed[np.isfinite(smoothed)].to_numpy()
    if not len(values):
        return None
    first = len(values) // 10
    before = values[: first + values[first:].argmin() + 1]
    low, high = before.min(), before.max()
    fall = high - low or abs(high) or 1.0
    return low - EMPTY_BOTTOM * fall, high + EMPTY_TOP * fall


def epochs_chart(epochs: pd.DataFrame, columns: Sequence[str], name: str, label: str) -> str:
    """Draw some columns of all epochs, one fit after the other.

    Args:
        epochs: a row per epoch, with ``fit`` besides.
        columns: to be drawn, five at most.
        name: begins the chart's ids.
        label: of the y axis.
    """
    with style():
        figure = new_figure()
        axes = figure.subplots()
        for column, colour, dashes, marker in zip(columns, SERIES, DASHES, MARKERS, strict=False):
            for first, _, fit in phases(epochs):
                axes.plot(
                    np.arange(len(fit)) + first + 1, fit[column],
                    color=colour, ls=dashes, marker=marker,
                    label=words(column) if not first else None,
                )  # fmt: skip
        mark_phases(axes, epochs)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=label)
        finish(axes, columns=3)
        fits = " and ".join(str(fit) for _, fit, _ in phases(epochs))
        return to_svg(figure, name, f"{', '.join(map(words, columns))} by epoch of {fits}")


def phases(epochs: pd.DataFrame) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """Yield each fit's first row's number, its name, and its rows."""
    first = 0
    for fit, rows in epochs.groupby("fit", sort=False):
        yield first, str(fit), rows
        first += len(rows)


def mark_phases(axes: Axes, epochs: pd.DataFrame) -> None:
    """Draw a line between two fits, and write their names above them."""
    for first, fit, rows in phases(epochs):
        if first:
            axes.axvline(first + 0.5, color=INK, lw=0.8, ls=(0, (2, 3)))
        axes.text(
            first + (len(rows) + 1) / 2, 1.0, words(fit.removeprefix("fit_")), fontsize=9,
            ha="center", va="bottom", transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.set_xlim(0.5, len(epochs) + 0.5)


def one_cycle_chart(batches: pd.DataFrame, name: str) -> str:
    """Draw learning rate and momentum by step.

    Args:
        batches: columns ``step``, ``lr``, ``momentum``; a row at least.
        name: begins the chart's ids.
    """
    with style():
        figure = new_figure(HEIGHT * TALL)
        above, below = figure.subplots(2, sharex=True)
        above.plot(batches["step"], batches["lr"], color=SERIES[0])
        above.set(ylabel="learning rate", ylim=(0, None))
        below.plot(batches["step"], batches["momentum"], "--", color=SERIES[1])
        below.set(ylabel="momentum", xlabel="step")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        return to_svg(figure, name, "Learning rate and momentum by step")


def coverage_chart(
    curve: pd.DataFrame, threshold: float, metrics: Mapping[str, float], name: str
) -> str:
    """Draw the error of the answers given over the share that is given.

    Args:
        curve: columns ``coverage`` and ``error_rate``.
        threshold: the chosen confidence.
        metrics: the two of the choice, as ``valid/coverage`` and ``valid/error_rate``.
        name: begins the chart's ids.
    """
    given = curve[curve["coverage"] > 0]
    with style():
        figure = new_figure()
        axes = figure.subplots()
        axes.plot(given["coverage"], given["error_rate"], color=SERIES[0], label="all confidences")
        axes.plot(
            metrics["valid/coverage"], metrics["valid/error_rate"], "o", color=INK, ms=8,
            gid=CHOSEN, label=f"chosen: confidence above {threshold:.3f}", zorder=3, clip_on=False,
        )  # fmt: skip
        axes.set(
            xlabel="share of items answered", ylabel="error rate of the answers", xlim=(0, 1.02)
        )
        axes.set_ylim(bottom=0)
        finish(axes, columns=2)
        return to_svg(figure, name, f"Error over coverage; chosen {threshold:.3f}")


def sweep_chart(curve: pd.DataFrame, thresholds: Sequence[float], name: str) -> str:
    """Draw every column of the curve over the threshold, with what was chosen.

    Args:
        curve: column ``threshold`` and the metrics at it, five at most.
        thresholds: the chosen ones.
        name: begins the chart's ids.
    """
    chosen = sorted(set(thresholds))
    with style():
        figure = new_figure()
        axes = figure.subplots()
        columns = curve.columns.drop("threshold")
        for column, colour, dashes in zip(columns, SERIES, DASHES, strict=False):
            axes.plot(
                curve["threshold"], curve[column], color=colour, ls=dashes, label=words(column)
            )
        for number, threshold in enumerate(chosen):
            said = f"chosen {threshold:.3f}" if len(chosen) == 1 else "chosen, one a class"
            axes.axvline(
                threshold, color=INK, lw=1.4, gid=f"{CHOSEN}-{number}",
                label=None if number else said,
            )  # fmt: skip
        axes.set(xlabel="threshold of probability", xlim=(0, 1), ylim=(0, 1.02))
        finish(axes, columns=3)
        said = ", ".join(f"{threshold:.3f}" for threshold in chosen)
        return to_svg(figure, name, f"Metrics over the threshold; chosen {said}")


def finish(axes: Axes, columns: int) -> None:
    """Add a legend below, where it hides nothing."""
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def words(name: str) -> str:
    """Write a column's name for people."""
    return name.replace("_", " ")
