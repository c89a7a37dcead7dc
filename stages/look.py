"""Look at the images before any training: `python -m stages look pets_sample`."""

from typing import Annotated

import pandas as pd
from pydantic import Field

from stages.common.paths import Paths
from thaw.core.files import new_folder, read_json, write_csv
from thaw.look.tables import by_part, class_counts, dimensions, duplicates
from thaw.pack import open_packed
from thaw.params.base import Seed, params, plural, some_of
from thaw.params.training.augment import Augment
from thaw.vision.items import read_items

TILES = 24


@params
class Params:
    """The sections that this stage reads."""

    seed: Seed
    threads: Annotated[int, Field(ge=1, le=1024)]
    augment: Augment


def run(params: Params, paths: Paths) -> None:
    """Write tables of classes, dimensions and duplicates, and two sheets of the same images.

    The sheets hold the first images of the frozen fit's first epoch (what it would begin with,
    if it has no epochs): in ``batch_before.jpg`` as packed, in ``batch.jpg`` as training sees
    them. Dimensions are the originals', which `pack` noted.
    """
    vocab = read_json(paths.vocab)
    packed = open_packed(paths.packed)
    task, items = read_items(paths.items, packed, vocab)
    sizes, twice = dimensions(packed, items), duplicates(packed, items)
    tables = {"classes": class_counts(items, task, vocab), "sizes": sizes, "duplicates": twice}
    with new_folder(paths.result("look", "tables")) as folder:
        for name, table in tables.items():
            write_csv(folder / f"{name}.csv", table)
    write_csv(paths.result("look", "class_counts.csv"), by_part(tables["classes"]))
    print(told_dimensions(sizes))
    if len(twice):
        print(warning(twice, str(paths.result("look", "tables/duplicates.csv"))))

    import torch

    from stages.common.torch_setup import set_up_torch
    from thaw.look.batch import (
        as_augmented,
        as_packed,
        captions_of,
        first_positions,
        first_view,
        sheet_of,
    )
    from thaw.sheets.draw import draw_sheet
    from thaw.sheets.sheet import channels_note
    from thaw.vision.split_images import split_images

    set_up_torch(params.threads)
    images = split_images(packed, items, task, params.augment, torch.device("cpu"))["train"]
    positions = first_positions(images, params.seed, TILES)
    captions = captions_of(items["train"], positions, task, vocab)
    view = first_view(images, params.seed)
    batches = {
        "batch_before": (as_packed(images, positions, captions), "A training batch, as packed"),
        "batch": (
            as_augmented(images, positions, captions, view),
            "The same batch, as training sees it",
        ),
    }
    with new_folder(paths.result("look", "pictures")) as folder:
        for name, (batch, title) in batches.items():
            note = f"The first {len(batch)} images of the frozen fit."
            channels = channels_note(packed.channels)
            sheet = sheet_of(batch, title, note + channels)
            pixels = [seen.pixels for seen in batch]
            draw_sheet(sheet, pixels.__getitem__, folder / f"{name}.jpg")


def told_dimensions(sizes: pd.DataFrame) -> str:
    """Say how large the images are."""
    if len(sizes) == 1:
        return f"all images are {sizes['width'].iloc[0]} x {sizes['height'].iloc[0]} pixels."
    commonest, total = sizes.iloc[0], sizes["images"].sum()
    return (
        f"images of {len(sizes)} sizes, {sizes['width'].min()} to {sizes['width'].max()} pixels "
        f"wide, {sizes['height'].min()} to {sizes['height'].max()} high; "
        f"{commonest['images']} of {total} are {commonest['width']} x {commonest['height']}."
    )


def warning(twice: pd.DataFrame, file: str) -> str:
    """Name images that are in two splits."""
    splits = twice["duplicate_split"].unique().tolist()
    first = [
        f"{pair.path} ({pair.split}) is {pair.duplicate_path} ({pair.duplicate_split})"
        for pair in twice.itertuples()
    ]
    count = twice["duplicate_path"].nunique()
    return (
        f"warning: {plural(count, 'image')} of {', '.join(splits)} "
        f"{'is' if count == 1 else 'are'} in another split as well, pixel for pixel: "
        f"{some_of(first, 3)}. All are in {file}. What is measured on them flatters the model: "
        "delete the copies, or hold equal images out together (split.by: {rule: group, …})."
    )
