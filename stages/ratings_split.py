"""Split a table of ratings: what `split` does for recipes of ratings."""

from stages.common.paths import Paths
from thaw.core.errors import UserError
from thaw.core.files import write_json, write_parquet
from thaw.params.ratings import RatingsLabel
from thaw.params.split import Split, TimeSplit
from thaw.params.training.data import Data
from thaw.ratings.table import (
    items_table,
    merged,
    ratings_metrics,
    read_ratings,
    vocabularies,
)
from thaw.tables.splits import check_split, held_out


def split_ratings(seed: int, data: Data, split: Split, label: RatingsLabel, paths: Paths) -> None:
    """Write the table of ratings, the users, items and titles, and the numbers of all."""
    folder = paths.raw / data.folder
    ratings = read_ratings(folder, label)
    if isinstance(split.by, TimeSplit) and split.by.column not in ratings:
        raise UserError(
            f"split.by.column: the ratings have no '{split.by.column}'. Name it in "
            "split.label.columns, or split by another rule."
        )
    levels = ratings["rating"].astype(str)
    valid = held_out(ratings.assign(label=levels, path=""), split.by, seed)
    check_split([], valid, [])
    vocabulary = vocabularies(ratings, valid)
    table = items_table(ratings, valid, vocabulary)
    metrics = ratings_metrics(table, vocabulary) | {"merged_items": merged(ratings)}
    write_parquet(paths.items, table)
    write_json(paths.vocab, vocabulary)
    write_json(paths.result("split", "metrics.json"), metrics)
    print(
        f"{metrics['users']} users, {metrics['items']} items, {metrics['train/ratings']} ratings "
        f"to train on, {metrics['valid/ratings']} held out."
    )
    if metrics["merged_items"]:
        print(f"{metrics['merged_items']} items have another one's title and are one with it.")
    if metrics["valid/unknown"]:
        print(
            f"{metrics['valid/unknown']} held-out ratings are of users or items without a "
            "training rating."
        )
