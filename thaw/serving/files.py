"""From what was sent to files that can be decoded: images in base64, and paths. No torch."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from thaw.bands import files_of
from thaw.images import BadImageError
from thaw.serving.columns import IMAGE, PATH, Cells, image_columns


def file_of(cells: Cells, bands: Sequence[str], scratch: Path) -> Path:
    """Return the file of an item, of several the first.

    Args:
        cells: its row: a path, or the content of its files in base64.
        bands: endings of an item's files, if it has several.
        scratch: an empty folder, into which sent content is written.

    Raises:
        BadImageError: with what the row lacks, or what is wrong with it. What is no plain file
            that can be read is told apart no further, and nothing of a file's content is told.
    """
    sent = image_columns(bands)
    if PATH in cells:
        if any(name in cells for name in sent):
            raise BadImageError(f"both {PATH} and {IMAGE}: give one of them")
        return plain_file(Path(cells[PATH]), bands)
    if lacking := [name for name in sent if name not in cells]:
        raise BadImageError(f"no {lacking[0]} and no {PATH}: give one of them")
    for name, band in zip(sent, bands or [""], strict=True):
        (scratch / f"item{band}").write_bytes(decoded(cells[name], name))
    return scratch / f"item{bands[0] if bands else ''}"


def plain_file(path: Path, bands: Sequence[str]) -> Path:
    """Refuse what cannot be opened, or what would never end, such as a pipe or a device.

    Raises:
        BadImageError: without saying whether there is something at that path.
    """
    for file in files_of(path, bands):
        try:
            usable = file.is_file()
        except OSError:  # a name too long, a folder that is closed to us
            usable = False
        if not usable:
            raise BadImageError(f"{PATH}: no file there that can be read")
    return path


def decoded(text: str, name: str) -> bytes:
    """Decode base64, with or without line breaks, or a ``data:`` address.

    Raises:
        BadImageError: it is something else.
    """
    content = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImageError(f"{name} is no base64") from error
