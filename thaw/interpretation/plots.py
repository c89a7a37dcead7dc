"""Plots of confusions and of errors as PNG, the same bytes for the same numbers."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thaw.core.files import replacing
from thaw.interpretation.points import ALL, Points
from thaw.sheets.text import drawable

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RIGHT, WRONG = "Blues", "Oranges"  # colour maps
POINT = 72  # to the inch
LARGEST = 26.0  # inches
MOST_GROUPS = 40
DARK = 0.55  # from this share on numbers are white


def save(figure: Figure, target: Path, dpi: int = 100) -> None:
    """Write a figure without dates and versions."""
    with replacing(target) as part, part.open("wb") as file:
        FigureCanvasAgg(figure)
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})


def plain(name: str) -> str:
    """Return a name for a plot: $ would begin a formula, unknown letters warn and become boxes."""
    return drawable(name).replace("$", r"\$")


def draw_confusion(counts: Ints, vocab: list[str], target: Path) -> None:
    """Draw the counts of answers of one label; colours are shares of each actual class.

    Args:
        counts: int64 [actual, predicted].
        vocab: class names.
        target: a PNG to be written.
    """
    classes = len(vocab)
    cell = float(np.clip(11 / classes, 0.3, 0.8))  # inches
    cell = min(cell, LARGEST / classes)
    side = cell * classes + 2.4
    figure = Figure(figsize=(max(side, 4.2), max(side, 4.2)), layout="constrained")
    axes = figure.subplots()
    paint(axes, counts)
    size = float(np.clip(cell * POINT * 0.42, 1, 10))
    write_counts(axes, counts, size)
    names = [plain(name) for name in vocab]
    axes.set_xticks(range(classes), names, rotation=90, fontsize=size)
    axes.set_yticks(range(classes), names, fontsize=size)
    right, items = int(np.trace(counts)), int(counts.sum())
    axes.set(xlabel="predicted", ylabel="actual", title=f"{right} of {items} right")
    axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    save(figure, target)


def paint(axes: Axes, counts: Ints) -> None:
    """Colour the cells by their share of the row: blue where right, orange where wrong."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    maps = matplotlib.colormaps
    colours = np.where(
        np.eye(len(counts), dtype=bool)[..., None], maps[RIGHT](shares), maps[WRONG](shares)
    )
    colours[counts == 0] = 1
    axes.imshow(colours)


def write_counts(axes: Axes, counts: Ints, size: float) -> None:
    """Write every count but the noughts off the diagonal."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for row, column in np.argwhere((counts > 0) | np.eye(len(counts), dtype=bool)):
        colour = "white" if shares[row, column] > DARK else "0.2"
        axes.text(
            column, row, str(counts[row, column]),
            ha="center", va="center", fontsize=size, color=colour,
        )  # fmt: skip


def draw_tables(counts: Ints, vocab: list[str], target: Path) -> None:
    """Draw a 2x2 table of each class of several labels.

    Args:
        counts: int64 [classes, actual, predicted].
        vocab: class names.
        target: a PNG to be written.
    """
    columns = min(5, len(vocab))
    rows = -(-len(vocab) // columns)
    figure = Figure(figsize=(2.1 * columns + 0.4, 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, table, name in zip(grid, counts, vocab, strict=False):
        paint(axes, table)
        write_counts(axes, table, 10)
        axes.set_title(plain(name), fontsize=11)
        axes.set_xticks([0, 1], ["not said", "said"], fontsize=8)
        axes.set_yticks([0, 1], ["absent", "there"], fontsize=8, rotation=90, va="center")
        axes.tick_params(length=0)
    for axes in grid[len(vocab) :]:
        axes.axis("off")
    save(figure, target)


def draw_errors(items: Points, target: Path) -> None:
    """Draw the errors' distribution: each item a dot, quartiles a box; a row per group.

    Of many groups those with the largest mean errors are drawn. A group of all items would be drawn
    twice; where there is no other, a histogram says more.

    Args:
        items: with their groups.
        target: a PNG to be written.
    """
    every = len(items.errors)
    groups = {name: of for name, of in items.groups.items() if name == ALL or len(of) < every}
    if len(groups) == 1:
        draw_histogram(items.errors, target)
        return
    ordered = sorted(groups.items(), key=lambda pair: -items.errors[pair[1]].mean())
    shown = [name for name, _ in ordered[:MOST_GROUPS]]
    names = [name for name in groups if name in shown]
    figure = Figure(figsize=(8, 1.6 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots()
    errors = [items.errors[items.groups[name]] for name in names]
    axes.boxplot(
        errors, orientation="horizontal", widths=0.6, showfliers=False,
        medianprops={"color": "black", "linewidth": 2}, boxprops={"color": "0.4"},
    )  # fmt: skip
    for row, values in enumerate(errors, 1):
        # Beside each other instead of upon each other, by their order.
        offsets = (np.argsort(np.argsort(values, kind="stable")) % 5 - 2) * 0.09
        axes.plot(values, row + offsets, "o", markersize=4, alpha=0.5, color="tab:blue")
    labels = [f"{plain(name)} ({len(items.groups[name])})" for name in names]
    axes.set_yticks(range(1, len(names) + 1), labels)
    axes.invert_yaxis()
    of = f"; {len(names)} of {len(groups)} groups" if len(names) < len(groups) else ""
    mean = items.errors.mean()
    axes.set(xlabel="error in pixels", title=f"Mean error {mean:.2f} pixels{of}")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    save(figure, target)


def draw_histogram(errors: Floats, target: Path) -> None:
    """Draw how often errors of each magnitude are; float [n], in pixels."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    bins = int(np.clip(np.sqrt(len(errors)) * 2, 5, 40))
    axes.hist(errors, bins=bins, range=(0, float(errors.max()) or 1.0), color="tab:blue")
    mean, median = errors.mean(), np.median(errors)
    axes.axvline(median, color="black", linewidth=2, label=f"median {median:.2f}")
    axes.set(xlabel="error in pixels", ylabel="items", title=f"Mean error {mean:.2f} pixels")
    axes.set_xlim(left=0)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend()
    save(figure, target)
