"""Print every step from a file to the loss: `python -m thaw.summary pets`, or `models/pets`.

One item and one batch go through the data and the finished model of a recipe as validation sees
them, the batch through augmentation as well; of each step it says shape, dtype and range, of each
layer how many parameters it has, and how many of them train while the body is frozen and after.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from thaw.core.errors import UserError
from thaw.predict import check_model, one_or_more, read_description
from thaw.summary.steps import Layer, Step

WIDTH = 120  # of the tables where the output is no terminal


def find_folder(name: str) -> Path:
    """Return a model's folder, from its path or from the name of the recipe.

    Raises:
        UserError: there is no finished model.
    """
    folder = Path(name)
    if not folder.exists() and len(folder.parts) == 1:
        folder = Path("models", name)
    check_model(folder)
    return folder


def summarise_images(console: Console, folder: Path, size: int) -> None:
    """Print a recipe of images."""
    from thaw.summary import images

    opened = images.open_images(folder)
    positions = opened.batch(size)
    first = int(positions[0])
    file = images.file_of(opened, first)
    console.print(f"[bold]one item[/]: {images.said_of(opened, first)}", highlight=False)
    if file is None:
        print(f"Its file is not in {opened.raw}; `dvc repro untar@{folder.name}` unpacks it again.")
    else:
        print(os.path.relpath(file))
    seen, pixels, targets = images.batch_steps(opened, positions[:1])
    layers = images.model_layers(opened, pixels, targets)
    steps = [*images.file_steps(opened, first, file), *seen]
    console.print(steps_table(steps + [layer.output for layer in layers]))
    seen, pixels, targets = images.batch_steps(opened, positions)
    console.print(
        f"[bold]a batch of {len(positions)}[/] training images, seen as in validation",
        highlight=False,
    )
    console.print(steps_table(seen))
    console.print("[bold]the same images[/], augmented as in training", highlight=False)
    console.print(steps_table(images.batch_steps(opened, positions, augmented=True)[0]))
    about = opened.model.about
    console.print(
        f"[bold]the model[/] on that batch: {about.model.arch}, {opened.model.precision} "
        f"on {opened.model.device.type}, not augmented",
        highlight=False,
    )
    layers = images.model_layers(opened, pixels, targets)
    console.print(layers_table(layers, frozen=True))
    for part, groups in (("body", ("early", "late")), ("head", ("head",))):
        print(totals([layer for layer in layers if layer.group in groups], part))


def summarise_ratings(console: Console, folder: Path, size: int) -> None:
    """Print a recipe of ratings."""
    from thaw.summary import ratings

    network, table, titles = ratings.open_ratings(folder)
    console.print(f"[bold]one item[/]: {ratings.said_of(table, titles, 0)}", highlight=False)
    seen, pairs, targets = ratings.batch_steps(table, slice(1))
    layers = ratings.model_layers(network, pairs, targets)
    console.print(steps_table(seen + [layer.output for layer in layers]))
    seen, pairs, targets = ratings.batch_steps(table, slice(size))
    console.print(f"[bold]a batch of {len(targets)}[/] training ratings", highlight=False)
    console.print(steps_table(seen))
    console.print("[bold]the model[/] on that batch", highlight=False)
    layers = ratings.model_layers(network, pairs, targets)
    console.print(layers_table(layers, frozen=False))
    print(f"parameters: {sum(layer.parameters for layer in layers):,}, all of which train")


def plain_table(*columns: str) -> Table:
    """Begin a table with a line below its head and nothing else around it."""
    return Table(*columns, box=SIMPLE_HEAD, pad_edge=False)


def steps_table(steps: Sequence[Step]) -> Table:
    """Lay steps out, a row each."""
    table = plain_table("step", "shape", "dtype", "range")
    for made in steps:
        table.add_row(made.name, shape_of(made), made.dtype, range_of(made))
    return table


def layers_table(layers: Sequence[Layer], frozen: bool) -> Table:
    """Lay layers out, a row each.

    Args:
        layers: in the order in which a batch goes through them.
        frozen: whether the model has a frozen phase.
    """
    table = plain_table("layer", "shape", "dtype", "range")
    for name in ("parameters", "train frozen") if frozen else ("parameters",):
        table.add_column(name, justify="right")
    before = layers[0].group
    for layer in layers:
        if layer.group not in (before, ""):
            table.add_section()
            before = layer.group
        made, counts = layer.output, (layer.parameters, layer.frozen)
        numbers = [f"{number:,}" if layer.parameters else "" for number in counts]
        name = f"{made.name} {layer.kind}".rstrip()
        cells = [name, shape_of(made), made.dtype, range_of(made), *numbers]
        table.add_row(*cells[: len(table.columns)])
    return table


def totals(layers: Sequence[Layer], part: str) -> str:
    """Say how many parameters a part of the model has, and how many of them train."""
    every, frozen, unfrozen = (
        sum(getattr(layer, name) for layer in layers)
        for name in ("parameters", "frozen", "unfrozen")
    )
    return f"{part}: {every:,} parameters; {frozen:,} train frozen, {unfrozen:,} after"


def shape_of(made: Step) -> str:
    """Write a shape as 64 x 3 x 224 x 224; a single number has none."""
    return " x ".join(map(str, made.shape)) or "one number"


def range_of(made: Step) -> str:
    """Write the smallest and the largest value, or the only one."""
    low, high = (f"{value:.4g}" for value in (made.low, made.high))
    return low if low == high else f"{low} .. {high}"


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m thaw.summary", description=__doc__)
    parser.add_argument("model", help="a recipe's name, or its model's folder, such as models/pets")
    parser.add_argument(
        "--batch", type=one_or_more, default=64, metavar="N", help="items a batch (default: 64)"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the summary; return the exit code: 1 after a message."""
    chosen = parse_arguments(arguments)
    terminal = sys.stdout.isatty()
    console = Console(soft_wrap=not terminal, width=None if terminal else WIDTH)
    try:
        folder = find_folder(chosen.model)
        of_ratings = read_description(folder / "model.json").get("task") == "ratings"
        (summarise_ratings if of_ratings else summarise_images)(console, folder, chosen.batch)
    except UserError as error:
        print(error, file=sys.stderr)
    except FileNotFoundError as error:
        print(
            f"{error.filename} is missing. Bring it back: dvc pull, or dvc repro", file=sys.stderr
        )
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        return 130
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
