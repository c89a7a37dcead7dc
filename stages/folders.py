"""Folders as outputs: whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw.core.files import remove, replacing


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder under a temporary name; on success it takes the place of `path`."""
    with replacing(path) as part:
        part.mkdir()
        yield part
        remove(path)
