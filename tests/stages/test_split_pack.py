"""`python -m stages split` and `pack` on small folders in the published layouts."""

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

from thaw.pack import open_packed

ROOT = Path(__file__).parents[2]


def stage(folder: Path, name: str, recipe: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run one stage of the recipe `R` in a folder of its own."""
    (folder / "params.yaml").write_text(json.dumps({"recipes": {"R": recipe}}))
    return subprocess.run(
        [sys.executable, "-m", "stages", name, "R"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def ran(folder: Path, name: str, recipe: dict[str, Any]) -> str:
    done = stage(folder, name, recipe)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def refused(folder: Path, name: str, recipe: dict[str, Any]) -> str:
    done = stage(folder, name, recipe)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"{name} R: ")
    return done.stderr


def images(folder: Path, *names: str) -> None:
    """Write an image under each name, 24 by 18 pixels, no two alike."""
    for i, name in enumerate(names):
        path = folder / "data/R/raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (18, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, "PNG")


def results(folder: Path) -> tuple[pd.DataFrame, list[str], dict[str, int]]:
    return (
        pd.read_parquet(folder / "data/R/items.parquet"),
        json.loads((folder / "data/R/vocab.json").read_text()),
        json.loads((folder / "results/R/split/metrics.json").read_text()),
    )


def hashes(folder: Path) -> dict[str, str]:
    """Hash what the stages wrote, timings apart."""
    files = [
        *folder.glob("data/R/*.*"),
        *folder.glob("data/R/packed/*"),
        *folder.glob("results/R/*/*"),
    ]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
        if file.name != "timing.json"
    }


PETS = [f"pets/images/{b}_{i}.jpg" for b in ("Bengal", "Maine_Coon", "pug") for i in range(8)]
REGEX = {"rule": "regex", "pattern": r"(.+)_\d+\.jpg$"}


def pets(**split: Any) -> dict[str, Any]:
    rules = {"label": REGEX, "by": {"rule": "random", "valid": 0.25}} | split
    return {"seed": 42, "data": {"folder": "pets/images", "presize": 16}, "split": rules}


def test_pets_label_in_the_name_random_split(tmp_path: Path) -> None:
    images(tmp_path, *PETS, "pets/annotations/trimap_1.png")
    said = ran(tmp_path, "split", pets())
    assert "3 classes, 18 items to train on, 6 held out, 0 images left out." in said
    items, vocab, metrics = results(tmp_path)
    assert vocab == ["Bengal", "Maine_Coon", "pug"]
    assert items["path"].tolist() == sorted(Path(path).name for path in PETS)
    assert items["label"].tolist() == [path.rsplit("_", 1)[0] for path in items["path"]]
    assert [vocab[target] for target in items["target"]] == items["label"].tolist()
    assert items["target"].dtype == np.int64
    assert items["split"].value_counts().to_dict() == {"train": 18, "valid": 6}
    assert metrics == {
        "items": 24, "classes": 3,
        "train/items": 18,
        "train/smallest_class": items.query("split == 'train'")["label"].value_counts().min(),
        "train/largest_class": items.query("split == 'train'")["label"].value_counts().max(),
        "valid/items": 6,
        "valid/smallest_class": items.query("split == 'valid'")["label"].value_counts().min(),
        "valid/largest_class": items.query("split == 'valid'")["label"].value_counts().max(),
        "left_out": 0,
    }  # fmt: skip


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    images(tmp_path / "a", *PETS)
    for path in reversed(PETS):  # another order on the disk
        target = tmp_path / "b/data/R/raw" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((tmp_path / "a/data/R/raw" / path).read_bytes())
    for folder in (tmp_path / "a", tmp_path / "b"):
        ran(folder, "split", pets(by={"rule": "random", "valid": 0.25, "stratify": True}))
        ran(folder, "pack", pets())
    assert len(hashes(tmp_path / "a")) == 7
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_classes_give_the_order_of_the_targets(tmp_path: Path) -> None:
    images(tmp_path, *PETS)
    ran(tmp_path, "split", pets(classes=["pug", "Maine_Coon", "Bengal"]))
    items, vocab, _ = results(tmp_path)
    assert vocab == ["pug", "Maine_Coon", "Bengal"]
    assert items.query("label == 'Bengal'")["target"].unique().tolist() == [2]


def test_bears_label_is_the_folder_five_folds_cover_all(tmp_path: Path) -> None:
    bears = [f"bears/{kind}/{i}.jpg" for kind in ("black", "grizzly", "teddys") for i in range(5)]
    images(tmp_path, *bears)
    held: list[str] = []
    for fold in range(2):
        by = {"rule": "folds", "of": "stratified", "folds": 2, "fold": fold}
        recipe = pets(label={"rule": "folder"}, by=by) | {"data": {"folder": "bears"}}
        ran(tmp_path, "split", recipe)
        items, vocab, metrics = results(tmp_path)
        assert vocab == ["black", "grizzly", "teddys"]
        assert metrics["valid/smallest_class"] in (2, 3)
        held += items.query("split == 'valid'")["path"].tolist()
    assert sorted(held) == sorted(path.removeprefix("bears/") for path in bears)


def test_dogscats_folders_give_split_and_label_and_others_stay_out(tmp_path: Path) -> None:
    pairs = [("train", "cats"), ("train", "dogs"), ("valid", "cats"), ("valid", "dogs")]
    wanted = [f"{side}/{kind}/{kind[:-1]}.{i}.jpg" for side, kind in pairs for i in range(3)]
    others = [
        "test1/1.jpg",
        "test1/2.jpg",
        "sample/train/cats/cat.0.jpg",
        "sample/valid/dogs/d.jpg",
    ]
    images(tmp_path, *(f"dogscats/{path}" for path in wanted + others))
    recipe = pets(label={"rule": "folder"}, by={"rule": "folder"}) | {
        "data": {"folder": "dogscats"}
    }
    said = ran(tmp_path, "split", recipe)
    assert "4 images in other folders are left out: sample (2), test1 (2)." in said
    items, vocab, metrics = results(tmp_path)
    assert vocab == ["cats", "dogs"]
    assert items["path"].tolist() == sorted(wanted)
    assert items["split"].tolist() == [path.split("/")[0] for path in items["path"]]
    assert metrics["left_out"] == 4


def test_csv_with_its_own_split_column(tmp_path: Path) -> None:
    images(tmp_path, *(f"voc/train/{i}.jpg" for i in range(6)))
    rows = "".join(f"{i}.jpg,{'ab'[i % 2]},{i > 2}\n" for i in range(5))
    (tmp_path / "data/R/raw/voc/train.csv").write_text("fname,labels,is_valid\n" + rows)
    label = {"rule": "csv", "file": "voc/train.csv", "path": "fname", "column": "labels"}
    by = {"rule": "column", "column": "is_valid"}
    said = ran(tmp_path, "split", pets(label=label, by=by) | {"data": {"folder": "voc/train"}})
    assert "2 held out, 1 images left out." in said
    items, _, metrics = results(tmp_path)
    assert items.columns.tolist() == ["path", "label", "target", "split", "folder", "is_valid"]
    assert items["split"].tolist() == ["train"] * 3 + ["valid"] * 2
    assert metrics["left_out"] == 1


def test_persons_from_the_path_are_held_out_whole(tmp_path: Path) -> None:
    images(tmp_path, *(f"b/{p}/{k}{i}.jpg" for p in ("01", "13", "14") for k in "xy" for i in "12"))
    recipe = pets(
        label={"rule": "regex", "pattern": "^([xy])"},
        columns=r"^(?P<person>\d+)/",
        by={"rule": "group", "column": "person", "valid": ["13", "14"]},
    ) | {"data": {"folder": "b"}}
    ran(tmp_path, "split", recipe)
    items, _, _ = results(tmp_path)
    assert items.groupby("person")["split"].unique().map(list).to_dict() == {
        "01": ["train"], "13": ["valid"], "14": ["valid"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"label": {"rule": "regex", "pattern": r"(.+)_\d\.png$"}}, "24 of 24 file names do not"),
        ({"by": {"rule": "random", "valdi": 0.2}}, "R.split.by.valdi: unknown key; did you mean"),
        ({"by": {"rule": "random", "valid": 0.01}}, "leaves 0 of 24 items to hold out"),
        ({"classes": ["pug", "Bengal"]}, "does not list Maine_Coon (8 items, first: "),
        ({"columns": "^(?P<breed>[^_]+)",
          "by": {"rule": "column", "column": "breed", "valid": ["pug"]}},
         "holds out every item of 1 of 3 classes: pug (8 items)"),
    ],
)  # fmt: skip
def test_split_refuses_and_writes_nothing(
    tmp_path: Path, split: dict[str, Any], message: str
) -> None:
    images(tmp_path, *PETS)
    assert message in refused(tmp_path, "split", pets(**split))
    assert hashes(tmp_path) == {}


def test_pack_writes_what_the_items_name(tmp_path: Path) -> None:
    images(tmp_path, *PETS)
    ran(tmp_path, "split", pets())
    said = ran(tmp_path, "pack", pets())
    assert "pack: 24 of 24" in said
    items, _, _ = results(tmp_path)
    packed = open_packed(tmp_path / "data/R/packed")
    assert packed.rows(items["path"].tolist()).tolist() == list(range(24))
    assert packed.image(0).shape == (16, 21, 3)
    metrics = json.loads((tmp_path / "results/R/pack/metrics.json").read_text())
    assert metrics == {
        "images": 24, "bad": 0, "bytes": 24 * 16 * 21 * 3,
        "source_height/min": 18, "source_height/max": 18,
        "source_width/min": 24, "source_width/max": 24,
    }  # fmt: skip
    timing = json.loads((tmp_path / "results/R/pack/timing.json").read_text())
    assert timing["images_per_second"] > 0


def test_pack_lists_bad_files_and_refuses_past_the_limit(tmp_path: Path) -> None:
    images(tmp_path, *PETS)
    raw = tmp_path / "data/R/raw/pets/images"
    (raw / "pug_3.jpg").write_bytes(b"<html>")
    with Image.open(raw / "pug_4.jpg") as image:  # broken metadata: neither bad nor worth a word
        image.save(raw / "pug_4.jpg", "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    message = refused(tmp_path, "pack", pets())
    assert "1 of 24 images cannot be decoded" in message
    assert "pug_3.jpg (not an image of a known format)" in message
    assert list(hashes(tmp_path)) == ["results/R/pack/bad.csv"]
    lenient = pets() | {"data": {"folder": "pets/images", "presize": 16, "max_bad": 0.05}}
    said = ran(tmp_path, "pack", lenient)
    assert "1 left out that cannot be decoded: results/R/pack/bad.csv." in said
    bad = (tmp_path / "results/R/pack/bad.csv").read_text()
    assert bad == "path,error\npug_3.jpg,not an image of a known format\n"


def test_pack_does_not_read_split(tmp_path: Path) -> None:
    images(tmp_path, *PETS)
    nonsense = pets() | {"split": {"label": 3}}
    ran(tmp_path, "pack", nonsense)
    assert "split.label" in refused(tmp_path, "split", nonsense)
