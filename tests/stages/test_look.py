"""`python -m stages look` on small data of each kind, its pictures looked at."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from project import Project
from tiny_data import HEIGHT, WIDTH, heads, points_recipe, several_recipe, things

from stages.timing import timing_is_current
from thaw.core.files import read_parquet
from thaw.sheets.draw import GAP, MARGIN
from thaw.sheets.draw import LARGEST as SIDE

ROWS, COLUMNS = 4, 6


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project]) -> Project:
    """A project with images of several labels and of points, split and packed."""
    project = new_project()
    recipes = {"several": several_recipe(Path("unread")), "points": points_recipe(Path("unread"))}
    for recipe, files in (("several", things()), ("points", heads())):
        recipes[recipe]["augment"] |= {"lighting": 0.0}  # colours are looked for
        for name, content in files.items():
            path = project.folder / "data" / recipe / "raw" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    project.write_recipes(recipes)
    for recipe in recipes:
        for stage in ("split", "pack"):
            project.stage(stage, recipe)
    return project


@pytest.fixture(scope="module")
def said(project: Project) -> dict[str, str]:
    """What `look` prints of each recipe."""
    return {recipe: project.stage("look", recipe).stdout for recipe in ("several", "points")}


def table(project: Project, recipe: str, name: str) -> pd.DataFrame:
    return pd.read_csv(project.folder / f"results/{recipe}/look/tables/{name}.csv")


def tiles(project: Project, recipe: str, name: str, height: int) -> list[np.ndarray]:
    """Cut the images out of a sheet of 24, int [height, 160, 3] each."""
    with Image.open(project.folder / f"results/{recipe}/look/pictures/{name}.jpg") as image:
        sheet = np.asarray(image).astype(int)
    dark = sheet.mean((1, 2)) < 140  # images, not captions
    tops = np.flatnonzero(dark[1:] & ~dark[:-1]) + 1
    assert len(tops) == ROWS
    corners = [(top, MARGIN + column * (SIDE + GAP)) for top in tops for column in range(COLUMNS)]
    return [sheet[top : top + height, left : left + SIDE] for top, left in corners]


def test_tables_and_sheets_of_several_labels(project: Project, said: dict[str, str]) -> None:
    assert f"all images are {WIDTH} x {HEIGHT} pixels." in said["several"]
    items = read_parquet(project.folder / "data/several/items.parquet")
    labels = {split: part["label"] for split, part in items.groupby("split")}
    expected = {
        name: [sum(name in those.split() for those in labels[s]) for s in ("train", "valid")]
        for name in ("bar", "disc")
    } | {"(none)": [int((labels[s] == "").sum()) for s in ("train", "valid")]}
    counted = table(project, "several", "classes")
    assert list(counted) == ["class", "train", "valid"]
    plotted = pd.read_csv(project.folder / "results/several/look/class_counts.csv")
    for split in ("train", "valid"):
        assert plotted["items"][plotted["split"] == split].tolist() == counted[split].tolist()
    assert counted.set_index("class").T.to_dict("list") == expected
    assert table(project, "several", "sizes").to_numpy().tolist() == [[WIDTH, HEIGHT, 36]]
    # Whatever is yellow, or white, in an image as packed is so after augmentation, nearly always.
    before = tiles(project, "several", "batch_before", 134)
    after = tiles(project, "several", "batch", 160)
    for name, found in (("yellow", yellow), ("white", white)):
        there = [found(tile) for tile in before]
        assert 4 < sum(there) < 20, name
        same = [is_there == found(tile) for is_there, tile in zip(there, after, strict=True)]
        assert sum(same) >= 22, name


def yellow(tile: np.ndarray) -> bool:
    return bool(((tile[..., 0] > 180) & (tile[..., 2] < 90)).sum() > 60)


def white(tile: np.ndarray) -> bool:
    return bool((tile.min(2) > 200).sum() > 60)


def middle(mask: np.ndarray) -> np.ndarray:
    """The mean place of the pixels of a mask, y and x."""
    return np.argwhere(mask).mean(0)


@pytest.mark.parametrize(("name", "height"), [("batch_before", 134), ("batch", 128)])
def test_a_drawn_point_lies_on_its_thing(
    project: Project, said: dict[str, str], name: str, height: int
) -> None:
    counted = table(project, "points", "classes").set_index("class")
    assert counted.loc["(all)"].tolist() == [24, 12]
    assert counted.loc["folder 02"].tolist() == [0, 12]
    seen = 0
    for tile in tiles(project, "points", name, height):
        red = (tile[..., 0] > 180) & (tile[..., 1:].max(2) < 110)
        bright = tile.min(2) > 170
        inner = bright.copy()
        inner[:3] = inner[-3:] = inner[:, :3] = inner[:, -3:] = False
        if red.sum() < 4 or (inner != bright).any():  # the disc is cut off by an edge
            continue
        seen += 1
        # Pillow draws the disc half a pixel off its point: up to 4 of the pixels here.
        assert np.linalg.norm(middle(red) - middle(bright)) < 5
    assert seen >= 8


def test_images_in_both_splits_are_warned_of(project: Project, said: dict[str, str]) -> None:
    # Every fourth image shows nothing, and every third one is held out.
    assert "warning" not in said["points"]
    assert re.search(
        r"warning: 3 images of valid are in another split as well, pixel for pixel: "
        r"04\.png \(train\) is 00\.png \(valid\), .* and 5 more\. All are in "
        r"results/several/look/tables/duplicates\.csv\.",
        said["several"],
    )
    pairs = [
        ("04", "00"), ("04", "12"), ("04", "24"), ("08", "00"), ("16", "00"), ("20", "00"),
        ("28", "00"), ("32", "00"),
    ]  # fmt: skip
    assert table(project, "several", "duplicates").to_numpy().tolist() == [
        [f"{one}.png", "train", f"{other}.png", "valid"] for one, other in pairs
    ]
    assert len(table(project, "points", "duplicates")) == 0


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.*"))
        if file.name != "timing.json"
    }


def test_two_runs_write_the_same_bytes_and_know_their_timing(
    project: Project, said: dict[str, str]
) -> None:
    folder = project.folder / "results/points/look"
    before = hashes(folder)
    assert list(before) == [
        "class_counts.csv", "pictures/batch.jpg", "pictures/batch_before.jpg",
        "tables/classes.csv", "tables/duplicates.csv", "tables/sizes.csv",
    ]  # fmt: skip
    project.stage("look", "points")
    assert hashes(folder) == before
    assert timing_is_current("look", "points", project.folder)
    file = folder / "tables/sizes.csv"
    text = file.read_text()
    file.write_text("width,height,images\n")
    assert not timing_is_current("look", "points", project.folder)
    file.write_text(text)


def test_without_packed_images_it_says_what_to_run(project: Project) -> None:
    content: dict[str, Any] = {"several": several_recipe(Path("unread"))}
    project.write_recipes(content | {"bare": content["several"]})
    (project.folder / "data/bare").mkdir()
    (project.folder / "data/bare/vocab.json").write_text('["bar", "disc"]')
    done = project.stage("look", "bare", ok=False)
    assert done.returncode == 1
    assert "look bare: data/bare/packed/pixels.bin is missing. Run the stage pack" in done.stderr
