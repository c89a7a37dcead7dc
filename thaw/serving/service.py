"""A finished model as a server has it: opened once, asked for tables, computing as validation did.

Torch is imported when a model is opened.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from thaw.core.files import read_json, write_json
from thaw.params.base import params, parse
from thaw.predict import check_model, read_description

SETTINGS = "serving.json"

Told = dict[str, Any]  # an item's answer: what becomes JSON


@params
class Settings:
    """The content of ``serving.json``: what validation's last digits depend on.

    Attributes:
        threads: that torch computes with; sums depend on it.
        batch_size: images that go through the model together.
    """

    threads: int
    batch_size: int


class Service(Protocol):
    """What answers."""

    @property
    def columns(self) -> Sequence[str]:
        """What it can be asked with."""

    def answer(self, table: pd.DataFrame) -> Sequence[Told]:
        """Answer each row, a row that cannot be answered by its ``error``."""


def write_settings(folder: Path, settings: Settings) -> Path:
    """Write ``serving.json`` into a folder; return the file."""
    file = folder / SETTINGS
    write_json(file, {"threads": settings.threads, "batch_size": settings.batch_size})
    return file


def read_settings(folder: Path) -> Settings:
    """Read a model's ``serving.json``.

    Raises:
        UserError: it was written by another version, or by hand.
    """
    file = folder / SETTINGS
    return parse(Settings, read_json(file), str(file))


def open_service(folder: Path) -> Service:
    """Load a model.

    Args:
        folder: with ``model.json``, ``model.safetensors``, ``serving.json`` and, of images,
            ``threshold.json``; of ratings, ``rated.parquet``.

    Raises:
        UserError: something is missing, or does not belong together.
    """
    check_model(folder)
    settings = read_settings(folder)
    if read_description(folder / "model.json").get("task") == "ratings":
        from thaw.serving.ratings import open_ratings

        return open_ratings(folder, settings.threads)
    from thaw.serving.images import open_images

    return open_images(folder, settings.threads, settings.batch_size)
