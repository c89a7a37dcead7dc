"""Show what a model of images answers rightly and wrongly: `python -m stages interpret RECIPE`.

Of several labels those are given whose probability is above the threshold that the stage
`threshold` chose, not above a half.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.common.paths import Paths
from thaw.bands import displayable
from thaw.core.errors import UserError
from thaw.core.files import new_folder, read_json, read_parquet, write_csv
from thaw.images import Pixels
from thaw.interpretation import one_label, points, several_labels
from thaw.interpretation.confusion import outcomes
from thaw.interpretation.order import losses_by_group, right_and_wrong
from thaw.interpretation.plots import draw_confusion, draw_errors, draw_tables
from thaw.pack import Packed, open_packed
from thaw.params.base import Seed, params, some_of
from thaw.params.interpret import Interpret
from thaw.sheets.draw import draw_sheet
from thaw.sheets.sheet import Sheet, channels_note
from thaw.vision.task import task_of


@params
class Params:
    """The sections that this stage reads."""

    seed: Seed
    interpret: Interpret


class Shown(NamedTuple):
    """What is written.

    Attributes:
        tables: by name.
        plotted: tables that DVC plots, by name: `outcomes` and `losses`.
        sheets: by name.
        plots: each draws a PNG, by name.
        headline: the result in a few words.
    """

    tables: dict[str, pd.DataFrame]
    plotted: dict[str, pd.DataFrame]
    sheets: dict[str, Sheet]
    plots: dict[str, Callable[[Path], None]]
    headline: str


def run(params: Params, paths: Paths) -> None:
    """Write tables and pictures of the answers on the held-out images."""
    predictions, vocab = read_parquet(paths.predictions), read_json(paths.vocab)
    packed = open_packed(paths.packed)
    rows = rows_in(packed, predictions["path"].tolist(), paths)

    def pixels(row: int) -> Pixels:
        return displayable(packed.image(rows[row]))

    match task_of(predictions, vocab):
        case "label":
            shown = show_label(predictions, vocab, params)
        case "labels":
            thresholds = read_json(paths.threshold)
            shown = show_labels(predictions, vocab, thresholds, params)
        case "points":
            sides = np.stack([packed.source_widths[rows], packed.source_heights[rows]], 1)
            shown = show_points(predictions, sides, params)
    with new_folder(paths.result("interpret", "tables")) as folder:
        for name, table in shown.tables.items():
            write_csv(folder / f"{name}.csv", table)
    channels = channels_note(packed.channels)
    for name, table in shown.plotted.items():
        write_csv(paths.result("interpret", f"{name}.csv"), table)
    with new_folder(paths.result("interpret", "pictures")) as folder:
        for name, draw in shown.plots.items():
            draw(folder / f"{name}.png")
        for name, sheet in shown.sheets.items():
            said = replace(sheet, note=sheet.note + channels)
            draw_sheet(said, pixels, folder / f"{name}.jpg")
    print(shown.headline)


def rows_in(packed: Packed, images: list[str], paths: Paths) -> np.ndarray:
    """Find the held-out images among the packed ones, int64 [n].

    Raises:
        UserError: some are not there.
    """
    rows = packed.rows(images)
    if lacking := [images[i] for i in np.flatnonzero(rows < 0)]:
        raise UserError(
            f"{paths.predictions} has {len(lacking)} images that are not in {paths.packed}: "
            f"{some_of(lacking)}. Run the recipe again: dvc repro interpret@{paths.recipe}"
        )
    return rows


def plotted(
    counts: np.ndarray,
    vocab: list[str],
    images: list[str],
    losses: np.ndarray,
    groups: dict[str, np.ndarray],
) -> dict[str, pd.DataFrame]:
    """Return the tables that DVC plots, the same two whatever is answered.

    Args:
        counts: as `outcomes` takes them; empty for points.
        vocab: class names; none for points.
        images: their paths.
        losses: float [n], or errors in pixels.
        groups: rows by name: right and wrong ones, or those of a person.
    """
    return {
        "outcomes": outcomes(counts, vocab),
        "losses": losses_by_group(images, losses, groups),
    }


def show_label(predictions: pd.DataFrame, vocab: list[str], params: Params) -> Shown:
    """Tell what is to be written of answers of one label."""
    items = one_label.OneLabel.read(predictions, vocab)
    tables = one_label.tables(items, params.interpret)
    first = tables["most_confused"].head(3).itertuples(index=False)
    confused = [f"{actual} as {predicted} ({count})" for actual, predicted, count in first]
    return Shown(
        tables,
        plotted(items.counts, vocab, items.paths, items.losses, right_and_wrong(items.right)),
        one_label.sheets(items, params.interpret, params.seed),
        {"confusion": partial(draw_confusion, items.counts, vocab)},
        f"most confused: {', '.join(confused) or 'no two classes'}",
    )


def show_labels(
    predictions: pd.DataFrame, vocab: list[str], thresholds: dict[str, float], params: Params
) -> Shown:
    """Tell what is to be written of answers of several labels."""
    items = several_labels.SeveralLabels.read(predictions, vocab, thresholds)
    return Shown(
        several_labels.tables(items, params.interpret),
        plotted(items.counts, vocab, items.paths, items.losses, right_and_wrong(items.right)),
        several_labels.sheets(items, params.interpret, params.seed),
        {"confusion": partial(draw_tables, items.counts, vocab)},
        f"all labels right: {items.right.sum()} of {len(items.right)} images",
    )


def show_points(predictions: pd.DataFrame, sides: np.ndarray, params: Params) -> Shown:
    """Tell what is to be written of points; `sides` are the originals', int64 [n, 2]."""
    items = points.Points.read(predictions, sides)
    tables = points.tables(items, params.interpret)
    worst = tables["top_losses"].iloc[0]
    groups = {name: rows for name, rows in items.groups.items() if name != points.ALL}
    groups = groups or items.groups
    return Shown(
        tables,
        plotted(np.empty((0, 0), np.int64), [], items.paths, items.errors, groups),
        points.sheets(items, params.interpret, params.seed),
        {"errors": partial(draw_errors, items)},
        f"largest error: {worst['error_pixels']:.1f} pixels, {worst['path']}",
    )
