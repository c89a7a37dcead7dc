"""Images of several bands, written as other programs write them."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

TYPES = {np.dtype("u1"): (8, 1), np.dtype("u2"): (16, 1), np.dtype("f4"): (32, 3)}


def ramps(channels: int, height: int = 12, width: int = 20) -> np.ndarray:
    """Channels that all differ, uint8 [height, width, channels]."""
    y, x, c = np.mgrid[:height, :width, :channels]
    return ((3 * x + 5 * y * (c + 1) + 40 * c) % 256).astype(np.uint8)


def save_pages(path: Path, bands: np.ndarray, **options: object) -> Path:
    """Write each channel of [height, width, channels] as a page of a TIFF, through Pillow."""
    first, *others = [Image.fromarray(band) for band in np.moveaxis(bands, 2, 0)]
    first.save(path, "TIFF", save_all=True, append_images=others, **options)
    return path


def tiff_of_samples(
    values: np.ndarray, *, planes: bool = False, order: str = "<", deflate: bool = False
) -> bytes:
    """Write a TIFF of several samples a pixel as section 8 of TIFF 6.0 lays it out.

    Args:
        values: [height, width, samples], in two strips.
        planes: one sample after the other instead of pixel by pixel.
        order: of bytes, as `struct` writes it.
        deflate: compressed, as differences of neighbours (section 14) of the same sample.
    """
    height, width, samples = values.shape
    rows = -(-height // 2)
    groups = [values[:, :, i : i + 1] for i in range(samples)] if planes else [values]
    strips = []
    for samples_of in groups:
        group = samples_of
        if deflate:
            before = np.concatenate([np.zeros_like(group[:, :1]), group[:, :-1]], 1)
            group = group - before
        for part in (group[:rows], group[rows:]):
            strip = part.astype(part.dtype.newbyteorder(order)).tobytes()
            strips.append(zlib.compress(strip) if deflate else strip)
    bits, kind = TYPES[values.dtype]
    places = np.cumsum([8, *map(len, strips)]).tolist()
    tags = {
        256: [width], 257: [height], 258: [bits] * samples, 259: [8 if deflate else 1], 262: [1],
        273: places[:-1], 277: [samples], 278: [rows], 279: [len(s) for s in strips],
        284: [2 if planes else 1], 317: [2 if deflate else 1], 338: [0] * (samples - 1),
        339: [kind] * samples,
    }  # fmt: skip
    place = places[-1] + places[-1] % 2
    head = struct.pack(f"{order}2sHL", b"II" if order == "<" else b"MM", 42, place)
    body = b"".join(strips).ljust(place - 8, b"\0")
    entries, after = struct.pack(f"{order}H", len(tags)), b""
    for tag, numbers in tags.items():
        entries += struct.pack(f"{order}HHL", tag, 4, len(numbers))
        end = place + 2 + 12 * len(tags) + 4 + len(after)
        packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
        entries += packed if len(numbers) == 1 else struct.pack(f"{order}L", end)
        after += packed if len(numbers) > 1 else b""
    return head + body + entries + bytes(4) + after


def png_of(band: np.ndarray) -> bytes:
    """Return a PNG's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(band).save(buffer, "PNG")
    return buffer.getvalue()


def save_files(folder: Path, stem: str, bands: np.ndarray, endings: tuple[str, ...]) -> Path:
    """Write an item of five channels as files: the first three as one, the others each.

    Returns:
        The first file's path.
    """
    parts = [bands[:, :, :3], *np.moveaxis(bands[:, :, 3:], 2, 0)]
    for ending, part in zip(endings, parts, strict=True):
        (folder / f"{stem}{ending}").write_bytes(png_of(part))
    return folder / f"{stem}{endings[0]}"
