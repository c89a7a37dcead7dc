"""Label the images and hold some of them out: `python -m stages split pets`."""

import numpy as np

from stages.paths import Paths
from thaw.files import write_json, write_parquet
from thaw.images import list_images
from thaw.labels import add_columns, find_items, label_items, vocabulary
from thaw.params.base import Seed, params, some_of
from thaw.params.data import Data
from thaw.params.split import FolderSplit, Split
from thaw.splits import check_split, held_out, keep_folders, split_metrics


@params
class Params:
    """The sections that `split` reads."""

    seed: Seed
    data: Data
    split: Split


def run(params: Params, paths: Paths) -> None:
    """Write the items table, the vocabulary, and the numbers of both."""
    split = params.split
    listed = list_images(paths.raw / params.data.folder, params.data.leave_out)
    items = find_items(split.label, listed, paths.raw)
    if len(items) < len(listed):
        print(f"{len(listed) - len(items)} of {len(listed)} images are not in the CSV: left out.")
    if isinstance(split.by, FolderSplit):
        items, others = keep_folders(items, split.by)
        if others:
            named = some_of(f"{name} ({count})" for name, count in others.items())
            print(f"{sum(others.values())} images in other folders are left out: {named}.")
    items = add_columns(label_items(items, split.label), split.columns)
    labels = items["label"].tolist()
    classes = vocabulary(labels, split.classes)
    valid = held_out(items, split.by, params.seed)
    check_split(labels, valid, classes)

    number = {name: target for target, name in enumerate(classes)}
    items["target"] = np.array([number[label] for label in labels], np.int64)
    items["split"] = np.where(valid, "valid", "train")
    own = ["path", "label", "target", "split"]
    metrics = split_metrics(items, classes) | {"left_out": len(listed) - len(items)}
    write_parquet(paths.items, items[own + sorted(set(items) - set(own))])
    write_json(paths.vocab, classes)
    write_json(paths.result("split", "metrics.json"), metrics)
    print(
        f"{len(classes)} classes, {metrics['train/items']} items to train on, "
        f"{metrics['valid/items']} held out."
    )
    if metrics["valid/smallest_class"] == 0:
        print("Some classes have no held-out item.")
