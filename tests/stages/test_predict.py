"""`python -m thaw.predict` on models of all four tasks: what it says is what validation saw.

`python -m thaw.summary` of the same models.
"""

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from project import Project, tiny_recipe
from tiny_data import FILMS, archive, heads, points_recipe, several_recipe, things

from thaw.answer_pictures import NARROWEST
from thaw.evaluation import sigmoid, softmax
from thaw.images import Decoded
from thaw.predict import main
from thaw.predictor import on_canvases
from thaw.summary.__main__ import main as summarise

pytestmark = pytest.mark.slow

IMAGE_STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold",
)  # fmt: skip
RATING_STAGES = ("download", "untar", "split", "lr_find", "fit")
FOLDERS = {"one": "shapes", "several": "things/train", "points": "heads"}


@pytest.fixture(scope="module")
def project(
    new_project: Callable[[], Project],
    shapes_archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """A project with a model of each task. Read only, but for threshold.json."""
    project, folder = new_project(), tmp_path_factory.mktemp
    images = {
        "one": tiny_recipe(shapes_archive),
        "several": several_recipe(archive(folder("several"), things())),
        "points": points_recipe(archive(folder("points"), heads())),
    }
    project.write_recipes(images, {"films": FILMS})
    for recipe in images:
        for stage in IMAGE_STAGES:
            project.stage(stage, recipe)
    for stage in RATING_STAGES:
        project.stage(stage, "films")
    return project


Predict = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def predict(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Predict:
    """Runs the command in the project, in this process; returns exit code, lines and errors."""
    monkeypatch.chdir(project.folder)

    def run(*arguments: str | Path) -> tuple[int, list[str], str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err

    return run


def said(predict: Predict, recipe: str, *arguments: str | Path) -> dict[str, str]:
    """What is said of each image, by its path below the recipe's folder."""
    folder = f"data/{recipe}/raw/{FOLDERS[recipe]}"
    code, lines, _ = predict(f"models/{recipe}", folder, *arguments)
    assert code == 0
    return dict(line.removeprefix(f"{folder}/").split(": ", 1) for line in lines)


def held_out(project: Project, recipe: str) -> pd.DataFrame:
    table = pd.read_parquet(project.folder / f"results/{recipe}/predictions.parquet")
    assert len(table) > 5
    return table


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def threshold(project: Project, recipe: str) -> dict[str, float]:
    return json.loads((project.folder / f"models/{recipe}/threshold.json").read_text())


def write_threshold(project: Project, recipe: str, limits: dict[str, float]) -> None:
    (project.folder / f"models/{recipe}/threshold.json").write_text(json.dumps(limits))


def test_one_label_is_named_as_validation_had_it(project: Project, predict: Predict) -> None:
    vocab = ["cross", "disc", "square"]
    limit = threshold(project, "one")["confidence"]
    lines = said(predict, "one")
    assert len(lines) == 48
    for path, logits in held_out(project, "one")[["path", "logits"]].itertuples(index=False):
        chances = softmax(logits[None])[0]
        order = np.argsort(-chances)
        named = vocab[order[0]] if chances[order[0]] > limit else "none of these"
        listed = ", ".join(f"{vocab[i]} {chances[i]:.3f}" for i in order)
        assert lines[path] == f"{named}  [{listed}]"


def test_an_answer_below_the_confidence_is_none_of_these(
    project: Project, predict: Predict
) -> None:
    chosen = threshold(project, "one")
    write_threshold(project, "one", {"confidence": 0.9999})
    assert all(line.startswith("none of these  [") for line in said(predict, "one").values())
    (project.folder / "models/one/threshold.json").unlink()
    assert not any("none of these" in line for line in said(predict, "one").values())
    write_threshold(project, "one", chosen)


def largest_gap(values: np.ndarray) -> float:
    """A limit that rounding does not reach: amid the largest gap, not among the outer values."""
    ordered = np.sort(values)[1:-1]
    place = np.diff(ordered).argmax()
    return float(ordered[place : place + 2].mean())


def test_several_labels_are_those_above_their_thresholds(
    project: Project, predict: Predict
) -> None:
    table, chosen = held_out(project, "several"), threshold(project, "several")
    chances = sigmoid(np.stack(table["logits"].to_list()))
    limits = {
        name: largest_gap(column) for name, column in zip(("bar", "disc"), chances.T, strict=True)
    }
    write_threshold(project, "several", limits)
    lines = said(predict, "several")
    for path, row in zip(table["path"], chances, strict=True):
        order = sorted(zip(row, limits, strict=True), reverse=True)
        named = [name for chance, name in order if chance > limits[name]]
        assert lines[path].split("  [")[0] == (", ".join(named) or "none of these")
    assert len({line.split("  [")[0] for line in lines.values()}) > 2
    write_threshold(project, "several", chosen)


def test_points_are_told_in_pixels_and_drawn_where_they_are(
    project: Project, predict: Predict, tmp_path: Path
) -> None:
    lines = said(predict, "points", "--draw", tmp_path / "drawn")
    for path, point in held_out(project, "points")[["path", "prediction"]].itertuples(index=False):
        np.testing.assert_allclose(numbers(lines[path]), point, atol=0.051)
    drawn = sorted((tmp_path / "drawn").rglob("*.png"))
    assert len(drawn) == len(lines)
    name = "02/frame_00001_rgb.png"
    x, y = numbers(lines[name])
    pixels = np.asarray(Image.open(tmp_path / "drawn" / f"{name}.png"))
    red = np.argwhere((pixels == (255, 0, 0)).all(2)).mean(0)
    # Drawn larger than the image is: a pixel's middle lies half of one further.
    scale = NARROWEST / heads_width(project)
    middle = (np.array([x, y]) + 0.5) * scale - 0.5
    np.testing.assert_allclose(red[::-1], middle, atol=1 + scale / 2)


def heads_width(project: Project) -> int:
    """The width in pixels of the images with points."""
    file = next((project.folder / "data/points/raw").rglob("*_rgb.png"))
    with Image.open(file) as image:
        return image.width


def test_classes_are_written_below_the_picture(
    project: Project, predict: Predict, tmp_path: Path
) -> None:
    photo = project.folder / "data/one/raw/shapes/disc/3.png"
    assert predict("models/one", photo, "--draw", tmp_path)[0] == 0
    with Image.open(tmp_path / "3.png.png") as drawn, Image.open(photo) as image:
        scale = NARROWEST / image.width
        size = NARROWEST, round(image.height * scale)
        large = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        assert drawn.width == NARROWEST
        below = np.asarray(drawn)[large.height :]
        np.testing.assert_array_equal(np.asarray(drawn)[: large.height], np.asarray(large))
    assert (below.max(), below.min()) == (255, 0)


def test_a_file_is_no_folder_to_draw_into(
    project: Project, predict: Predict, tmp_path: Path
) -> None:
    photo = project.folder / "data/one/raw/shapes/disc/3.png"
    (tmp_path / "file").write_text("")
    code, _, errors = predict("models/one", photo, "--draw", tmp_path / "file")
    assert code == 1
    assert f"--draw {tmp_path / 'file'}: " in errors
    assert "Name a folder to write into." in errors


def test_broken_images_are_told_and_the_others_answered(predict: Predict, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "white").save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[:60])
    (tmp_path / "b.png").write_bytes(buffer.getvalue())
    (tmp_path / "c.jpg").write_bytes(b"<html>")
    code, lines, errors = predict("models/one", tmp_path)
    assert code == 1
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / "b.png")]
    assert f"{tmp_path / 'c.jpg'}: not an image of a known format" in errors
    assert f"{tmp_path / 'a.png'}: " in errors


def test_a_model_may_lie_anywhere(project: Project, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(project.folder / "models/one", moved)
    photo = project.folder / "data/one/raw/shapes/disc/3.png"
    command = (sys.executable, "-m", "thaw.predict", str(moved), str(photo))
    assert project.run(*command).stdout.startswith(f"{photo}: ")


def test_a_user_gets_the_best_items_not_yet_rated(project: Project, predict: Predict) -> None:
    items = pd.read_parquet(project.folder / "data/films/items.parquet")
    user = items["user"].mode()[0]
    code, lines, _ = predict("models/films", user, "nobody", "--top", "5")
    assert code == 0
    assert [lines[0], lines[6]] == [f"user {user}", "user nobody, unknown, so an average one"]
    ratings = numbers("\n".join(line[:6] for line in lines[1:6]))
    assert len(ratings) == 5
    assert ratings == sorted(ratings, reverse=True)
    vocab = json.loads((project.folder / "data/films/vocab.json").read_text())
    titles = dict(zip(vocab["items"], vocab["titles"], strict=True))
    rated = {titles[item] for item in items.loc[items["user"] == user, "item"] if item in titles}
    assert not rated & {line[8:] for line in lines[1:6]}


@pytest.mark.parametrize(
    ("recipe", "file", "content", "message"),
    [
        ("one", "model.json", "{", r"model\.json is no JSON: "),
        ("one", "model.json", "[]", r"model\.json holds no object"),
        ("one", "model.json", "{}", r"model\.json\.task: missing"),
        ("one", "threshold.json", "x", r"threshold\.json is no JSON"),
        ("one", "threshold.json", '{"a": "b"}', r"threshold\.json\.a: 'b' is not a number"),
        ("one", "model.safetensors", None, r"model\.safetensors does not exist"),
        ("one", "model.safetensors", "x", r"model\.safetensors cannot be read"),
        ("films", "model.json", '{"task": "ratings"}', r"model\.json\.model: missing"),
        ("films", "model.safetensors", "x", r"model\.safetensors cannot be read"),
    ],
)
def test_a_broken_model_is_told(
    project: Project,
    predict: Predict,
    tmp_path: Path,
    recipe: str,
    file: str,
    content: str | None,
    message: str,
) -> None:
    model = tmp_path / "broken"
    shutil.copytree(project.folder / "models" / recipe, model)
    (model / file).unlink()
    if content is not None:
        (model / file).write_text(content)
    asked = {
        "one": ["data/one/raw/shapes/disc/3.png"],
        "films": ["1", "--rated", "data/films/items.parquet"],
    }
    code, _, errors = predict(model, *asked[recipe])
    assert code == 1
    assert re.search(message, errors), errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models/oen", "x.jpg"), r"models/oen/model\.json does not exist.*: films, one, points"),
        (("models/one", "x.jpg"), r"^x\.jpg does not exist\. Name a photo"),
        (("models/one", "models"), r"^models has no images; endings looked for: \.avif"),
        (
            ("models/one", "data/one/raw", "data/one/raw/shapes/..", "--draw", "drawn"),
            r"--draw: .*0\.png and .*0\.png would both become shapes/cross/0\.png\.png",
        ),
        (("models/films", "1", "--rated", "nowhere"), r"^nowhere is missing: it says what users"),
        (
            ("models/films", "1", "--rated", "data/one/items.parquet"),
            r"^data/one/items\.parquet has no column user: it is no table of ratings",
        ),
        (("models/films", "1", "--draw", "drawn"), r"^--draw is for models of images"),
        (("models/one", "x.jpg", "--rated", "nowhere"), r"^--rated is for models of ratings"),
        (
            ("models/films", "1", "--rated", "params.yaml"),
            r"^params\.yaml cannot be read as Parquet",
        ),
    ],
)
def test_mistakes_are_answered(predict: Predict, arguments: tuple[str, ...], message: str) -> None:
    code, lines, errors = predict(*arguments)
    assert (code, lines) == (1, [])
    assert re.search(message, errors), errors


def test_images_of_extreme_shapes_do_not_share_a_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    def blank(height: int, width: int) -> Decoded:
        return Decoded(np.zeros((height, width, 3), np.uint8), height, width)

    images = [blank(4, 4), blank(4, 6), blank(900, 2), blank(2, 900), blank(900, 900), blank(1, 1)]
    assert [len(part) for part in on_canvases(images)] == [6]
    monkeypatch.setattr("thaw.predictor.MAX_CANVASES", 3 * 900 * 6 * 3)
    assert list(on_canvases(images)) == [images[:3], images[3:4], images[4:5], images[5:]]


def rows(printed: str) -> dict[str, list[str]]:
    """The cells of a printed table, by the first of each row; of equal ones the first row's."""
    found: dict[str, list[str]] = {}
    for line in printed.splitlines():
        first, *cells = re.split(r" {2,}", line.strip())
        found.setdefault(first, cells)
    return found


@pytest.mark.parametrize(
    ("recipe", "item", "packed", "targets", "outputs"),
    [
        ("one", "cross/0.png: cross", "36 x 43 x 3", "1", "1 x 3"),
        ("several", "01.png: bar", "36 x 43 x 3", "1 x 2", "1 x 2"),
        ("points", "01/frame_00000_rgb.png: (9.0, 10.0)", "36 x 43 x 3", "1 x 2", "1 x 2"),
    ],
)
def test_a_summary_follows_an_item_and_a_batch(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    item: str,
    packed: str,
    targets: str,
    outputs: str,
) -> None:
    monkeypatch.chdir(project.folder)
    assert summarise([recipe, "--batch", "8"]) == 0
    said = capsys.readouterr().out
    table = rows(said)
    assert item in said
    file = next(line for line in said.splitlines() if line.startswith(f"data/{recipe}/raw/"))
    with Image.open(project.folder / file) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    assert table["decoded, upright"] == [
        f"{height} x {width} x 3", "uint8", f"{pixels.min()} .. {pixels.max()}",
    ]  # fmt: skip
    assert table["packed"][:2] == [packed, "uint8"]
    assert table["targets"][0] == targets
    assert table["points" if recipe == "points" else "logits"][0] == outputs
    assert "a batch of 8 training images" in said
    plain, augmented = (
        rows(part.split("the model on")[0])
        for part in said.split("a batch of 8")[1].split("the same images, augmented")
    )
    assert "interpolated" in plain
    assert augmented["canvas on cpu"] == plain["canvas on cpu"]
    matrices = "matrices, output to image"
    assert augmented[matrices][:2] == plain[matrices][:2] == ["8 x 3 x 3", "float32"]
    assert augmented[matrices] != plain[matrices]
    assert augmented["light, offset and factor"][:2] == ["8 x 2", "float32"]
    assert augmented["interpolated, relit"] != plain["interpolated"]
    # shufflenet_v2_x0_5 without its classifier; norms of 2048 and 16 inputs, and two matrices.
    assert "body: 341,792 parameters; 0 train frozen, 341,792 after" in said
    head = 2 * 2048 + 2048 * 16 + 2 * 16 + 16 * int(outputs.rsplit(maxsplit=1)[-1])
    assert f"head: {head:,} parameters; {head:,} train frozen, {head:,} after" in said


def test_a_summary_of_ratings_counts_rows_of_users_and_items(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    assert summarise(["models/films"]) == 0
    table = rows(capsys.readouterr().out)
    about = json.loads((project.folder / "models/films/model.json").read_text())
    assert table["users Embedding"][-1] == f"{(len(about['users']) + 1) * 7:,}"
    assert table["items Embedding"][:2] == ["64 x 7", "float32"]


def test_a_summary_needs_a_trained_model_and_its_data(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(project.folder)
    assert summarise(["oen"]) == 1
    assert "models/oen/model.json does not exist. Train first" in capsys.readouterr().err
    shutil.copytree(project.folder / "models/one", tmp_path / "models/one")
    assert summarise([str(tmp_path / "models/one")]) == 1
    assert "pixels.bin is missing" in capsys.readouterr().err
    shutil.copytree(project.folder / "models/films", tmp_path / "models/films")
    assert summarise([str(tmp_path / "models/films")]) == 1
    assert "items.parquet is missing. Bring it back" in capsys.readouterr().err
