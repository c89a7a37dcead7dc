"""Tiny data and recipes of several labels, points and ratings."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from project import tiny_recipe

WIDTH, HEIGHT, COUNT = 48, 40, 36
CALIBRATION = "40 0 24\n0 40 20\n0 0 1\n\n0 0 0 0\n"


def picture(draw: Callable[[ImageDraw.ImageDraw], None]) -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), (60, 70, 90))
    draw(ImageDraw.Draw(image))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    target = folder / "archive.tgz"
    with tarfile.open(target, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target


def things() -> dict[str, bytes]:
    """Images of a disc, a bar, both, or neither, and the table of a CSV that Windows wrote."""
    files, rows = {}, ["fname,labels,is_valid"]
    for number in range(COUNT):
        there = [name for bit, name in enumerate(("bar", "disc")) if number >> bit & 1]

        def draw(pen: ImageDraw.ImageDraw, there: list[str] = there, number: int = number) -> None:
            if "bar" in there:
                pen.rectangle((4, 4 + number % 9, 43, 9 + number % 9), fill="yellow")
            if "disc" in there:
                pen.ellipse((10 + number % 12, 20, 26 + number % 12, 36), fill="white")

        files[f"things/train/{number:02}.png"] = picture(draw)
        rows.append(f"{number:02}.png,{' '.join(there)},{number % 3 == 0}")
    text = "\ufeff" + "\r\n".join([*rows[:5], "", "  ", ",,", *rows[5:]]) + "\r\n\r\n"
    return files | {"things/train.csv": text.encode()}


def heads() -> dict[str, bytes]:
    """A disc at a place that pose and calibration say, in the folders of three persons."""
    files = {}
    for number in range(COUNT):
        person = f"{number % 3 + 1:02}"
        x, y, z = (number * 7 % 30) - 15.0, (number * 5 % 20) - 10.0, 40.0

        def draw(pen: ImageDraw.ImageDraw, x: float = x, y: float = y) -> None:
            pen.ellipse((x + 24 - 4, y + 20 - 4, x + 24 + 4, y + 20 + 4), fill="white")

        stem = f"heads/{person}/frame_{number:05}"
        files[f"{stem}_rgb.png"] = picture(draw)
        files[f"{stem}_pose.txt"] = f"1 0 0\n0 1 0\n0 0 1\n\n{x} {y} {z}\n".encode()
        files[f"heads/{person}/rgb.cal"] = CALIBRATION.encode()
    return files


def points_csv() -> bytes:
    """The same discs, the centre and a point to its right, as a CSV."""
    rows = ["file,x,y,x2,y2"]
    for name in heads():
        if name.endswith("_rgb.png"):
            number = int(name.split("_")[1])
            x, y = (number * 7 % 30) - 15.0 + 24, (number * 5 % 20) - 10.0 + 20
            rows.append(f"{name.removeprefix('heads/')},{x},{y},{x + 4},{y}")
    return "\n".join(rows).encode()


def several_recipe(file: Path) -> dict[str, Any]:
    split = {
        "label": {
            "rule": "csv", "file": "things/train.csv", "path": "fname", "column": "labels",
            "separator": " ",
        },
        "by": {"rule": "column", "column": "is_valid"},
    }  # fmt: skip
    return tiny_recipe(file) | {
        "lr_unfrozen": {"steps": 0},
        "data": {"folder": "things/train", "presize": 36, "max_bad": 0.0},
        "augment": {"image_side": 32, "resize": "squish", "views": 2},
        "split": split,
    }


def points_recipe(file: Path) -> dict[str, Any]:
    split = {
        "label": {"rule": "pose", "image": "rgb.png"},
        "by": {"rule": "group", "column": "folder", "valid": ["02"]},
    }
    recipe = tiny_recipe(file)
    return recipe | {
        "lr_frozen": {"steps": 0},
        "lr_unfrozen": {"steps": 0},
        "data": {"folder": "heads", "presize": 36, "max_bad": 0.0},
        "model": recipe["model"] | {"y_range": [-1.0, 1.0]},
        "augment": {"image_side": [32, 40], "min_scale": 0.4, "views": 2},
        "split": split,
    }


FILMS = {
    "seed": 1,
    "threads": 1,
    "precision": "fp32",
    "data": {"folder": "ml-100k"},
    "model": {"factors": 6},
    "download": {"url": "sample:movielens"},
    "untar": {},
    "split": {"label": {"rule": "ratings"}, "by": {"rule": "random", "valid": 0.2}},
    "lr_find": {"steps": 60},
    "fit": {"epochs": 6, "lr": "auto", "weight_decay": 0.1},
}
