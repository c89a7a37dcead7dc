"""The stages of ratings through `python -m stages`, on the rendered archive."""

import copy
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from project import Project
from safetensors.numpy import load_file
from test_dvc import output_hashes
from tiny_data import FILMS as RECIPE

pytestmark = pytest.mark.slow

KILL_AT = Path(__file__).with_name("kill_at.py")
STAGES = ("download", "untar", "split", "lr_find", "fit", "evaluate", "interpret_ratings", "report")
# The neural variant, without a test of rates; films of one title are one.
NEURAL = RECIPE | {
    "model": {"factors": None, "hidden": [12, 6]},
    "split": {
        "label": {"rule": "ratings", "item_key": "title"},
        "by": {"rule": "random", "valid": 0.2},
    },
    "lr_find": {"steps": 0},
    "fit": {"epochs": 4, "lr": 1e-2},
}
RECIPES = {"films": RECIPE, "neural": NEURAL}


def changed(section: str, **values) -> dict:
    """The recipe with some values of a section replaced."""
    recipe = copy.deepcopy(RECIPE)
    recipe[section] |= values
    return recipe


@pytest.fixture(scope="module")
def done(new_project: Callable[[], Project]) -> Project:
    """A project with both recipes run from end to end. Read only."""
    project = new_project()
    project.write_recipes({}, RECIPES)
    for recipe in RECIPES:
        for stage in STAGES:
            project.stage(stage, recipe)
    return project


@pytest.fixture(scope="module")
def prepared(new_project: Callable[[], Project]) -> Project:
    """A project with the archive unpacked."""
    project = new_project()
    project.write_recipes({}, {"films": RECIPE})
    for stage in ("download", "untar"):
        project.stage(stage, "films")
    return project


def read_json(project: Project, name: str) -> dict:
    return json.loads((project.folder / name).read_text(encoding="utf-8"))


def table(project: Project, name: str) -> pd.DataFrame:
    path = project.folder / name
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def split_metrics(project: Project, recipe: dict) -> dict[str, int]:
    """Split once more by another recipe; return its numbers."""
    project.write_recipes({}, {"films": recipe})
    project.stage("split", "films")
    return read_json(project, "results/films/split/metrics.json")


def refused(project: Project, recipe: dict, stage: str = "split") -> str:
    """Run a stage that must end with a message and leave every output as it was."""
    project.write_recipes({}, {"films": recipe})
    before = output_hashes(project)
    ended = project.stage(stage, "films", ok=False)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith(f"{stage} films: ")
    assert output_hashes(project) == before
    assert not list(project.folder.rglob("*.part"))
    return ended.stderr


def test_every_file_of_the_contract_is_there(done: Project) -> None:
    files = {name for name in output_hashes(done) if "/films/" in name}
    assert files == {
        "data/films/archive/ml-100k.zip", "data/films/raw/ml-100k/u.data",
        "data/films/raw/ml-100k/u.item", "data/films/items.parquet", "data/films/vocab.json",
        "models/films/model.safetensors", "models/films/model.json", "models/films/threshold.json",
        "results/films/predictions.parquet",
        "results/films/split/metrics.json",
        "results/films/lr_find/curve.csv", "results/films/lr_find/suggestion.json",
        "results/films/fit/history.csv", "results/films/fit/batches.csv",
        "results/films/fit/metrics.json",
        "results/films/epochs.csv", "results/films/evaluate/diagnosis.json",
        "results/films/evaluate/metrics.json", "results/films/evaluate/per_class.csv",
        "results/films/evaluate/confusion.csv",
        "results/films/interpret/tables/bias.csv", "results/films/interpret/tables/components.csv",
        "results/films/interpret/tables/crosstab.csv", "results/films/interpret/tables/nearest.csv",
        "results/films/interpret/pictures/components.png",
        "results/films/report/index.html",
    }  # fmt: skip
    assert not list((done.folder / ".thaw").rglob("*.safetensors")), "no checkpoint is left"


def test_the_split_has_a_row_for_each_rating(done: Project) -> None:
    items, vocab = table(done, "data/films/items.parquet"), read_json(done, "data/films/vocab.json")
    raw = pd.read_csv(
        done.folder / "data/films/raw/ml-100k/u.data",
        sep="\t",
        names=["user", "item", "rating", "timestamp"],
    )
    assert items["user"].astype(int).tolist() == raw["user"].tolist()
    assert items["item"].astype(int).tolist() == raw["item"].tolist()
    assert items["rating"].tolist() == raw["rating"].tolist()
    assert items["timestamp"].tolist() == raw["timestamp"].tolist()
    known = items[items["item_row"] > 0]
    assert [vocab["items"][row - 1] for row in known["item_row"]] == known["item"].tolist()
    assert vocab["titles"][vocab["items"].index("17")] == "Été à Montclairière, L' (1987)"
    metrics = read_json(done, "results/films/split/metrics.json")
    assert metrics["train/ratings"] == (items["split"] == "train").sum() == 4800
    assert metrics["valid/ratings"] == 1200
    assert (metrics["users"], metrics["items"]) == (len(vocab["users"]), len(vocab["items"]))
    assert metrics["merged_items"] == 0


def test_the_models_have_learned(done: Project) -> None:
    items = table(done, "data/films/items.parquet")
    ratings = items.groupby("split")["rating"]
    constant = ((ratings.get_group("valid") - ratings.get_group("train").mean()) ** 2).mean()
    for recipe, share in {"films": 0.7, "neural": 0.96}.items():  # 0.56 and 0.91 when measured
        metrics = read_json(done, f"results/{recipe}/evaluate/metrics.json")
        assert metrics["valid/mse"] < share * constant


def test_the_fits_files_agree(done: Project) -> None:
    predictions = table(done, "results/films/predictions.parquet")
    items = table(done, "data/films/items.parquet")
    held = items[items["split"] == "valid"].reset_index(drop=True)
    assert list(predictions) == ["user", "item", "rating", "prediction", "split"]
    for column in ("user", "item", "rating"):
        assert predictions[column].equals(held[column])
    off = predictions["prediction"].astype(np.float64) - predictions["rating"]
    evaluated = read_json(done, "results/films/evaluate/metrics.json")
    assert evaluated["valid/mse"] == pytest.approx((off**2).mean(), rel=1e-12)
    assert evaluated["valid/rmse"] == pytest.approx((off**2).mean() ** 0.5, rel=1e-12)
    assert evaluated["valid/mae"] == pytest.approx(off.abs().mean(), rel=1e-12)
    assert evaluated["valid/items"] == 1200
    history = table(done, "results/films/fit/history.csv")
    assert list(history) == ["epoch", "train_loss", "valid_loss", "rmse", "mae", "lr"]
    assert len(history) == 6
    assert history["rmse"].iloc[-1] == evaluated["valid/rmse"]
    assert history["valid_loss"].iloc[-1] == pytest.approx(evaluated["valid/mse"], rel=1e-5)
    assert len(table(done, "results/films/fit/batches.csv")) == 6 * 75  # 4800 in batches of 64
    fit = read_json(done, "results/films/fit/metrics.json")
    assert fit["valid/mae"] == evaluated["valid/mae"]
    assert fit["train/items"] == 4800


def test_auto_is_the_rate_that_the_test_chose(done: Project) -> None:
    chosen = read_json(done, "results/films/lr_find/suggestion.json")["chosen"]
    assert 1e-7 < chosen < 10
    assert read_json(done, "results/films/fit/metrics.json")["lr/all"] == chosen
    rates = table(done, "results/films/fit/batches.csv")["lr"]
    assert rates.max() == pytest.approx(chosen, rel=1e-3)
    curve = done.folder / "results/neural/lr_find/curve.csv"
    assert curve.read_text() == "lr,loss,smoothed\n"


def test_the_neural_variant_has_hidden_layers_and_merged_titles(done: Project) -> None:
    metrics = read_json(done, "results/neural/split/metrics.json")
    assert metrics["merged_items"] == 1
    vocab = read_json(done, "data/neural/vocab.json")
    assert vocab["items"] == vocab["titles"]
    assert vocab["items"].count("Paper Lighthouse (1991)") == 1
    tensors = load_file(done.folder / "models/neural/model.safetensors")
    users, items = (tensors[f"{name}.weight"].shape for name in ("users", "items"))
    assert users[0] == metrics["users"] + 1
    assert items[0] == metrics["items"] + 1
    assert tensors["layers.0.weight"].shape == (12, users[1] + items[1] - 2)
    assert tensors["layers.3.weight"].shape == (6, 12)
    assert read_json(done, "models/neural/model.json")["model"]["hidden"] == [12, 6]


def test_interpret_shows_what_was_learned(done: Project) -> None:
    tensors = load_file(done.folder / "models/films/model.safetensors")
    vocab = read_json(done, "data/films/vocab.json")
    bias = table(done, "results/films/interpret/tables/bias.csv")
    by_item = bias.set_index(bias["item"].astype(str))["bias"]
    learned = pd.Series(tensors["items.weight"][1:, -1], vocab["items"])
    np.testing.assert_allclose(by_item[vocab["items"]], learned, atol=1e-6)
    assert bias["bias"].is_monotonic_decreasing
    parts = table(done, "results/films/interpret/tables/components.csv")
    assert len(parts) == len(vocab["items"])
    assert parts["ratings"].is_monotonic_decreasing
    assert parts["ratings"].sum() == 4800
    assert parts[["component_1", "component_2", "component_3"]].std().is_monotonic_decreasing
    crossed = table(done, "results/films/interpret/tables/crosstab.csv")
    assert len(crossed) == 15 * 15
    assert crossed["prediction"].between(0, 5.5).all()
    assert len(table(done, "results/films/interpret/tables/nearest.csv")) == 20 * 5
    with Image.open(done.folder / "results/films/interpret/pictures/components.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_crosstab_predicts_what_the_fit_did(done: Project) -> None:
    """For the held-out pairs the fit wrote its predictions too."""
    keys = ["user", "item"]
    predictions = table(done, "results/films/predictions.parquet").astype(dict.fromkeys(keys, int))
    crossed = table(done, "results/films/interpret/tables/crosstab.csv")
    both = crossed.merge(predictions, on=keys, suffixes=("", "_of_fit"))
    assert len(both) > 10
    assert (both["split"] == "valid").all()
    assert both["rating"].equals(both["rating_of_fit"].astype(float))
    np.testing.assert_allclose(both["prediction"], both["prediction_of_fit"], atol=2e-6)


def test_hidden_layers_predict_the_crosstab_too(done: Project) -> None:
    predictions = table(done, "results/neural/predictions.parquet")
    crossed = table(done, "results/neural/interpret/tables/crosstab.csv")
    assert len(crossed) == 15 * 15
    both = crossed.astype({"user": str}).merge(
        predictions, on=["user", "item"], suffixes=("", "_of_fit")
    )
    assert len(both) > 10
    np.testing.assert_allclose(both["prediction"], both["prediction_of_fit"], atol=1e-5)
    assert len(table(done, "results/neural/interpret/tables/nearest.csv")) == 20 * 5


def test_a_model_without_biases_is_interpreted(prepared: Project) -> None:
    recipe = changed("model", bias=False, y_range=None)
    recipe["lr_find"], recipe["fit"] = {"steps": 0}, {"epochs": 0, "lr": 1e-2}
    prepared.write_recipes({}, {"films": recipe})
    for stage in ("split", "lr_find", "fit", "evaluate"):
        prepared.stage(stage, "films")
    assert "bias.csv has no rows" in prepared.stage("interpret_ratings", "films").stdout
    results = prepared.folder / "results/films"
    assert (results / "interpret/tables/bias.csv").read_text() == "item,title,ratings,bias\n"
    assert (results / "fit/history.csv").read_text() == "epoch,train_loss,valid_loss,rmse,mae,lr\n"
    assert len(table(prepared, "results/films/predictions.parquet")) == 1200
    tensors = load_file(prepared.folder / "models/films/model.safetensors")
    assert tensors["items.weight"].shape[1] == 6


@pytest.mark.parametrize(
    ("plan", "verdict", "parameter", "tried"),
    [
        ({"epochs": 2, "lr": 10.0}, "rate too high", "lr", 1.0),
        ({"epochs": 4, "lr": 1e-6}, "rate too low", "lr", 1e-5),
        ({"epochs": 1, "lr": 1e-2}, "too few epochs", "epochs", 4),
        ({"epochs": 40, "lr": 5e-2, "weight_decay": 0.0}, "too many epochs", "epochs", None),
    ],
    ids=["high", "low", "few", "many"],
)
def test_a_fit_that_went_wrong_is_diagnosed(
    prepared: Project, plan: dict, verdict: str, parameter: str, tried: float | None
) -> None:
    recipe = changed("fit", **plan)
    recipe["lr_find"] = {"steps": 0}
    prepared.write_recipes({}, {"films": recipe})
    for stage in ("split", "lr_find", "fit"):
        prepared.stage(stage, "films")
    said = prepared.stage("evaluate", "films").stdout
    found = read_json(prepared, "results/films/evaluate/diagnosis.json")["fit"]
    assert found["verdict"] == verdict, found
    assert found["parameter"] == f"recipes.films.fit.{parameter}"
    assert found["try"] < plan["epochs"] if tried is None else found["try"] == tried
    assert f"try {found['parameter']}: {found['try']}" in said


# A stage, a function, and the call of it that does not come back. A fit renames, per epoch,
# checkpoint, history and batches; then history, batches, metrics, all epochs, predictions and both
# files of the model. An epoch has 75 steps.
MOMENTS = [
    ("films", "split", "pathlib.Path.replace", 2),
    ("films", "lr_find", "torch.optim.AdamW.step", 10),
    ("films", "fit", "thaw.training.optimizer.OneTensorAdamW.step", 100),
    ("films", "fit", "pathlib.Path.replace", 1),
    ("films", "interpret_ratings", "pathlib.Path.replace", 3),
    ("neural", "fit", "torch.optim.AdamW.step", 110),
    ("neural", "fit", "thaw.training.model.save_weights", 1),
]


def test_a_second_run_killed_again_and_again_leaves_the_same_bytes(
    new_project: Callable[[], Project], done: Project
) -> None:
    project = new_project()
    project.write_recipes({}, RECIPES)
    resumed = 0
    for recipe in RECIPES:
        for stage in STAGES:
            for _, _, function, call in (m for m in MOMENTS if m[:2] == (recipe, stage)):
                ended = project.run(
                    sys.executable, str(KILL_AT), function, str(call), stage, recipe, ok=False
                )
                assert ended.returncode == -signal.SIGKILL, (stage, function, ended.stderr)
            resumed += "resuming at epoch" in project.stage(stage, recipe).stdout
    assert resumed == 2  # both fits
    assert output_hashes(project) == output_hashes(done)
    assert not list(project.folder.rglob("*.part")), "half-written files were left"


def test_held_out_ratings_are_the_latest_and_the_unknown_are_counted(prepared: Project) -> None:
    recipe = changed("split", by={"rule": "time", "valid": 0.2})
    metrics = split_metrics(prepared, recipe)
    items = table(prepared, "data/films/items.parquet")
    valid = items["split"] == "valid"
    assert valid.sum() == 1200
    assert items.loc[~valid, "timestamp"].max() <= items.loc[valid, "timestamp"].min()
    trained = items[~valid]
    no_user, no_item = (~items[key].isin(trained[key]) for key in ("user", "item"))
    assert metrics["valid/unknown_user"] == no_user.sum() > 100
    assert metrics["valid/unknown_item"] == no_item.sum()
    assert metrics["valid/unknown"] == (no_user | no_item).sum()
    assert metrics["users"] == trained["user"].nunique()
    assert items["user_row"].eq(0).equals(no_user)
    assert items["item_row"].eq(0).equals(no_item)

    recipe["lr_find"], recipe["fit"] = {"steps": 0}, {"epochs": 1, "lr": 1e-2}
    prepared.write_recipes({}, {"films": recipe})
    for stage in ("lr_find", "fit"):
        prepared.stage(stage, "films")
    said = prepared.stage("evaluate", "films").stdout
    assert f"{metrics['valid/unknown']} of them of unknown users or items" in said
    evaluated = read_json(prepared, "results/films/evaluate/metrics.json")
    assert evaluated["valid/unknown"] == metrics["valid/unknown"]
    # An unknown user is an average one: all of them give an item the same.
    predictions = table(prepared, "results/films/predictions.parquet")
    unknown = predictions[no_user[valid].to_numpy() & ~no_item[valid].to_numpy()]
    assert unknown.groupby("item")["prediction"].nunique().max() == 1
    tensors = load_file(prepared.folder / "models/films/model.safetensors")
    for name in ("users", "items"):
        rows = tensors[f"{name}.weight"]
        np.testing.assert_allclose(rows[0], rows[1:].mean(0), atol=1e-6)


def test_the_seed_decides_the_split(prepared: Project) -> None:
    held = []
    for seed in (1, 2):
        metrics = split_metrics(prepared, RECIPE | {"seed": seed})
        assert metrics["valid/ratings"] == 1200
        items = table(prepared, "data/films/items.parquet")
        held.append(set(items.index[items["split"] == "valid"]))
    assert held[0] != held[1]


@pytest.fixture
def raw(prepared: Project) -> Iterator[Path]:
    """The unpacked tables, to be spoilt; they are put back."""
    folder = prepared.folder / "data/films/raw/ml-100k"
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    split_metrics(prepared, RECIPE)  # outputs that a refusal must leave alone
    yield folder
    for path in folder.iterdir():
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1\t2\tnan\t0", "line 6001: the rating 'nan' is not a number"),
        ("151\t2\t5.5\t0", "line 6001: the rating 5.5 is outside of 1 to 5"),
        ("151\t201\t5\t0", "line 6001: item 201 is not in u.item"),
        ("151\t1\t5", "line 6001: 3 columns, but the first line has 4"),
        ("151\t1\t5\tnoon", "line 6001: the timestamp 'noon' is not a whole number"),
    ],
)
def test_a_bad_line_is_refused(prepared: Project, raw: Path, line: str, problem: str) -> None:
    with (raw / "u.data").open("a") as file:
        file.write(line + "\n")
    message = refused(prepared, RECIPE)
    assert f"split.label.ratings: data/films/raw/ml-100k/u.data, {problem}" in message
    assert len(message.splitlines()) == 1


def test_a_pair_rated_twice_is_refused_with_both_lines(prepared: Project, raw: Path) -> None:
    lines = (raw / "u.data").read_text().splitlines()
    user, item, _, _ = lines[2].split("\t")
    (raw / "u.data").write_text("\r\n".join([*lines, f"{user}\t{item}\t1\t0"]))
    message = refused(prepared, RECIPE)
    assert f"lines 3 and 6001: user {user} rates item {item} twice" in message


def test_missing_files_and_columns_are_refused(prepared: Project, raw: Path) -> None:
    (raw / "u.item").rename(raw / "u.items")
    message = refused(prepared, RECIPE)
    assert "split.label.items: data/films/raw/ml-100k/u.item does not exist; did you" in message
    (raw / "u.data").write_text("1\t2\n")
    message = refused(prepared, RECIPE)
    assert "u.data, line 1: 2 columns, 4 are needed" in message


def test_a_split_by_time_needs_times(prepared: Project, raw: Path) -> None:
    recipe = changed(
        "split",
        label={"rule": "ratings", "columns": ["user", "item", "rating"]},
        by={"rule": "time"},
    )
    message = refused(prepared, recipe)
    assert "split.by.column: the ratings have no 'timestamp'" in message


def test_a_split_for_images_is_refused(prepared: Project, raw: Path) -> None:
    assert "not for ratings" in refused(prepared, changed("split", by={"rule": "folder"}))


def test_auto_without_a_test_is_refused_with_the_reason(prepared: Project, raw: Path) -> None:
    recipe = RECIPE | {"lr_find": {"steps": 0}}
    prepared.write_recipes({}, {"films": recipe})
    prepared.stage("lr_find", "films")
    message = refused(prepared, recipe, "fit")
    assert "fit.lr is 'auto'" in message
    assert "the test was left out" in message


def test_every_mistake_in_the_fits_sections_is_told_at_once(prepared: Project, raw: Path) -> None:
    recipe = changed("fit", lr=[1e-4, 1e-3], epochz=3)
    recipe["model"] = {"factors": None, "y_range": [5.5, 0.0]}
    message = refused(prepared, recipe, "fit")
    for part in (
        "recipes.films.fit.lr: [0.0001, 0.001] is a list, but this model has one parameter group",
        "recipes.films.fit.epochz: unknown key; did you mean 'epochs'?",
        "recipes.films.model: y_range [5.5, 0.0] must be two numbers, the lower one first",
    ):
        assert part in message


def test_a_rate_that_is_far_too_large_is_refused(prepared: Project, raw: Path) -> None:
    recipe = changed("model", y_range=None)
    recipe["lr_find"], recipe["fit"] = {"steps": 0}, {"epochs": 2, "lr": 1e30}
    prepared.write_recipes({}, {"films": recipe})
    prepared.stage("lr_find", "films")
    message = refused(prepared, recipe, "fit")
    assert "the loss became" in message
    assert "Choose a smaller fit.lr" in message
