"""Ask a finished model: `python -m thaw.predict models/pets photo.jpg`, or a folder of photos.

A model of one label names a class, of several labels all that it finds, with probabilities; it
says "none of these" where none is above the threshold that the stage `threshold` chose. A model
of points tells them in pixels. A model of ratings is asked for users by their ids, and names the
items that each has not rated and would rate highest.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from safetensors import SafetensorError

from thaw.answer_pictures import draw_answer
from thaw.answers import Answer, answer
from thaw.bands import first_files, reader
from thaw.core.errors import UserError
from thaw.core.files import read_json, read_parquet
from thaw.images import EXTENSIONS, BadImageError, find_images, read_images
from thaw.params.base import parse, some_of
from thaw.params.ratings_model import RatingsModel
from thaw.ratings.interpret import Learned, read_learned
from thaw.recommend import recommend
from thaw.vision.model_file import read_model_file

if TYPE_CHECKING:
    from thaw.predictor import Predictor

BATCH = 64
RATED = ("split", "user", "user_row", "item_row")  # columns of what was rated
OF_RATINGS = ("model", "users", "items", "titles")  # in model.json


def list_files(inputs: Sequence[Path], bands: Sequence[str] = ()) -> dict[Path, Path]:
    """List files as they were named, and the images of folders, of several files the first.

    Args:
        inputs: files and folders.
        bands: endings of an image's files, if the model takes images of several.

    Returns:
        What to call a picture of each: its path below the folder that was named.

    Raises:
        UserError: something does not exist, or a folder has no image.
    """
    files: dict[Path, Path] = {}
    for path in inputs:
        if not path.exists():
            raise UserError(f"{path} does not exist. Name a photo, or a folder of photos.")
        found = first_files(find_images(path), bands) if path.is_dir() else [""]
        if not found:
            raise UserError(
                f"{path} has no images; endings looked for: "
                f"{' '.join(bands or sorted(EXTENSIONS))}."
            )
        for name in found:
            files.setdefault(path / name, Path(name or path.name))
    return files


def check_names(files: dict[Path, Path]) -> None:
    """Refuse to draw two pictures into one file.

    Raises:
        UserError: with the first two images of one name.
    """
    first: dict[Path, Path] = {}
    for file, name in files.items():
        if name in first:
            raise UserError(
                f"--draw: {first[name]} and {file} would both become {name}.png. "
                "Draw them into two folders."
            )
        first[name] = file


def answers(
    predictor: "Predictor", files: Sequence[Path], thresholds: dict[str, float]
) -> Iterator[tuple[Path, Answer | BadImageError]]:
    """Yield what the model says of each file, in order, or what is wrong with the file."""
    about = predictor.about
    read = reader(about.model.channels, about.bands)
    decoded = read_images(read, files, about.presize)
    for start in range(0, len(files), BATCH):
        images = list(islice(decoded, BATCH))
        good = [image for image in images if not isinstance(image, BadImageError)]
        outputs = iter(predictor.outputs(good)) if good else iter(())
        for file, image in zip(files[start : start + BATCH], images, strict=True):
            if isinstance(image, BadImageError):
                yield file, image
            else:
                yield file, answer(about.task, next(outputs), about.vocab, thresholds)


def predict_images(arguments: argparse.Namespace) -> int:
    """Print a line for each image; return 1 if some could not be decoded."""
    folder: Path = arguments.model
    if arguments.rated:
        raise UserError(
            "--rated is for models of ratings, and this is one of images. Leave it out."
        )
    about = read_model_file(folder / "model.json")
    files = list_files([Path(name) for name in arguments.inputs], about.bands)
    if arguments.draw:
        check_names(files)

    from thaw.predictor import open_predictor

    thresholds = read_thresholds(folder / "threshold.json")
    read, broken = reader(about.model.channels, about.bands), 0
    predictor = open_predictor(folder, len(files))
    for file, said in answers(predictor, list(files), thresholds):
        if isinstance(said, BadImageError):
            print(f"{file}: {said}", file=sys.stderr)
            broken += 1
            continue
        print(f"{file}: {said.text(arguments.top)}", flush=True)
        if arguments.draw:
            try:
                draw_answer(read, file, said, arguments.draw / f"{files[file]}.png")
            except OSError as error:
                why = error.strerror or error
                raise UserError(
                    f"--draw {arguments.draw}: {why}. Name a folder to write into."
                ) from None
    return int(broken > 0)


def predict_ratings(arguments: argparse.Namespace) -> int:
    """Print the best unrated items of each user."""
    folder: Path = arguments.model
    if arguments.draw:
        raise UserError("--draw is for models of images, and this is one of ratings. Leave it out.")
    project = folder.resolve().parents[1]
    items = arguments.rated or project / "data" / folder.resolve().name / "items.parquet"
    if not items.exists():
        raise UserError(f"{items} is missing: it says what users rated. Name it: --rated FILE.")
    learned, table = read_ratings_model(folder, items)
    for user in arguments.inputs:
        known = user in learned.vocabulary["users"]
        print(f"user {user}" if known else f"user {user}, unknown, so an average one")
        best = recommend(learned, table, user, arguments.top)
        for row in best.itertuples():
            print(f"  {row.prediction:.2f}  {row.title}")
    return 0


def read_ratings_model(folder: Path, items: Path) -> tuple[Learned, pd.DataFrame]:
    """Read a model of ratings, and the table of what was rated.

    Raises:
        UserError: a file is broken, or not what it should be.
    """
    file = folder / "model.json"
    description = read_description(file)
    if lacking := [name for name in OF_RATINGS if name not in description]:
        raise UserError(f"{file}.{lacking[0]}: missing. Train again, or copy it anew.")
    model = parse(RatingsModel, description["model"], f"{file}.model")
    table = read_parquet(items)
    if lacking := [name for name in RATED if name not in table]:
        raise UserError(f"{items} has no column {lacking[0]}: it is no table of ratings.")
    try:
        return read_learned(folder / "model.safetensors", table, description, model), table
    except SafetensorError as error:
        raise UserError(f"{folder / 'model.safetensors'} cannot be read: {error}.") from error


def read_thresholds(file: Path) -> dict[str, float]:
    """Read the chosen probabilities by class; none if none were chosen.

    Raises:
        UserError: the file holds something else.
    """
    thresholds = read_description(file) if file.exists() else {}
    for name, value in thresholds.items():
        if not isinstance(value, int | float):
            raise UserError(f"{file}.{name}: {value!r} is not a number. Copy the file anew.")
    return thresholds


def check_model(folder: Path) -> None:
    """Refuse a folder without a finished model.

    Raises:
        UserError: with the models beside it.
    """
    lacking = [name for name in ("model.json", "model.safetensors") if not (folder / name).exists()]
    if lacking:
        models = sorted(file.parent.name for file in folder.parent.glob("*/model.json"))
        raise UserError(
            f"{folder / lacking[0]} does not exist. Train first (dvc repro), or name another "
            f"folder{': ' + some_of(models) if models else ''}."
        )


def read_description(file: Path) -> dict[str, Any]:
    """Read a JSON file beside a model.

    Raises:
        UserError: it holds something else.
    """
    try:
        content = read_json(file)
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}. Train again, or copy it anew.") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no object. Train again, or copy it anew.")
    return content


def one_or_more(text: str) -> int:
    """Read a count from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m thaw.predict", description=__doc__)
    parser.add_argument("model", type=Path, help="a model's folder, such as models/pets")
    parser.add_argument("inputs", nargs="+", help="photos, folders of photos; or ids of users")
    parser.add_argument(
        "--top", type=one_or_more, default=3, metavar="N",
        help="classes to show, or items of a user (default: 3)",
    )  # fmt: skip
    parser.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="write each photo there with its answer on it"
    )
    parser.add_argument(
        "--rated", type=Path, metavar="FILE",
        help="what users rated (default: the items.parquet of the recipe)",
    )  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer; return the exit code: 1 after a message, also if some images are broken."""
    chosen = parse_arguments(arguments)
    try:
        check_model(chosen.model)
        of_ratings = read_description(chosen.model / "model.json").get("task") == "ratings"
        return predict_ratings(chosen) if of_ratings else predict_images(chosen)
    except UserError as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
