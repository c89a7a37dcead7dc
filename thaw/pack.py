"""Pack decoded images into one file that is read by memory map, with an index beside it."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.bands import RGB, list_items, reader
from thaw.core.errors import UserError
from thaw.core.files import new_folder, read_parquet, require_free_space, write_csv, write_parquet
from thaw.core.progress import track
from thaw.images import BadImageError, Decoded, Pixels, packed_bytes, read_images
from thaw.params.base import some_of
from thaw.params.training.data import Data

PIXELS, INDEX = "pixels.bin", "index.parquet"
INDEX_TYPES = {
    "path": "str", "offset": "int64", "height": "int32", "width": "int32",
    "source_height": "int32", "source_width": "int32",
}  # fmt: skip
# A further column, where images are not RGB; the same number in each row.
CHANNELS = "channels"
# Headers read to guess the packed file's length.
SAMPLED_HEADERS = 200


@dataclass(frozen=True)
class Packed:
    """Packed images, opened read-only.

    Attributes:
        paths: relative to ``data.folder``, sorted.
        heights, widths: int64 [images], in pixels, as packed.
        source_heights, source_widths: int64 [images], in pixels, as in the files, upright.
        offsets: int64 [images], where each image begins in `pixels`.
        pixels: the whole file, read-only, uint8 [bytes].
        mapped: the memory map that `pixels` is, unless they are in memory.
        channels: of every image; the first three of three or more are red, green and blue.
        bad: paths of the files that could not be decoded.
    """

    paths: list[str]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    source_heights: NDArray[np.int64]
    source_widths: NDArray[np.int64]
    offsets: NDArray[np.int64]
    pixels: Pixels
    channels: int = RGB
    bad: Sequence[str] = ()
    mapped: mmap.mmap | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def image(self, i: int) -> Pixels:
        """Return image `i` as a read-only view, uint8 [height, width, channels]; not copied."""
        shape = (self.heights[i], self.widths[i], self.channels)
        begin = self.offsets[i]
        return self.pixels[begin : begin + np.prod(shape)].reshape(shape)

    def read_ahead(self, rows: Sequence[int]) -> None:
        """Have the system read images from the disk, if it has not; returns at once.

        So that a file larger than memory is read while the batch before is worked on, and not page
        by page when this one is copied.
        """
        if self.mapped is None or not hasattr(mmap, "MADV_WILLNEED"):
            return
        for i in rows:
            begin = int(self.offsets[i])
            end = begin + int(self.heights[i] * self.widths[i]) * self.channels
            begin -= begin % mmap.PAGESIZE
            self.mapped.madvise(mmap.MADV_WILLNEED, begin, end - begin)

    def to_pixels(
        self, rows: NDArray[np.int64], points: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Turn [-1, 1] from edge to edge into pixels of the upright originals.

        Args:
            rows: int64 [n], which images.
            points: float32 [n, 2 * p], x and y of each point.
        """
        return ((points + 1) / 2 * self._sides(rows, points)).astype(np.float32)

    def from_pixels(
        self, rows: NDArray[np.int64], points: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """The inverse of `to_pixels`."""
        return (points / self._sides(rows, points) * 2 - 1).astype(np.float32)

    def _sides(self, rows: NDArray[np.int64], points: NDArray[Any]) -> NDArray[np.int64]:
        sides = np.stack([self.source_widths[rows], self.source_heights[rows]], 1)
        return np.tile(sides, points.shape[1] // 2)

    def rows(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Find images by path.

        Returns:
            int64 [paths]: the number of each image here, -1 if it is not packed.
        """
        number = {path: i for i, path in enumerate(self.paths)}
        return np.array([number.get(path, -1) for path in paths], np.int64)


def open_packed(packed: Path) -> Packed:
    """Open packed images for reading.

    Args:
        packed: the folder that `pack_images` filled.

    Raises:
        UserError: files are missing or do not belong together.
    """
    pixels, index_file = packed / PIXELS, packed / INDEX
    for file in (pixels, index_file):
        if not file.is_file():
            raise UserError(f"{file} is missing. Run the stage pack, or `dvc repro`.")
    table = read_parquet(index_file)
    decoded = table["height"] > 0
    index = table[decoded]
    columns = {name: index[name].to_numpy(np.int64) for name in INDEX_TYPES if name != "path"}
    channels = int(index[CHANNELS].iloc[0]) if CHANNELS in index else RGB
    expected = int((columns["height"] * columns["width"] * channels).sum())
    if pixels.stat().st_size != expected:
        raise UserError(
            f"{pixels} has {pixels.stat().st_size} bytes where {index_file} tells of {expected}. "
            "Run the stage pack again."
        )
    with pixels.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    return Packed(
        paths=index["path"].tolist(),
        heights=columns["height"],
        widths=columns["width"],
        source_heights=columns["source_height"],
        source_widths=columns["source_width"],
        offsets=columns["offset"],
        pixels=np.frombuffer(mapped, np.uint8),
        channels=channels,
        bad=table["path"][~decoded].tolist(),
        mapped=mapped,
    )


def pack_in_memory(images: Sequence[Decoded]) -> Packed:
    """Return decoded images of one number of channels as if they had been packed, without paths.

    Args:
        images: one at least.
    """
    sides = np.array([[*image.pixels.shape[:2], *image[1:]] for image in images], np.int64)
    lengths = np.array([image.pixels.size for image in images])
    return Packed(
        paths=[],
        heights=sides[:, 0],
        widths=sides[:, 1],
        source_heights=sides[:, 2],
        source_widths=sides[:, 3],
        offsets=lengths.cumsum() - lengths,
        pixels=np.concatenate([image.pixels.ravel() for image in images]),
        channels=images[0].pixels.shape[2],
    )


def pack_images(
    folder: Path, data: Data, packed: Path, bad_csv: Path, workers: int | None = None
) -> dict[str, int]:
    """Decode every image below a folder once and write the pixels into one file.

    The files do not depend on the number of workers. At most a few images per worker are in
    memory.

    Args:
        folder: where the images are.
        data: folders to leave out, short side, channels, and the share of images that may be bad.
        packed: a folder, to be made. ``pixels.bin``: uint8 RGB, or whatever the channels
            are, row by row, image after image in the order of the paths. ``index.parquet``: path,
            offset in bytes, height, width, source_height, source_width of each image, and channels
            if they are not three; the sides of a file that cannot be decoded are 0.
        bad_csv: to be written: path and error of each of those.
        workers: decoding threads; None for one a core.

    Returns:
        Numbers of images, of bad files, of bytes, and the range of the source's sides in pixels.

    Raises:
        UserError: too many bad files (`bad_csv` is written all the same), no good one, no images,
            or too little space on the disk.
    """
    paths = list_items(folder, data)
    need = _estimate(folder, paths, data)
    require_free_space(packed.parent, need, f"packing {len(paths)} images")
    rows: list[tuple[str, int, int, int, int, int]] = []
    bad: list[tuple[str, str]] = []
    offset = 0
    with new_folder(packed) as part:
        with (part / PIXELS).open("wb") as file:
            files = [folder / path for path in paths]
            decoded = read_images(reader(data.channels, data.bands), files, data.presize, workers)
            for path, image in zip(paths, track(decoded, len(paths), "pack"), strict=True):
                if isinstance(image, BadImageError):
                    bad.append((path, str(image)))
                    rows.append((path, offset, 0, 0, 0, 0))
                    continue
                height, width, _ = image.pixels.shape
                rows.append((path, offset, height, width, image.source_height, image.source_width))
                offset += file.write(image.pixels.data)
        write_csv(bad_csv, pd.DataFrame(bad, columns=["path", "error"]))
        _refuse_bad(bad, len(paths), data.max_bad, bad_csv)
        index = pd.DataFrame(rows, columns=list(INDEX_TYPES)).astype(INDEX_TYPES)
        if data.channels != RGB:
            index[CHANNELS] = np.int32(data.channels)
        write_parquet(part / INDEX, index)
    good = index[index["height"] > 0]
    return {
        "images": len(good),
        "bad": len(bad),
        "bytes": offset,
        "source_height/min": int(good["source_height"].min()),
        "source_height/max": int(good["source_height"].max()),
        "source_width/min": int(good["source_width"].min()),
        "source_width/max": int(good["source_width"].max()),
    }


def _estimate(folder: Path, paths: list[str], data: Data) -> int:
    """Guess the packed file's length from the headers of some of the images."""
    sample = paths[:: -(-len(paths) // SAMPLED_HEADERS)]
    total = sum(packed_bytes(folder / path, data.presize, data.channels) for path in sample)
    return int(1.05 * total * len(paths) / len(sample))


def _refuse_bad(bad: list[tuple[str, str]], count: int, max_bad: float, bad_csv: Path) -> None:
    if len(bad) <= max_bad * count and len(bad) < count:
        return
    raise UserError(
        f"data.max_bad: {len(bad)} of {count} images cannot be decoded, more than the share of "
        f"{max_bad:g} that may: {some_of(f'{path} ({error})' for path, error in bad)}. All are in "
        f"{bad_csv}. Mend or delete them, or raise data.max_bad."
    )
