"""Find image files and decode them to upright RGB arrays."""

import errno
import os
import struct
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, some_of

EXTENSIONS = {
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
# What a file may really hold, whatever its suffix. Pillow's other formats stay out: some of them
# run programs (EPS), none of them are photographs.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
# Pillow's own limit against files of a few kilobytes that decode to gigabytes.
MAX_PIXELS = 2 * 89_478_485
# What Pillow's readers raise for broken content, apart from OSError.
BROKEN = (
    SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    ZeroDivisionError, RuntimeError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
# Pillow also warns of large files and odd metadata; here a file is either good or bad.
warnings.filterwarnings("ignore", module=r"PIL\.")

AHEAD = 4  # images a thread that wait to be used
EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Pixels = NDArray[np.uint8]


class BadImageError(Exception):
    """An image file that cannot be decoded; the message is the reason and names no path."""


class Decoded(NamedTuple):
    """An image, uint8 [height, width, channels], and its size in the file, upright, in pixels."""

    pixels: Pixels
    source_height: int
    source_width: int


# Decodes the image at a path, with a short side of so many pixels at most.
Reader = Callable[[Path, int], Decoded]


def list_images(folder: Path, leave_out: Collection[str] = ()) -> list[str]:
    """List the image files at any depth below a folder.

    Hidden files and folders are skipped, links to folders are not followed.

    Args:
        folder: where to look.
        leave_out: folders to skip, relative to `folder`, with forward slashes.

    Returns:
        Paths relative to `folder`, with forward slashes, sorted by character.

    Raises:
        UserError: the folder, or one to leave out, does not exist; no image is found; or a name
            is not UTF-8.
    """
    if not folder.is_dir():
        raise UserError(
            f"data.folder: {folder} does not exist; {_did_you_mean(folder)} "
            "Correct it, or run the stage untar first."
        )
    for name in leave_out:
        if not (folder / name).is_dir():
            raise UserError(
                f"data.leave_out: {folder / name} does not exist; {_did_you_mean(folder / name)}"
            )
    found = find_images(folder, leave_out)
    if not found:
        raise UserError(
            f"data.folder: no images below {folder}; endings looked for: "
            f"{' '.join(sorted(EXTENSIONS))}. Set it to the folder that holds them."
        )
    if odd := [name for name in found if not _is_utf8(name)]:
        raise UserError(
            f"{len(odd)} file names below {folder} are not UTF-8: "
            f"{some_of(sorted(map(ascii, odd)))}. Rename them."
        )
    return found


def find_images(folder: Path, leave_out: Collection[str] = ()) -> list[str]:
    """Do what `list_images` does, and complain of nothing."""
    skipped = {folder / name for name in leave_out}
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [n for n in folders if n[0] != "." and Path(parent, n) not in skipped]
        found += [
            Path(parent, name).relative_to(folder).as_posix()
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
        ]
    return sorted(found)


def _did_you_mean(folder: Path) -> str:
    """Name a folder that is there in the place of the first one that is not."""
    parent = next(p for p in folder.parents if p.is_dir())
    names = sorted(p.name for p in parent.iterdir() if p.is_dir() and p.name[0] != ".")
    return did_you_mean(folder.relative_to(parent).parts[0], names)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(path: Path, presize: int) -> Pixels:
    """Decode an image file as `read_image` does.

    Returns:
        uint8 RGB [height, width, 3].
    """
    return read_image(path, presize).pixels


def read_image(path: Path, presize: int) -> Decoded:
    """Decode an image file, whatever its suffix says, to upright RGB with a given short side.

    The first frame counts. EXIF orientation is applied, transparency is laid on white, 16-bit and
    wider grey values are scaled to 8 bits. Shrinking keeps the aspect ratio and is antialiased
    (bilinear, as the published weights were trained on); nothing is enlarged.

    Args:
        path: the file.
        presize: short side of the result in pixels; a shorter one stays.

    Raises:
        BadImageError: the file is missing, not an image, truncated or of absurd dimensions.
    """
    with bad_if_broken(path), Image.open(path, formats=FORMATS) as image:
        return _decode(image, presize)


@contextmanager
def bad_if_broken(path: Path) -> Iterator[None]:
    """Turn what Pillow raises for a broken or missing file into `BadImageError`.

    Args:
        path: the file that is being read.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.ENOENT, errno.EACCES):
            raise  # the machine's trouble, not the file's
        raise BadImageError(_reason(error, path)) from error
    except BROKEN as error:
        raise BadImageError(_reason(error, path)) from error


def read_images(
    read: Reader, files: Sequence[Path], presize: int, workers: int | None = None
) -> Iterator[Decoded | BadImageError]:
    """Decode files on threads (Pillow works outside of the interpreter's lock), some ahead.

    Args:
        read: decodes one of them, as `read_image` does.
        files: to decode.
        presize: as `read_image` has it.
        workers: threads; None for one a core.

    Yields:
        Each file's image or what is wrong with it, in order.
    """
    workers = workers or _cores()
    waiting: deque[Future[Decoded | BadImageError]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for file in files:
            waiting.append(pool.submit(_try_reading, read, file, presize))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _try_reading(read: Reader, path: Path, presize: int) -> Decoded | BadImageError:
    try:
        return read(path, presize)
    except BadImageError as error:
        return error


def _cores() -> int:
    """Return the number of cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def packed_bytes(path: Path, presize: int, channels: int = 3) -> int:
    """Return how many bytes `decode` would give, from the file's header; 0 if it has none."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = shrunk(*image.size, presize)
    except (OSError, *BROKEN):
        return 0
    return channels * width * height


def _reason(error: Exception, path: Path) -> str:
    """Say what is wrong with a file in words that are the same on every machine."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format" if path.stat().st_size else "empty file"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).replace(f"{path.parent}/", "")
    return " ".join(text.split()) or type(error).__name__


def _decode(image: Image.Image, presize: int) -> Decoded:
    width, height = image.size
    # A JPEG decodes at 1/2, 1/4 or 1/8 of its sides for a fraction of the time. At least twice
    # the target is left for the antialiased resize; on photographs the difference is invisible
    # (49 dB and more).
    drafted = image.draft(None, shrunk(width, height, 2 * presize))
    image.load()
    if drafted is None:
        width, height = image.size  # Pillow turns a TIFF upright while it loads
    rgb = _to_rgb(image)
    target = shrunk(width, height, presize)
    if rgb.size != target:
        box = drafted[1] if drafted else None
        rgb = rgb.resize(target, Image.Resampling.BILINEAR, box=box)
    orientation = orientation_of(image)
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
        if orientation >= 5:  # a quarter turn
            width, height = height, width
    return Decoded(np.asarray(rgb), height, width)


def shrunk(width: int, height: int, presize: int) -> tuple[int, int]:
    """Return (width, height) with the short side no longer than `presize`."""
    short = min(width, height)
    if short <= presize:
        return width, height
    return round(width * presize / short), round(height * presize / short)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) if there is none that can be read."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except BROKEN:  # the pixels may be sound even so
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB; transparency is laid on white."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = grey_to_8_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey values of 16 bits, 32 bits or floating point to 0..255.

    Raises:
        BadImageError: some values are infinite or not numbers.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadImageError("grey values that are not finite")
    # Pillow reads 16 bits of a PGM into mode I.
    if image.mode.startswith("I;16") or image.format == "PPM":
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 65535:  # 32 bits hold whatever someone put there: take the nearest
        low, high = 0.0, next(top for top in _tops(image.mode) if high <= top)
    scaled = (values.astype(np.float32) - low) * (255 / ((high - low) or 1.0))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _tops(mode: str) -> tuple[float, ...]:
    """List the values that may stand for white in a grey image of floats or 32 bits."""
    return (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
