"""Images of any number of channels: from a file of several bands, or from several files.

A recipe of RGB images (``data.channels: 3`` and no ``data.bands``) is read by `thaw.images` alone.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from thaw.core.errors import UserError
from thaw.images import (
    FORMATS,
    UPRIGHT,
    BadImageError,
    Decoded,
    Pixels,
    Reader,
    bad_if_broken,
    grey_to_8_bits,
    list_images,
    orientation_of,
    read_image,
    shrunk,
)
from thaw.params.base import plural, some_of
from thaw.params.training.data import Data
from thaw.tiff import is_tiff, read_pages

RGB = 3  # channels


def list_items(folder: Path, data: Data) -> list[str]:
    """List the images below a folder, of those in several files the first.

    An item of which any file is there is listed, so that a missing first one is noticed.

    Returns:
        Paths relative to `folder`, sorted by character.

    Raises:
        UserError: as `thaw.images.list_images`, or no image has one of the endings.
    """
    found = list_images(folder, data.leave_out)
    items = first_files(found, data.bands)
    if not items:
        raise UserError(
            f"data.bands: no image below {folder} ends in {some_of(data.bands)}; the first is "
            f"{found[0]}. Give the endings of an item's files."
        )
    return items


def first_files(paths: Sequence[str], bands: Sequence[str]) -> list[str]:
    """Return the first file of each item, sorted; without `bands` every file is an item.

    Args:
        paths: of files of all bands, and of others, which are left out.
        bands: the endings, none of which is another's.
    """
    if not bands:
        return list(paths)
    stems = {path.removesuffix(band) for path in paths for band in bands if path.endswith(band)}
    return sorted(stem + bands[0] for stem in stems)


def files_of(path: Path, bands: Sequence[str]) -> list[Path]:
    """Return the files of an item.

    Args:
        path: the first of them.
        bands: endings, each in the place of the first.

    Raises:
        BadImageError: the name has another ending.
    """
    if not bands:
        return [path]
    if not path.name.endswith(bands[0]):
        raise BadImageError(f"its name does not end in {bands[0]}, the first of the bands")
    stem = path.name.removesuffix(bands[0])
    return [path.with_name(stem + band) for band in bands]


def reader(channels: int, bands: Sequence[str]) -> Reader:
    """Return what decodes an item of so many channels, from the file of its name and others."""
    if channels == RGB and not bands:
        return read_image
    return functools.partial(read_bands, channels=channels, bands=tuple(bands))


def read_bands(path: Path, presize: int, *, channels: int, bands: Sequence[str]) -> Decoded:
    """Decode an item of several bands: the channels of its files, one after the other.

    Values become 8 bits and images are shrunk and turned upright as in `thaw.images.read_image`,
    each channel by itself; a colour image is three channels, transparency one more.

    Args:
        path: the item's file, or the first of them.
        presize: short side of the result in pixels; a shorter one stays.
        channels: that must be in the files.
        bands: endings of the item's files; none for one file.

    Returns:
        uint8 [height, width, channels], and the size in the files.

    Raises:
        BadImageError: a file is missing or broken, the files differ in their size in pixels, or
            there are other numbers of channels in them.
    """
    planes: list[Image.Image] = []
    for file in files_of(path, bands):
        try:
            with bad_if_broken(file):
                planes += _planes_of_file(file)
        except BadImageError as error:
            if file == path:
                raise
            raise BadImageError(f"{file.name}: {error}") from error
        if planes[-1].size != planes[0].size:
            raise BadImageError(
                f"{file.name} is {_shape(planes[-1])} pixels, {path.name} {_shape(planes[0])}"
            )
    if len(planes) != channels:
        raise BadImageError(f"{plural(len(planes), 'channel')}, not {channels} (data.channels)")
    width, height = planes[0].size
    target = shrunk(width, height, presize)
    shrunken = [plane.resize(target, Image.Resampling.BILINEAR) for plane in planes]
    return Decoded(np.stack([np.asarray(plane) for plane in shrunken], 2), height, width)


def _planes_of_file(file: Path) -> list[Image.Image]:
    """Return a file's channels, upright, 8 bits each, all of one size."""
    with file.open("rb") as opened:
        if is_tiff(opened.read(4)):
            pages = read_pages(file.read_bytes())
        else:
            opened.seek(0)
            pages = [Image.open(opened, formats=FORMATS)]
            pages[0].load()
    planes = [plane for page in pages for plane in _planes_of(page)]
    if odd := [plane for plane in planes if plane.size != planes[0].size]:
        raise BadImageError(f"pages of {_shape(planes[0])} and of {_shape(odd[0])} pixels")
    return planes


def _planes_of(image: Image.Image) -> tuple[Image.Image, ...]:
    """Return a loaded image's channels, upright, 8 bits each."""
    orientation = orientation_of(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = grey_to_8_bits(image)
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    return image.split()


def _shape(plane: Image.Image) -> str:
    return f"{plane.width} x {plane.height}"


def displayable(pixels: Pixels) -> Pixels:
    """Return what people can look at: the first three channels as red, green and blue.

    Args:
        pixels: uint8 [height, width, channels]; of fewer than three, the first is shown as grey.

    Returns:
        uint8 RGB [height, width, 3]; a view where there are three channels.
    """
    if pixels.shape[2] < RGB:
        return np.repeat(pixels[:, :, :1], RGB, axis=2)
    return pixels[:, :, :RGB]
