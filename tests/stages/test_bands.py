"""Recipes of five channels through `python -m stages`, and what their models answer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from bands_data import save_files, save_pages
from PIL import Image
from project import FITS, Project, tiny_recipe
from safetensors.torch import load_file
from tiny_data import archive

from thaw.answer_pictures import NARROWEST
from thaw.evaluation import softmax
from thaw.images import Decoded
from thaw.pack import open_packed
from thaw.predict import main
from thaw.predictor import open_predictor

pytestmark = pytest.mark.slow

ENDINGS = ("_rgb.png", "_nir.png", "_swir.png")
STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen",
)  # fmt: skip
FIRST = "conv1.0.weight"  # of shufflenet


def plot(number: int) -> np.ndarray:
    """Noise, uint8 [36, 40, 5]; bright or dark in the last two channels alone."""
    bands = np.random.default_rng(number).integers(60, 120, (36, 40, 5), dtype=np.uint8)
    bands[:, :, 3:] += np.uint8(100 * (number % 2))
    return bands


def contents(folder: Path) -> dict[str, bytes]:
    return {f"fields/{f.relative_to(folder)}": f.read_bytes() for f in folder.rglob("*.*")}


@pytest.fixture(scope="module")
def project(
    new_project: Callable[[], Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """Recipes of the same images in three files and as a TIFF each, and one of three channels."""
    project, folder = new_project(), tmp_path_factory.mktemp
    files, pages = folder("files"), folder("pages")
    for number in range(40):
        for parent in (files, pages):
            (parent / ("dark", "bright")[number % 2]).mkdir(exist_ok=True)
        stem = f"{('dark', 'bright')[number % 2]}/{number:02}"
        save_files(files, stem, plot(number), ENDINGS)
        save_pages(pages / f"{stem}.tif", plot(number))
    colours = tiny_recipe(archive(folder("a"), contents(files)))
    colours["data"] = {"folder": "fields", "presize": 36, "bands": ["_rgb.png"]}
    colours |= {"lr_frozen": {"steps": 0}, "lr_unfrozen": {"steps": 0}}
    colours |= {fit: {"epochs": 3, "lr": 1e-2, "batch_size": 4} for fit in FITS}
    model = colours["model"] | {"channels": 5, "train_bn": True}
    source = "models/colours/model.safetensors"
    five = colours | {
        "data": colours["data"] | {"bands": list(ENDINGS), "channels": 5},
        "model": model,
        "augment": {"image_side": 32, "lighting": 0.1},
        "weights": {"source": source, "after": source},
    }
    tiffs = five | {
        "data": {"folder": "fields", "presize": 36, "channels": 5},
        "download": {"url": str(archive(folder("b"), contents(pages)))},
    }
    project.write_recipes({"colours": colours, "five": five, "tiffs": tiffs})
    for recipe in ("colours", "five", "tiffs"):
        for stage in STAGES:
            project.stage(stage, recipe)
    return project


def test_a_body_for_colours_is_adapted_to_five_channels(project: Project) -> None:
    models = project.folder / "models"
    before = load_file(models / "colours/model.safetensors")[f"body.{FIRST}"]
    after = load_file(models / "five/pretrained.safetensors")
    assert after[FIRST].shape[1] == 5
    assert torch.equal(after[FIRST][:, :3], before)
    assert not after[FIRST][:, 3:].any()
    trained = load_file(models / "five/model.safetensors")[f"body.{FIRST}"]
    assert trained[:, 3:].abs().amax((0, 2, 3)).min() > 0


def test_both_ways_of_keeping_bands_are_packed_alike(project: Project) -> None:
    data = project.folder / "data"
    packed = [open_packed(data / recipe / "packed") for recipe in ("five", "tiffs")]
    numbers = [int(path.split("/")[1][:2]) for path in packed[0].paths]
    for i, number in enumerate(numbers):
        assert np.array_equal(packed[0].image(i), plot(number))
        assert np.array_equal(packed[1].image(i), plot(number))
    items = pd.read_parquet(data / "five/items.parquet")
    assert len(items) == 40
    assert items["path"].str.endswith("_rgb.png").all()


@pytest.mark.parametrize("recipe", ["five", "tiffs"])
def test_a_model_of_bands_answers_as_validation_had_it(
    project: Project,
    recipe: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(project.folder)
    folder = f"data/{recipe}/raw/fields"
    assert main([f"models/{recipe}", folder, "--draw", str(tmp_path)]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert len(lines) == len(list(tmp_path.rglob("*.png"))) == 40
    with Image.open(next(tmp_path.rglob("02*.png"))) as drawn:
        shown = Image.fromarray(np.ascontiguousarray(plot(2)[:, :, :3]))
        size = NARROWEST, round(shown.height * NARROWEST / shown.width)
        large = np.asarray(shown.resize(size, Image.Resampling.LANCZOS))
        assert np.array_equal(np.asarray(drawn)[: len(large)], large)
    table = pd.read_parquet(f"results/{recipe}/predictions.parquet")
    for path, logits in table[["path", "logits"]].itertuples(index=False):
        bright, dark = softmax(logits[None])[0]
        assert f"bright {bright:.3f}" in lines[f"{folder}/{path}"]
        assert f"dark {dark:.3f}" in lines[f"{folder}/{path}"]


def test_further_channels_tell_in_the_answer(project: Project) -> None:
    predictor = open_predictor(project.folder / "models/five")
    brighter = plot(2)
    brighter[:, :, 4] += 100
    same, other, again = predictor.outputs(
        [Decoded(bands, 36, 40) for bands in (plot(2), brighter, plot(2))]
    )
    assert np.array_equal(same, again)
    assert np.abs(same - other).max() > 1e-3


def test_an_item_without_one_of_its_files_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(project.folder)
    for name in ("02_rgb.png", "02_swir.png", "legend.png"):
        shutil.copy(f"data/five/raw/fields/dark/02{ENDINGS[0]}", tmp_path / name)
    assert main(["models/five", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{tmp_path}/02_rgb.png: 02_nir.png: No such file or directory\n"
    assert main(["models/five", str(tmp_path / "legend.png")]) == 1
    assert "does not end in _rgb.png, the first of the bands" in capsys.readouterr().err


def test_channels_must_agree(project: Project, new_project: Callable[[], Project]) -> None:
    recipes = json.loads(json.dumps(tiny_recipe(Path("a.tgz"))))
    recipes["model"]["channels"] = 5
    other = new_project()
    other.write_recipes({"tiny": recipes})
    done = other.run("python", "-m", "stages", "check", ok=False)
    assert "recipes.tiny.model.channels: 5, but data.channels is 3" in done.stderr
    (other.folder / "data").mkdir()
    shutil.copytree(project.folder / "data/colours", other.folder / "data/tiny")
    shutil.copytree(project.folder / "results/colours", other.folder / "results/tiny")
    done = other.stage("lr_frozen", "tiny", ok=False)
    assert "recipes.tiny.model.channels: 5, but the packed images have 3" in done.stderr
    assert "Traceback" not in done.stderr
