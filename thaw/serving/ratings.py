"""Answers for users and items: a rating; for a user alone, what that user would rate highest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from thaw.params.training.model import Precision
from thaw.predict import read_description, read_ratings_model
from thaw.ratings.batches import VALID_BATCH
from thaw.ratings.interpret import Learned
from thaw.ratings.model import RatingsNetwork, build_ratings_network
from thaw.ratings.table import numbered
from thaw.recommend import recommend
from thaw.serving.columns import ITEM, RATED, USER, Cells, cells_of
from thaw.training.model import load_weights
from thaw.training.precision import autocast

DIGITS = 4
BEST = 10  # items for a user alone


@dataclass(frozen=True)
class RatingsService:
    """An opened model of ratings.

    Attributes:
        network: rates pairs, in eval mode, on `device`.
        learned: the same model without torch, to look through all items of a user.
        rated: what each user rated.
        known: the ids of users and items with training ratings.
        device: where `network` computes.
        precision: that it was trained in.
    """

    network: RatingsNetwork
    learned: Learned
    rated: pd.DataFrame
    known: Mapping[str, Collection[str]]
    device: torch.device
    precision: Precision

    @property
    def columns(self) -> list[str]:
        """What it can be asked with."""
        return [USER, ITEM]

    def answer(self, table: pd.DataFrame) -> list[dict[str, Any]]:
        """Answer each row.

        Args:
            table: ids, `user` and `item`; a row without an item asks for the best ones.

        Returns:
            `rating`, or `best`: item, title and rating of the ten items that the user has not
            rated and would rate highest. `unknown`: which of the two ids had no training rating
            and counts as the average of all others. `error`, None if there is none.
        """
        rows = cells_of(table)
        pairs = [row for row in rows if USER in row and ITEM in row]
        ratings = iter(self._rate(pairs))
        return [
            self._told(row, next(ratings) if USER in row and ITEM in row else None) for row in rows
        ]

    def _told(self, row: Cells, rating: float | None) -> dict[str, Any]:
        found: dict[str, Any] = dict.fromkeys(["rating", "best", "unknown", "error"])
        if USER not in row:
            return found | {"error": f"no {USER}: give the id of one"}
        names = {name: row[name] for name in (USER, ITEM) if name in row}
        unknown = [name for name, id_ in names.items() if id_ not in self.known[name]]
        if rating is not None:
            return found | {"rating": round(rating, DIGITS), "unknown": unknown}
        return found | {"best": self._best(row[USER]), "unknown": unknown}

    def _best(self, user: str) -> list[dict[str, Any]]:
        best = recommend(self.learned, self.rated, user, BEST)
        best["rating"] = best.pop("prediction").round(DIGITS)
        rows: list[dict[str, Any]] = best.to_dict(orient="records")
        return rows

    @torch.inference_mode()
    def _rate(self, rows: Sequence[Cells]) -> list[float]:
        """Rate pairs as validation does."""
        if not rows:
            return []
        vocabulary = self.learned.vocabulary
        numbers = [
            torch.from_numpy(numbered(pd.Series([row[name] for row in rows], dtype=str), names))
            for name, names in ((USER, vocabulary["users"]), (ITEM, vocabulary["items"]))
        ]
        ratings: list[float] = []
        for pairs in torch.stack(numbers).to(self.device).split(VALID_BATCH, 1):
            with autocast(self.precision, self.device):
                ratings += self.network(pairs).float().squeeze(1).tolist()
        return ratings


def open_ratings(folder: Path, threads: int) -> RatingsService:
    """Load a model of ratings on the GPU if there is one, else on the CPU.

    Args:
        folder: as `thaw.serving.service.open_service` has it.
        threads: that torch computes with.
    """
    torch.set_num_threads(threads)
    learned, rated = read_ratings_model(folder, folder / RATED)
    about = read_description(folder / "model.json")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vocabulary = learned.vocabulary
    network = build_ratings_network(
        len(vocabulary["users"]), len(vocabulary["items"]), learned.model, seed=0
    )
    load_weights(folder / "model.safetensors", network)
    network.to(device).eval()
    precision: Precision = about["precision"] if about["device"] == device.type else "fp32"
    known = {USER: frozenset(vocabulary["users"]), ITEM: frozenset(vocabulary["items"])}
    return RatingsService(network, learned, rated, known, device, precision)
