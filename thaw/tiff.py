"""Pages of a TIFF, with any number of samples a pixel.

Pillow reads a page of one sample a pixel, and knows some layouts of three and four; of others it
leaves samples out, or refuses. Here Pillow is shown such a page as grey ones: samples that lie side
by side as one page that is as many times as wide, samples in planes as a page each. So all that
Pillow decompresses can be read.
"""

import io
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from thaw.images import UPRIGHT, BadImageError

REDUCED, MASK = 1, 4  # bits of NewSubfileType: a smaller copy, a mask; neither is a band
NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, ZSTD = 1, 5, 8, 32946, 32773, 50000
LOSSLESS = (NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, ZSTD)
BLACK_IS_ZERO, COLOURS, INKS = 1, 2, 5
TOGETHER, PLANES = 1, 2
NO_PREDICTOR, DIFFERENCES = 1, 2
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of files above 4 GB
LONG = 4  # TIFF's type of 32 bits


class Tag(IntEnum):
    """Tags of a page, as TIFF 6.0 calls them."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    PLANAR_CONFIGURATION = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SAMPLE_FORMAT = 339


KEPT = (
    Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH, Tag.COMPRESSION, Tag.PREDICTOR, Tag.ROWS_PER_STRIP,
    Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS, Tag.TILE_WIDTH, Tag.TILE_LENGTH, Tag.TILE_OFFSETS,
    Tag.TILE_BYTE_COUNTS,
)  # fmt: skip


def is_tiff(start: bytes) -> bool:
    """Say whether a file is a TIFF by its first four bytes."""
    return start in MAGIC


def read_pages(content: bytes) -> list[Image.Image]:
    """Return the pages of a TIFF in order, loaded; one of several samples as that many grey ones.

    Smaller copies and masks, which some programs add as further pages, are left out.

    Args:
        content: of the file.

    Raises:
        BadImageError: a page of a layout that is not read. What Pillow raises for broken files
            passes.
    """
    pages: list[Image.Image] = []
    for place, page in _directories(content):
        if page.get(Tag.NEW_SUBFILE_TYPE, 0) & (REDUCED | MASK):
            continue
        if _has_samples(page):
            pages += _samples(content, page)
        else:
            pages.append(_load(_header(content, place) + content[8:]))
    if not pages:
        raise BadImageError("no page can be read")
    return pages


def _directories(content: bytes) -> Iterator[tuple[int, ImageFileDirectory_v2]]:
    """Yield each page's place in the file and its directory."""
    file = io.BytesIO(content)
    header = file.read(8)
    if header[2] == 43 or header[3] == 43:
        raise BadImageError("a BigTIFF; save it as TIFF")
    directory = ImageFileDirectory_v2(header)
    places: list[int] = []
    while directory.next and directory.next not in places:
        places.append(directory.next)
        file.seek(directory.next)
        directory.load(file)
        page = ImageFileDirectory_v2(header)
        for tag, value in directory.items():
            page[tag] = value
        yield places[-1], page


def _header(content: bytes, place: int) -> bytes:
    """Return a TIFF header, in the file's byte order, that names another first page."""
    return content[:4] + struct.pack(f"{_order(content)}L", place)


def _order(content: bytes) -> str:
    """Return the file's byte order as `struct` writes it."""
    return "<" if content.startswith(b"II") else ">"


def _load(content: bytes) -> Image.Image:
    """Open and load a TIFF's first page."""
    image = Image.open(io.BytesIO(content), formats=("TIFF",))
    image.load()
    return image


def _has_samples(page: ImageFileDirectory_v2) -> bool:
    """Say whether a page is one of several plain samples a pixel, and no photograph's codec."""
    return (
        page.get(Tag.SAMPLES_PER_PIXEL, 1) > 1
        and page.get(Tag.COMPRESSION, NONE) in LOSSLESS
        and page.get(Tag.PHOTOMETRIC) in (0, BLACK_IS_ZERO, COLOURS, INKS)
    )


def _samples(content: bytes, page: ImageFileDirectory_v2) -> list[Image.Image]:
    """Return each sample of a page as a grey image, upright."""
    if len(set(page[Tag.BITS_PER_SAMPLE])) > 1:
        raise BadImageError(f"samples of {page[Tag.BITS_PER_SAMPLE]} bits: all must have the same")
    unsigned = page[Tag.BITS_PER_SAMPLE][0] <= 16 and page.get(Tag.SAMPLE_FORMAT, (1,))[0] == 1
    odd = _order(content) == ">" or page.get(Tag.PREDICTOR, NO_PREDICTOR) != NO_PREDICTOR
    # Pillow takes these in the wrong byte order, and sums of differences need their sign.
    if odd and not unsigned and page.get(Tag.COMPRESSION, NONE) != NONE:
        raise BadImageError(
            "samples with a sign or of more than 16 bits, compressed with a predictor or in "
            "big-endian order; save it without compression"
        )
    planes = page.get(Tag.PLANAR_CONFIGURATION, TOGETHER) == PLANES
    images = _separate(content, page) if planes else _side_by_side(content, page)
    turn = UPRIGHT.get(page.get(Tag.ORIENTATION, 1))
    return [image.transpose(turn) for image in images] if turn is not None else images


def _separate(content: bytes, page: ImageFileDirectory_v2) -> list[Image.Image]:
    """Read samples in planes, whose strips or tiles follow each other."""
    count = page[Tag.SAMPLES_PER_PIXEL]
    images = []
    for number in range(count):
        changes = {}
        for tag in (
            Tag.STRIP_OFFSETS,
            Tag.STRIP_BYTE_COUNTS,
            Tag.TILE_OFFSETS,
            Tag.TILE_BYTE_COUNTS,
        ):
            if tag in page:
                length = len(page[tag]) // count
                changes[tag] = page[tag][number * length : (number + 1) * length]
        images.append(_grey(content, page, changes))
    return images


def _side_by_side(content: bytes, page: ImageFileDirectory_v2) -> list[Image.Image]:
    """Read samples that lie together, pixel by pixel."""
    count, width = page[Tag.SAMPLES_PER_PIXEL], page[Tag.IMAGE_WIDTH]
    changes = {Tag.IMAGE_WIDTH: width * count, Tag.PREDICTOR: NO_PREDICTOR}
    if Tag.TILE_WIDTH in page:
        changes[Tag.TILE_WIDTH] = page[Tag.TILE_WIDTH] * count
    wide = np.asarray(_grey(content, page, changes))
    values = wide.astype(wide.dtype.newbyteorder("=")).reshape(len(wide), width, count)
    if page.get(Tag.PREDICTOR) == DIFFERENCES:
        values = _summed(values, page.get(Tag.TILE_WIDTH, width))
    return [Image.fromarray(np.ascontiguousarray(values[:, :, i])) for i in range(count)]


def _summed(values: NDArray[np.generic], block: int) -> NDArray[np.generic]:
    """Undo differences between neighbours in a row, within blocks of so many columns."""
    parts = [values[:, start : start + block] for start in range(0, values.shape[1], block)]
    return np.concatenate([part.cumsum(1, dtype=values.dtype) for part in parts], 1)


def _grey(content: bytes, page: ImageFileDirectory_v2, changes: dict[Tag, Any]) -> Image.Image:
    """Read a page as one of a single sample, with some of its tags changed."""
    tags = {tag: page[tag] for tag in KEPT if tag in page} | changes
    tags |= {Tag.SAMPLES_PER_PIXEL: 1, Tag.PHOTOMETRIC: BLACK_IS_ZERO}
    tags |= {tag: page[tag][0] for tag in (Tag.BITS_PER_SAMPLE, Tag.SAMPLE_FORMAT) if tag in page}
    padded = content + bytes(len(content) % 2)  # a directory begins on an even byte
    place = len(padded)
    order = _order(content)
    return _load(_header(content, place) + padded[8:] + _directory(tags, place, order))


def _directory(tags: dict[Tag, Any], place: int, order: str) -> bytes:
    """Write a directory whose values are numbers or several of them, all of 32 bits.

    (Pillow's own would move the strips.)
    """
    entries, values = [struct.pack(f"{order}H", len(tags))], b""
    after = place + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        numbers = tags[tag] if isinstance(tags[tag], tuple) else (tags[tag],)
        packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
        inside = packed if len(numbers) == 1 else struct.pack(f"{order}L", after + len(values))
        entries.append(struct.pack(f"{order}HHL", tag, LONG, len(numbers)) + inside)
        values += b"" if len(numbers) == 1 else packed
    return b"".join(entries) + bytes(4) + values
