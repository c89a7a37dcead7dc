"""Answers for images: a class, several, or points."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from thaw.answers import Answer, answer
from thaw.bands import reader
from thaw.images import BadImageError, Decoded, Reader, read_images
from thaw.predict import read_thresholds
from thaw.predictor import Predictor, open_as_validated
from thaw.serving.columns import PATH, Cells, cells_of, input_columns
from thaw.serving.files import file_of
from thaw.vision.task import Task

# What is stated of a number: more digits than these depend on what else is in a batch.
PROBABILITY_DIGITS, PIXEL_DIGITS = 4, 2
KEYS: dict[Task, tuple[str, ...]] = {
    "label": ("label", "probabilities"),
    "labels": ("labels", "probabilities"),
    "points": ("points",),
}


@dataclass(frozen=True)
class ImageService:
    """An opened model of images.

    Attributes:
        predictor: computes.
        thresholds: from which probability on a class is named.
        batch_size: images that go through the model together, as in validation.
    """

    predictor: Predictor
    thresholds: Mapping[str, float]
    batch_size: int

    @property
    def columns(self) -> list[str]:
        """What it can be asked with."""
        about = self.predictor.about
        return list(input_columns(about.task, about.bands))

    def answer(self, table: pd.DataFrame) -> list[dict[str, Any]]:
        """Answer each row, a row that cannot be answered by its ``error``.

        Args:
            table: `image` (or a column for each of an item's files) in base64, or `path`.

        Returns:
            `label` (None below the chosen confidence) or `labels`, with `probabilities` of all
            classes, likeliest first; or `points` with x and y in pixels of the upright image.
            And `error`, None if there is none; all else is None if there is one.
        """
        rows = cells_of(table)
        starts = range(0, len(rows), self.batch_size)
        return [told for s in starts for told in self._answers(rows[s : s + self.batch_size])]

    def _answers(self, rows: Sequence[Cells]) -> Iterator[dict[str, Any]]:
        about = self.predictor.about
        images = self._decode(rows)
        good = [image for image in images if not isinstance(image, BadImageError)]
        outputs = iter(self.predictor.outputs(good) if good else ())
        for image in images:
            if isinstance(image, BadImageError):
                yield failed(about.task, str(image))
            else:
                said = answer(about.task, next(outputs), about.vocab, self.thresholds)
                yield told(about.task, said)

    def _decode(self, rows: Sequence[Cells]) -> list[Decoded | BadImageError]:
        """Decode a batch's images as `pack` does, through files: what decodes them reads files."""
        about = self.predictor.about
        read = never_failing(reader(about.model.channels, about.bands))
        with tempfile.TemporaryDirectory(prefix="thaw-") as scratch:
            places = [
                place_of(row, about.bands, Path(scratch, str(n))) for n, row in enumerate(rows)
            ]
            files = [place for place in places if isinstance(place, Path)]
            decoded = read_images(read, files, about.presize)
            return [next(decoded) if isinstance(place, Path) else place for place in places]


def never_failing(read: Reader) -> Reader:
    """Take what fails on one file, a disk of the network too, for that file's own trouble."""

    def read_or_say(file: Path, presize: int) -> Decoded:
        try:
            return read(file, presize)
        except OSError as error:
            raise BadImageError(f"{PATH}: no file there that can be read") from error

    return read_or_say


def place_of(cells: Cells, bands: Sequence[str], scratch: Path) -> Path | BadImageError:
    """Do what `file_of` does, returning what it raises; `scratch` is made."""
    scratch.mkdir()
    try:
        return file_of(cells, bands, scratch)
    except BadImageError as error:
        return error


def told(task: Task, said: Answer) -> dict[str, Any]:
    """Turn an answer into what becomes JSON."""
    chances = {name: round(p, PROBABILITY_DIGITS) for name, p in said.probabilities.items()}
    match task:
        case "label":
            found: dict[str, Any] = {"label": next(iter(said.given), None)}
        case "labels":
            found = {"labels": said.given}
        case "points":
            places = [[round(value, PIXEL_DIGITS) for value in point] for point in said.points]
            return {"points": [{"x": x, "y": y} for x, y in places], "error": None}
    return found | {"probabilities": chances, "error": None}


def failed(task: Task, why: str) -> dict[str, Any]:
    """Say why there is no answer, under the same keys."""
    return dict.fromkeys(KEYS[task]) | {"error": why}


def open_images(folder: Path, threads: int, batch_size: int) -> ImageService:
    """Load a model of images.

    Args:
        folder: as `thaw.serving.service.open_service` has it.
        threads: that torch computes with.
        batch_size: of validation.
    """
    torch.set_num_threads(threads)
    thresholds = read_thresholds(folder / "threshold.json")
    return ImageService(open_as_validated(folder), thresholds, batch_size)
