"""Write files whole or not at all, and hash them."""

import errno
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# torchvision's and fastai's files of weights carry the first eight digits of their SHA-256.
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|safetensors)$")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success rename it over `path`, else delete it.

    Works for files and for folders (a folder must not exist yet under its final name). A reader
    never sees a half-written `path`, and a killed writer leaves only a name ending in ``.part``,
    which the next writer removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    remove(part)
    try:
        yield part
        part.replace(path)
    finally:
        remove(part)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder under a temporary name; on success it takes the place of `path`."""
    with replacing(path) as part:
        part.mkdir()
        yield part
        remove(path)


def remove(path: Path) -> None:
    """Delete a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused (JSON has neither)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV with a header, floats in their shortest exact form."""
    with replacing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def write_parquet(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as Parquet (zstd), the same bytes for the same table."""
    with replacing(path) as part:
        table.to_parquet(part, index=False, compression="zstd")


def read_parquet(path: Path) -> "pd.DataFrame":
    """Read a table.

    Raises:
        FileNotFoundError: naming the file, which pyarrow's own does not.
        UserError: the file is no Parquet file, or not all of one.
    """
    import pandas as pd
    import pyarrow as pa

    require(path)
    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as Parquet ({reason}). Delete it, and let DVC make it anew."
        ) from None


def require(path: Path) -> None:
    """Insist on a file or folder.

    Raises:
        FileNotFoundError: it is not there.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def hash_in_name(name: str) -> str | None:
    """Return the first digits of the SHA-256 that a file of weights carries in its name, if any."""
    found = HASH_IN_NAME.search(name)
    return found[1] if found else None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Return what `file_sha256` does, found once by this process while a file is unchanged."""
    status = path.stat()
    return _sha256_of(path, status.st_ino, status.st_mtime_ns, status.st_size)


@functools.cache
def _sha256_of(path: Path, inode: int, changed: int, length: int) -> str:
    return file_sha256(path)


def require_free_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin something that will not fit on the disk.

    Args:
        folder: where it will be written; the nearest existing parent is asked.
        needed: bytes.
        what: a noun for the message.

    Raises:
        UserError: fewer than `needed` bytes are free.
    """
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{what} needs {needed / 1e6:,.0f} MB under {folder}, but only {free / 1e6:,.0f} MB "
            "are free. Free some space or move the project to a larger disk."
        )
