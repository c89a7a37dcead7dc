"""MovieLens 100k, the complete archive, through `dvc repro`."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import Project, archives_folder

ARCHIVES = archives_folder()
ARCHIVE = ARCHIVES / "ml-100k.zip" if ARCHIVES else Path("ml-100k.zip")
STAGES = ("download", "untar", "split", "lr_find", "fit", "evaluate", "interpret_ratings")

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(
        not ARCHIVE.exists(), reason="no ml-100k.zip: set THAW_ARCHIVES to its folder"
    ),
]

# docs/results.md: the mean over five splits, and three standard errors of a split.
BOUND = 0.835


def recipe(**label: str) -> dict:
    """The lessons' recipe: 50 factors with biases, five epochs, weight decay 0.1."""
    return {
        "seed": 1,
        "threads": 1,
        "precision": "fp32",
        "data": {"folder": "ml-100k"},
        "model": {"factors": 50, "bias": True, "y_range": [0.0, 5.5]},
        "download": {"url": str(ARCHIVE.resolve())},  # repacked ones will do: rows are counted
        "untar": {},
        "split": {
            "label": {"rule": "ratings"} | label,
            "by": {"rule": "random", "valid": 0.2},
        },
        "lr_find": {"steps": 0},
        "fit": {"epochs": 5, "lr": 5e-3, "batch_size": 64, "weight_decay": 0.1},
    }


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project]) -> Project:
    """The recipe run by id, and its split by title."""
    project = new_project()
    project.write_recipes({}, {"films": recipe(), "titles": recipe(item_key="title")})
    done = project.run("dvc", "repro", *(f"{stage}@films" for stage in STAGES), "split@titles")
    wanted = {"code", *(f"{stage}@films" for stage in STAGES)}
    wanted |= {f"{stage}@titles" for stage in ("download", "untar", "split")}
    assert sorted(re.findall(r"Running stage '(\S+)'", done.stdout)) == sorted(wanted)
    return project


def read(project: Project, name: str) -> dict[str, float]:
    """Read a JSON file of the results."""
    return json.loads((project.folder / "results" / name).read_text())


def test_the_error_is_within_its_bound(project: Project) -> None:
    metrics = read(project, "films/evaluate/metrics.json")
    assert metrics["valid/mse"] <= BOUND
    assert metrics["valid/rmse"] == pytest.approx(metrics["valid/mse"] ** 0.5)
    assert metrics["valid/mae"] < 0.73
    assert metrics["valid/items"] == 20_000
    assert 0.005 < metrics["valid/mse_se"] < 0.01


def test_every_rating_is_read(project: Project) -> None:
    items = pd.read_parquet(project.folder / "data/films/items.parquet")
    assert len(items) == 100_000
    assert (items["user"].nunique(), items["item"].nunique()) == (943, 1682)
    first = items.loc[:2, ["user", "item", "rating", "timestamp"]].values.tolist()
    assert first == [
        ["196", "242", 3, 881250949], ["186", "302", 3, 891717742], ["22", "377", 1, 878887116],
    ]  # fmt: skip
    assert items["rating"].value_counts().to_dict() == {
        4: 34174, 3: 27145, 5: 21201, 2: 11370, 1: 6110,
    }  # fmt: skip


def test_training_has_all_users_and_the_items_that_are_not_unknown(project: Project) -> None:
    items = pd.read_parquet(project.folder / "data/films/items.parquet")
    metrics = read(project, "films/split/metrics.json")
    trained = items[items["split"] == "train"]
    assert metrics["train/ratings"] == len(trained) == 80_000
    assert metrics["users"] == trained["user"].nunique() == 943
    assert metrics["items"] == trained["item"].nunique()
    assert 1600 < metrics["items"] < 1682
    unknown = items[items["item_row"] == 0]
    assert metrics["items"] + unknown["item"].nunique() == 1682
    assert metrics["valid/unknown"] == len(unknown) == (unknown["split"] == "valid").sum()
    found = read(project, "films/evaluate/metrics.json")
    assert found["valid/unknown"] == metrics["valid/unknown"]


def test_eighteen_items_have_another_ones_title(project: Project) -> None:
    assert read(project, "films/split/metrics.json")["merged_items"] == 0
    assert read(project, "titles/split/metrics.json")["merged_items"] == 18
    items = pd.read_parquet(project.folder / "data/titles/items.parquet")
    assert items["item"].nunique() == 1664
    assert len(items) == 100_000


def test_what_was_learned_is_what_the_lessons_show(project: Project) -> None:
    folder = project.folder / "results/films/interpret/tables"
    bias = pd.read_csv(folder / "bias.csv")
    best, worst = set(bias["title"].head(30)), set(bias["title"].tail(30))
    for title in ("Titanic (1997)", "Shawshank Redemption, The (1994)", "Schindler's List (1993)"):
        assert title in best
    assert "Children of the Corn: The Gathering (1996)" in worst
    parts = pd.read_csv(folder / "components.csv")
    assert len(parts) == 1000
    assert parts["title"][0] == "Star Wars (1977)"
    near = pd.read_csv(folder / "nearest.csv")
    of_star_wars = near[near["title"] == "Star Wars (1977)"]["near_title"].tolist()
    assert set(of_star_wars) & {"Empire Strikes Back, The (1980)", "Return of the Jedi (1983)"}
    crossed = pd.read_csv(folder / "crosstab.csv")
    known = crossed.dropna(subset="rating")
    assert len(known) > 150  # active users have seen most of the best-known films
    off = known["prediction"] - known["rating"]
    assert np.sqrt((off**2).mean()) < 1


def test_a_second_repro_runs_nothing(project: Project) -> None:
    targets = [f"{stage}@films" for stage in STAGES]
    assert "Running stage" not in project.run("dvc", "repro", *targets).stdout
