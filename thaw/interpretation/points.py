"""Points: errors in pixels, and sheets with target and prediction drawn on the image."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.evaluation import groups_of, pixel_metrics
from thaw.interpretation.order import DECIMALS, drawn, highest
from thaw.params.interpret import Interpret
from thaw.sheets.sheet import GREY, PREDICTION, TARGET, Block, Line, Mark, Sheet, Tile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

READ = "Green: the target. Pink: the prediction. Below: the mean error in pixels, and the file."
ALL = "all"


@dataclass(frozen=True)
class Points:
    """Held-out items with points, and where the model places them.

    Attributes:
        paths: of the images.
        targets: float64 [n, points, 2], x and y in pixels of the upright originals.
        predictions: the same.
        sides: int64 [n, 2], the originals' widths and heights in pixels.
        groups: the rows of each group, such as "folder 13"; all rows first.
    """

    paths: list[str]
    targets: Floats
    predictions: Floats
    sides: Ints
    groups: dict[str, Ints]

    @classmethod
    def read(cls, predictions: pd.DataFrame, sides: Ints) -> "Points":
        """Take the predictions' table apart.

        Args:
            predictions: a row per held-out item.
            sides: int64 [n, 2], the originals' widths and heights in pixels.
        """
        n = len(predictions)
        targets, outputs = (
            np.stack(predictions[name].to_list()).astype(np.float64).reshape(n, -1, 2)
            for name in ("target", "prediction")
        )
        groups = {ALL: np.arange(len(targets))} | groups_of(predictions)
        return cls(predictions["path"].tolist(), targets, outputs, sides, groups)

    @cached_property
    def distances(self) -> Floats:
        """Of each point, in pixels, float64 [n, points]."""
        distances: Floats = np.linalg.norm(self.predictions - self.targets, axis=2)
        return distances

    @cached_property
    def errors(self) -> Floats:
        """The mean of an item's points, in pixels, float64 [n]."""
        errors: Floats = self.distances.mean(1)
        return errors


def tables(items: Points, plan: Interpret) -> dict[str, pd.DataFrame]:
    """Return top_losses and groups by name."""
    groups = [
        {"group": name, "items": len(rows)} | pixel_metrics(items.distances[rows])
        for name, rows in items.groups.items()
    ]
    return {"top_losses": top_losses(items, plan.rows), "groups": pd.DataFrame(groups)}


def top_losses(items: Points, most: int) -> pd.DataFrame:
    """Return the items with the largest errors, largest first, ties by path.

    Returns:
        path, error_pixels, then target_x, target_y, predicted_x, predicted_y in pixels of the
        upright original, each with ``_1``, ``_2`` … where there are several points.
    """
    rows = highest(items.errors, np.ones(len(items.paths), bool), most)
    table = {
        "path": [items.paths[row] for row in rows],
        "error_pixels": items.errors[rows].round(DECIMALS),
    }
    several = items.targets.shape[1] > 1
    for point in range(items.targets.shape[1]):
        suffix = f"_{point + 1}" if several else ""
        for name, values in (("target", items.targets), ("predicted", items.predictions)):
            for axis, letter in enumerate("xy"):
                table[f"{name}_{letter}{suffix}"] = values[rows, point, axis].round(DECIMALS)
    return pd.DataFrame(table)


def sheets(items: Points, plan: Interpret, seed: int) -> dict[str, Sheet]:
    """Return the contact sheets by name."""
    every, most = np.ones(len(items.paths), bool), plan.pictures
    chosen = {
        "top_losses": ("Largest errors", highest(items.errors, every, most)),
        "best": ("Smallest errors", highest(-items.errors, every, most)),
        "random": ("At random", drawn(every, most, seed, "random")),
    }
    return {
        name: Sheet(
            title,
            f"{len(rows)} of {len(every)} held-out images. {READ}",
            [Block([tile(items, row) for row in rows])],
        )
        for name, (title, rows) in chosen.items()
    }


def tile(items: Points, row: int) -> Tile:
    """Return an item's tile with its points marked."""
    pairs = zip(items.targets[row], items.predictions[row], strict=True)
    marks = [
        (mark_at(target, items.sides[row], TARGET), mark_at(point, items.sides[row], PREDICTION))
        for target, point in pairs
    ]
    caption = [
        Line(f"error {items.errors[row]:.1f} pixels"),
        Line(items.paths[row], colour=GREY, cut_front=True),
    ]
    return Tile(int(row), caption, marks=marks)


def mark_at(point: Floats, sides: Ints, colour: str) -> Mark:
    """Return a mark, its place as shares of the image's sides."""
    x, y = point / sides
    return Mark(float(x), float(y), colour)
