"""Label the images and hold some of them out: `python -m stages split pets`."""

import numpy as np

from stages.common.paths import Paths
from stages.ratings_split import split_ratings
from thaw.bands import list_items
from thaw.core.files import require, write_json, write_parquet
from thaw.params.base import Seed, params, some_of
from thaw.params.ratings import RatingsLabel
from thaw.params.split import FolderSplit, Split
from thaw.params.training.data import Data
from thaw.tables.csv_items import LINE, used_columns
from thaw.tables.labels import add_columns, find_items
from thaw.tables.splits import add_group, check_split, held_out, keep_folders, split_metrics
from thaw.tables.targets import add_targets


@params
class Params:
    """The sections that `split` reads."""

    seed: Seed
    data: Data
    split: Split


def run(params: Params, paths: Paths) -> None:
    """Write the items table, the vocabulary, and the numbers of both."""
    split, folder = params.split, paths.raw / params.data.folder
    require(paths.raw)
    if isinstance(split.label, RatingsLabel):
        split_ratings(params.seed, params.data, split, split.label, paths)
        return
    listed = list_items(folder, params.data)
    items = find_items(split.label, listed, paths.raw)
    if isinstance(split.by, FolderSplit):
        items, others = keep_folders(items, split.by)
        if others:
            named = some_of(f"{name} ({count})" for name, count in others.items())
            print(f"{sum(others.values())} images in other folders are left out: {named}.")
    items, labels, classes = add_targets(items, split.label, split.classes, folder)
    items = add_columns(items, split.columns)
    items = add_group(items, split.by)
    valid = held_out(items, split.by, params.seed)
    check_split(labels, valid, classes)

    items["split"] = np.where(valid, "valid", "train")
    own = ["path", "label", "target", "split"]
    metrics = split_metrics(labels, valid, classes) | {"left_out": len(listed) - len(items)}
    kept = set(items) - {*own, LINE, *used_columns(split.label)}
    write_parquet(paths.items, items[own + sorted(kept)])
    write_json(paths.vocab, classes)
    write_json(paths.result("split", "metrics.json"), metrics)
    kinds = f"{len(classes)} classes" if classes else "points"
    print(
        f"{kinds}, {metrics['train/items']} items to train on, "
        f"{metrics['valid/items']} held out, {metrics['left_out']} images left out."
    )
    if metrics.get("valid/smallest_class") == 0:
        print("Some classes have no held-out item.")
