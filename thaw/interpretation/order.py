"""Which items a sheet shows, and in which order."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.sheets.sheet import Block, Sheet, Tile
from thaw.tables.splits import shuffled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MOST_TILES = 75  # on a sheet sorted by class: more would be too small, or too many bytes
DECIMALS = 6  # the last bits of exponentials differ between processors


def highest(scores: Floats, among: Mask, most: int) -> Ints:
    """Return the rows with the highest scores, highest first, ties in the items' order.

    Args:
        scores: float [n].
        among: bool [n], the rows that count.
        most: how many at most.
    """
    order = np.argsort(-scores.round(DECIMALS), kind="stable")
    rows: Ints = order[among[order]][:most].astype(np.int64)
    return rows


def drawn(among: Mask, most: int, seed: int, purpose: str) -> Ints:
    """Draw rows at random.

    Args:
        among: bool [n], the rows that count.
        most: how many at most.
        seed: the recipe's.
        purpose: makes draws of one seed differ.
    """
    order = shuffled(len(among), seed, f"interpret/{purpose}")
    rows: Ints = order[among[order]][:most]
    return rows


def losses_by_group(
    paths: Sequence[str], losses: Floats, groups: Mapping[str, Ints]
) -> pd.DataFrame:
    """Return path, group and loss of every item of each group, groups in their order.

    Args:
        paths: of the items.
        losses: float [n], or errors.
        groups: rows of each group by name.
    """
    rows = np.concatenate([np.asarray(of, np.int64) for of in groups.values()])
    return pd.DataFrame(
        {
            "path": [paths[row] for row in rows],
            "group": np.repeat(list(groups), [len(of) for of in groups.values()]),
            "loss": losses[rows].round(DECIMALS),
        }
    )


def right_and_wrong(right: Mask) -> dict[str, Ints]:
    """Return the rows of right answers and of wrong ones; `right` is bool [n]."""
    return {"right": np.flatnonzero(right), "wrong": np.flatnonzero(~right)}


def by_class(
    title: str,
    note: str,
    vocab: Sequence[str],
    of_class: Sequence[tuple[list[Tile], str]],
    per_class: int,
) -> Sheet:
    """Return a sheet with a block for each class that has something to show.

    Args:
        title: of the sheet.
        note: how to read it.
        vocab: class names.
        of_class: tiles and a note for each class.
        per_class: the most tiles of a class; fewer where there are many classes.
    """
    pairs = list(zip(vocab, of_class, strict=True))
    blocks = [Block(tiles, name, count) for name, (tiles, count) in pairs if tiles]
    each = max(1, min(per_class, MOST_TILES // max(len(blocks), 1)))
    shown = [Block(b.tiles[:each], b.heading, b.note) for b in blocks[:MOST_TILES]]
    of = f" {len(shown)} of {len(vocab)} classes." if len(shown) < len(vocab) else ""
    return Sheet(title, note + of, shown, each)
