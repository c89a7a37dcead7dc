"""`mlflow models serve` on registered models of all four tasks, asked by plain HTTP.

The store is a server, and the project is gone: all that answers was registered.
"""

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from project import Project, quick_recipe
from servers import mlflow_server, model_server
from tiny_data import FILMS, archive, heads, points_recipe, several_recipe, things

from pipelines.registry import register
from thaw.core.errors import UserError
from thaw.evaluation import sigmoid, softmax
from thaw.serving.service import open_service

pytestmark = pytest.mark.slow

RECORDS, SPLIT = "dataframe_records", "dataframe_split"
FOLDERS = {"one": "shapes", "several": "things/train", "points": "heads"}
NO_TEST = {"lr_frozen": {"steps": 0}}

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def registered(
    new_project: Callable[[], Project],
    shapes_archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, str]]:
    """Where a project was moved to after its models were registered, and the store's address."""
    project, folder = new_project(), tmp_path_factory.mktemp
    images = {
        "one": quick_recipe(shapes_archive),
        "several": several_recipe(archive(folder("several"), things())) | NO_TEST,
        "points": points_recipe(archive(folder("points"), heads())),
    }
    images["one"]["fit_unfrozen"]["batch_size"] = 5  # several batches, the last one smaller
    images["one"]["threads"] = 2
    project.write_recipes(
        images, {"films": FILMS | {"lr_find": {"steps": 0}, "fit": {"epochs": 2, "lr": 0.01}}}
    )
    store = folder("store")
    with mlflow_server(store) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        project.run("dvc", "repro", MLFLOW_TRACKING_URI=address)
        for recipe in (*images, "films"):
            assert register(project.folder, recipe).moved
        moved = folder("moved") / "thaw"
        project.folder.rename(moved)
        yield moved, address


@pytest.fixture(scope="module")
def serve(
    registered: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], AbstractContextManager[Ask]]:
    """Serves a recipe's champion in an empty folder; yields what asks it for rows."""

    @contextmanager
    def start(recipe: str) -> Iterator[Ask]:
        folder = tmp_path_factory.mktemp("empty") / "served"
        folder.mkdir()
        with model_server(f"{recipe}@champion", registered[1], folder) as address:

            def ask(rows: list[dict]) -> list[dict[str, Any]]:
                answer = httpx.post(address, json={RECORDS: rows}, timeout=300)
                assert answer.status_code == 200, answer.text
                assert len(answer.json()["predictions"]) == len(rows)
                return answer.json()["predictions"]

            ask.address = address
            yield ask

    return start


@pytest.fixture(scope="module")
def one(serve: Callable) -> Iterator[Ask]:
    with serve("one") as ask:
        yield ask


def held_out(registered: tuple[Path, str], recipe: str) -> tuple[pd.DataFrame, list[str]]:
    """What validation saw, and the files that it saw."""
    table = pd.read_parquet(registered[0] / f"results/{recipe}/predictions.parquet")
    raw = registered[0] / "data" / recipe / "raw" / FOLDERS.get(recipe, "")
    return table, [str(raw / path) for path in table.get("path", [])]


def chances(answers: list[dict], vocab: list[str]) -> np.ndarray:
    """The probabilities of answers, in the order of the vocabulary."""
    return np.array([[answer["probabilities"][name] for name in vocab] for answer in answers])


def read(registered: tuple[Path, str], file: str) -> Any:
    return json.loads((registered[0] / file).read_text())


def encoded(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


def test_one_label_is_served_as_validation_had_it(registered: tuple[Path, str], one: Ask) -> None:
    table, paths = held_out(registered, "one")
    vocab = read(registered, "data/one/vocab.json")
    limit = read(registered, "models/one/threshold.json")["confidence"]
    expected = softmax(np.stack(table["logits"].to_list()))
    by_path = one([{"path": path} for path in paths])
    np.testing.assert_array_equal(chances(by_path, vocab), expected.round(4))
    for row, said in zip(expected, by_path, strict=True):
        assert said["label"] == (vocab[row.argmax()] if row.max() > limit else None)
        assert list(said["probabilities"].values()) == sorted(
            said["probabilities"].values(), reverse=True
        )
        assert said["error"] is None
    assert one([{"image": encoded(path)} for path in paths]) == by_path
    alone = chances([one([{"path": path}])[0] for path in paths], vocab)
    # In other batches only the rounding of what is stated can differ.
    np.testing.assert_allclose(alone, expected, atol=0.00005 + 1e-5)


def test_a_broken_image_is_an_error_of_its_own(
    registered: tuple[Path, str], one: Ask, tmp_path: Path
) -> None:
    _, paths = held_out(registered, "one")
    (tmp_path / "half.png").write_bytes(Path(paths[0]).read_bytes()[:80])
    (tmp_path / "secret.txt").write_text("user:password")
    os.mkfifo(tmp_path / "pipe.png")  # reading it would never end
    broken = {
        str(tmp_path / "half.png"): "truncated",
        str(tmp_path / "secret.txt"): "not an image of a known format",
        str(tmp_path / "pipe.png"): "path: no file there that can be read",
        str(tmp_path / "nothing.png"): "path: no file there that can be read",
        "/": "path: no file there that can be read",
        "x" * 5000: "path: no file there that can be read",
    }
    rows = [{"path": path} for path in broken]
    rows += [
        {"image": "!"},
        {"image": base64.b64encode(b"user:password").decode()},
        {"image": encoded(paths[0]), "path": paths[0]},
        {"path": "", "image": None},
    ]
    reasons = [
        *broken.values(),
        "image is no base64",
        "not an image of a known format",
        "both path and image: give one of them",
        "no image and no path: give one of them",
    ]
    answers = one(
        [{"path": paths[0]}, *rows, {"image": f"data:image/png;base64,{encoded(paths[1])}"}]
    )
    assert answers[0]["error"] is answers[-1]["error"] is None
    assert chances([answers[0], answers[-1]], ["cross", "disc", "square"]).sum(1) == pytest.approx(
        [1, 1], abs=2e-4
    )
    for said, reason in zip(answers[1:-1], reasons, strict=True):
        assert reason in said.pop("error")
        assert said == {"label": None, "probabilities": None}
    assert "password" not in json.dumps(answers)


def test_other_shapes_of_a_request(registered: tuple[Path, str], one: Ask) -> None:
    _, paths = held_out(registered, "one")
    (expected,) = one([{"path": paths[0]}])

    def post(body: dict) -> httpx.Response:
        return httpx.post(one.address, json=body, timeout=300)

    for body in (
        {SPLIT: {"columns": ["path"], "data": [[paths[0]]]}},
        {"inputs": {"path": [paths[0]]}},
    ):
        assert post(body).json()["predictions"] == [expected]
    odd = post({RECORDS: [{"picture": "x"}]})
    assert odd.status_code == 400
    assert "no column of the model's: image, path" in odd.json()["message"]


def test_several_labels_are_those_above_their_thresholds(
    registered: tuple[Path, str], serve: Callable
) -> None:
    table, paths = held_out(registered, "several")
    vocab = read(registered, "data/several/vocab.json")
    limits = read(registered, "models/several/threshold.json")
    expected = sigmoid(np.stack(table["logits"].to_list()))
    with serve("several") as ask:
        answers = ask([{"path": path} for path in paths])
    np.testing.assert_array_equal(chances(answers, vocab), expected.round(4))
    for row, said in zip(expected, answers, strict=True):
        given = {name for name, chance in zip(vocab, row, strict=True) if chance > limits[name]}
        assert (set(said["labels"]), said["error"]) == (given, None)


def test_points_are_served_in_pixels(registered: tuple[Path, str], serve: Callable) -> None:
    table, paths = held_out(registered, "points")
    with serve("points") as ask:
        answers = ask([{"path": path} for path in paths] + [{"image": "!"}])
    assert answers.pop() == {"points": None, "error": "image is no base64"}
    places = [[value for p in said["points"] for value in (p["x"], p["y"])] for said in answers]
    expected = np.stack(table["prediction"].to_list()).astype(np.float64)
    np.testing.assert_array_equal(places, expected.round(2))


def test_ratings_are_served_for_pairs_and_for_users(
    registered: tuple[Path, str], serve: Callable
) -> None:
    table, _ = held_out(registered, "films")
    items = pd.read_parquet(registered[0] / "data/films/items.parquet")
    vocab = read(registered, "data/films/vocab.json")
    user = items["user"].mode()[0]
    with serve("films") as ask:
        answers = ask(table[["user", "item"]].to_dict("records"))
        others = ask([{"user": user}, {"user": "nobody", "item": vocab["items"][0]}, {"item": "1"}])
    ratings = [said["rating"] for said in answers]
    np.testing.assert_array_equal(ratings, table["prediction"].to_numpy(np.float64).round(4))
    known = table["item"].isin(vocab["items"])
    assert [said["unknown"] == [] for said in answers] == known.to_list()
    best, unknown, neither = others
    rated = set(items.loc[(items["user"] == user), "item"])
    assert len(best["best"]) == 10
    assert not rated & {row["item"] for row in best["best"]}
    values = [row["rating"] for row in best["best"]]
    assert values == sorted(values, reverse=True)
    assert best["best"][0]["title"] in vocab["titles"]
    assert (best["rating"], unknown["unknown"], unknown["best"]) == (None, ["user"], None)
    assert neither["error"] == "no user: give the id of one"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.json does not exist"):
        open_service(tmp_path)
