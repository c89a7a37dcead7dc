"""`python -m stages look` on small data of each kind, its pictures looked at."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_data import HEIGHT, WIDTH, heads, points_recipe, several_recipe, things

from stages.timing import timing_is_current
from thaw.core.files import read_parquet
from thaw.sheet import GAP, SIDE

ROOT = Path(__file__).parents[2]
SPLIT_STAGES = ("split", "pack", "look")


def look(folder: Path, files: dict[str, bytes], recipe: dict[str, Any]) -> str:
    """Unpack files, run the stages up to `look`; return what that one prints."""
    for name, content in files.items():
        path = folder / "data/R/raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "params.yaml").write_text(json.dumps({"recipes": {"R": recipe}}))
    done = [
        subprocess.run(
            [sys.executable, "-m", "stages", stage, "R"],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False,
        )
        for stage in SPLIT_STAGES
    ]  # fmt: skip
    assert [(d.returncode, d.stderr) for d in done] == [(0, "")] * len(SPLIT_STAGES)
    return done[-1].stdout


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"results/R/look/tables/{name}.csv")


def tiles(folder: Path, name: str, height: int, lines: int = 1) -> list[np.ndarray]:
    """Cut the images out of a sheet of 24, int [height, 160, 3] each."""
    with Image.open(folder / f"results/R/look/pictures/{name}.jpg") as image:
        sheet = np.asarray(image).astype(int)
    rows = 4
    cell = (sheet.shape[0] - GAP) // rows
    corners = [(GAP + r * cell, GAP + c * (SIDE + GAP)) for r in range(rows) for c in range(6)]
    return [sheet[top : top + height, left : left + SIDE] for top, left in corners]


@pytest.fixture
def several() -> tuple[dict[str, bytes], dict[str, Any]]:
    recipe = several_recipe(Path("unread.tgz"))
    recipe["augment"] |= {"lighting": 0.0}
    return things(), recipe


@pytest.fixture
def points() -> tuple[dict[str, bytes], dict[str, Any]]:
    recipe = points_recipe(Path("unread.tgz"))
    recipe["augment"] |= {"lighting": 0.0}
    return heads(), recipe


def test_tables_and_sheets_of_several_labels(
    tmp_path: Path, several: tuple[dict[str, bytes], dict[str, Any]]
) -> None:
    said = look(tmp_path, *several)
    assert f"all images are {WIDTH} x {HEIGHT} pixels." in said
    items = read_parquet(tmp_path / "data/R/items.parquet")
    labels = {split: part["label"] for split, part in items.groupby("split")}
    expected = {
        name: [sum(name in those.split() for those in labels[s]) for s in ("train", "valid")]
        for name in ("bar", "disc")
    } | {"(none)": [int((labels[s] == "").sum()) for s in ("train", "valid")]}
    counted = table(tmp_path, "classes")
    assert list(counted) == ["class", "train", "valid"]
    assert counted.set_index("class").T.to_dict("list") == expected
    assert table(tmp_path, "sizes").to_numpy().tolist() == [[WIDTH, HEIGHT, 36]]
    # Whatever is yellow, or white, in an image as packed is so after augmentation, nearly always.
    before = tiles(tmp_path, "batch_before", 134)
    after = tiles(tmp_path, "batch", 160)
    for of, found in (("yellow", yellow), ("white", white)):
        there = [found(tile) for tile in before]
        assert 4 < sum(there) < 20, of
        assert sum(a == b for a, b in zip(there, map(found, after), strict=True)) >= 22, of


def yellow(tile: np.ndarray) -> bool:
    return bool(((tile[..., 0] > 180) & (tile[..., 2] < 90)).sum() > 60)


def white(tile: np.ndarray) -> bool:
    return bool((tile.min(2) > 200).sum() > 60)


def middle(mask: np.ndarray) -> np.ndarray:
    """The mean place of the pixels of a mask, y and x."""
    return np.argwhere(mask).mean(0)


@pytest.mark.parametrize(("name", "height"), [("batch_before", 134), ("batch", 128)])
def test_a_drawn_point_lies_on_its_thing(
    tmp_path: Path, points: tuple[dict[str, bytes], dict[str, Any]], name: str, height: int
) -> None:
    look(tmp_path, *points)
    counted = table(tmp_path, "classes").set_index("class")
    assert counted.loc["(all)"].tolist() == [24, 12]
    assert counted.loc["folder 02"].tolist() == [0, 12]
    seen = 0
    for tile in tiles(tmp_path, name, height):
        red = (tile[..., 0] > 180) & (tile[..., 1:].max(2) < 110)
        bright = tile.min(2) > 170
        margin = 24  # the disc is not cut off by the edge
        if red.sum() < 4 or bright[:2].any() or bright[-2:].any():
            continue
        y, x = middle(red)
        if margin < x < SIDE - margin and margin < y < height - margin:
            seen += 1
            assert np.linalg.norm(middle(red) - middle(bright)) < 4
    assert seen >= 8


def test_an_image_in_both_splits_is_warned_of(
    tmp_path: Path, several: tuple[dict[str, bytes], dict[str, Any]]
) -> None:
    files, recipe = several
    # 00, 03, 06 are held out.
    files["things/train/01.png"] = files["things/train/00.png"]
    files["things/train/04.png"] = files["things/train/05.png"]  # both are trained on
    said = look(tmp_path, files, recipe)
    assert "warning: 1 image of valid is in another split as well, pixel for pixel: " in said
    assert "01.png (train) is 00.png (valid). All are in results/R/look/tables/" in said
    assert table(tmp_path, "duplicates").to_numpy().tolist() == [
        ["01.png", "train", "00.png", "valid"]
    ]


def hashes(folder: Path) -> dict[str, str]:
    base = folder / "results/R/look"
    return {
        str(file.relative_to(base)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(base.rglob("*.*"))
        if file.name != "timing.json"
    }


def test_two_runs_write_the_same_bytes_and_know_their_timing(
    tmp_path: Path,
    points: tuple[dict[str, bytes], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        look(tmp_path / name, *points)
    assert list(hashes(tmp_path / "a")) == [
        "pictures/batch.jpg", "pictures/batch_before.jpg",
        "tables/classes.csv", "tables/duplicates.csv", "tables/sizes.csv",
    ]  # fmt: skip
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    monkeypatch.chdir(tmp_path / "a")
    assert timing_is_current("look", "R")
    (tmp_path / "a/results/R/look/tables/sizes.csv").write_text("width,height,images\n")
    assert not timing_is_current("look", "R")
