"""Pictures inside of a page, as data."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}

# What is known to be drawn, in the order in which it is shown.
CAPTIONS = {
    "batch_before": "Items of a batch as they are packed",
    "batch": "The same items as they are trained on, augmented",
    "confusion": "Confusion: actual classes against answers",
    "top_losses": "The largest losses",
    "most_incorrect": "The most incorrect of each class",
    "most_uncertain": "The most uncertain answers",
    "random_wrong": "Wrong answers, drawn at random",
    "most_correct": "The most correct of each class",
    "best": "The smallest errors",
    "random_right": "Right answers, drawn at random",
    "random": "Answers, drawn at random",
    "errors": "Distribution of the error",
    "components": "Principal components of what was learned of the items",
}


@dataclass(frozen=True)
class Picture:
    """A picture with its bytes in its address.

    Attributes:
        uri: a ``data:`` address.
        caption: what it shows.
        width: in pixels.
        height: in pixels.
    """

    uri: str
    caption: str
    width: int
    height: int


def read_pictures(files: Iterable[Path], most: int) -> tuple[list[Picture], list[Path]]:
    """Read pictures in the order in which they are shown.

    Args:
        files: of any kind; those that are no pictures are passed over.
        most: bytes of all of them; the page is longer by a third, in its letters.

    Returns:
        The pictures, and the files that were left out because the page would become too long.
    """
    order = list(CAPTIONS)
    known = [file for file in files if file.suffix in TYPES]
    known.sort(key=lambda f: (order.index(f.stem) if f.stem in CAPTIONS else len(order), f.name))
    shown, left_out, total = [], [], 0
    for file in known:
        length = file.stat().st_size
        if total + length > most:
            left_out.append(file)
            continue
        total += length
        shown.append(read_picture(file))
    return shown, left_out


def read_picture(file: Path) -> Picture:
    """Read a JPEG or PNG file."""
    content = base64.b64encode(file.read_bytes()).decode("ascii")
    with Image.open(file) as image:
        width, height = image.size
    caption = CAPTIONS.get(file.stem, file.stem.replace("_", " "))
    return Picture(f"data:{TYPES[file.suffix]};base64,{content}", caption, width, height)
