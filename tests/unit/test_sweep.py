"""Grids, their tables, and the one number that retraining changes."""

from pathlib import Path

import pandas as pd
import pytest
from dvc.utils.serialize import load_yaml
from project import ROOT

from pipelines.edit import set_number
from pipelines.grid import Point, grid_points, read_grid, sweep_name
from pipelines.sweep import reason
from pipelines.sweep_table import Row, best, spread, table, write_tables
from pipelines.workspace import LARGE, _copy, set_values
from stages.recipe import read_recipes
from thaw.core.errors import UserError

PARAMS = (ROOT / "params.yaml").read_text()
PUBLISHED = """
published:
  pets: &pets
    fit: &fit {epochs: 12, lr: 1e-3}   # twelve
  birds: &birds
    <<: *pets
images: &images
  pets: *pets
  own: {fit: {epochs: 12, lr: 1e-3}}
  merged:
    fit:
      <<: *fit
      lr: 1e-2
recipes: *images
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS)
    return file


@pytest.mark.parametrize(
    "value",
    [7, 1e-5, True, None, "01", "no", "a\\b", r"(.+)_\d+\.jpg$", "Jürgen", "${x}", 'a "b" #c', "猫",
     [["01"], ["Zoë"]], [1e-4, "auto"], "1e-3", ""],
)  # fmt: skip
def test_a_value_arrives_as_it_is_and_changes_no_other(params: Path, value: object) -> None:
    before = read_recipes(params)
    point = Point("bears_sample", {"split.label.rule": value, "fit_frozen.weight_decay": value})
    set_values(params, point.paths)
    after = read_recipes(params)
    assert load_yaml(str(params))["recipes"] == after  # as DVC reads it
    assert after["bears_sample"]["split"]["label"].pop("rule") == value
    assert after["bears_sample"]["fit_frozen"].pop("weight_decay") == value
    before["bears_sample"]["split"]["label"].pop("rule")
    assert after == before


def test_a_workspace_links_what_is_large_and_writes_through_no_link(tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.mkdir()
    sizes = {"photos.tgz": LARGE, "dvc.lock": LARGE, "stage.py": 10, "cat.JPG": 10}
    for name, size in sizes.items():
        (source / name).write_bytes(b"0" * size)
        _copy(source / name, there / name)
    linked = {f.name for f in there.iterdir() if f.samefile(source / f.name)}
    assert linked == {"photos.tgz", "cat.JPG"}
    # What was linked is small now: a copy must not go into the file that it was a link to.
    (source / "photos.tgz").rename(source / "old.tgz")
    (source / "photos.tgz").write_bytes(b"1")
    _copy(source / "photos.tgz", there / "photos.tgz")
    assert (source / "old.tgz").read_bytes() == b"0" * LARGE
    assert (there / "photos.tgz").read_bytes() == b"1"


def test_a_grid_is_read_as_params_yaml_is() -> None:
    assert read_grid(["lr=1e-3,[1e-4, auto]", "seed=0, 1", "arch=resnet18"]) == {
        "lr": [1e-3, [1e-4, "auto"]],
        "seed": [0, 1],
        "arch": ["resnet18"],
    }


def test_points_are_all_combinations_the_last_parameter_first() -> None:
    grid = {"fit_frozen.lr": [0.1, [0.1, 0.2]], "seed": [1, 2]}
    names = [point.name for point in grid_points(ROOT, "pets_sample", grid)]
    assert names == [
        "fit_frozen.lr=0.1 seed=1", "fit_frozen.lr=0.1 seed=2",
        "fit_frozen.lr=[0.1, 0.2] seed=1", "fit_frozen.lr=[0.1, 0.2] seed=2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("seed=1,'1'", "seed: 1 is there twice"),
        ("seed=2020-01-01", "is no number, text, truth value or list"),
        ("seed={a: 1}", "of a mapping name the key within"),
        ("seed=1,1", "seed: 1 is there twice"),
        ("fit_frozen.epochz=1", "did you mean 'epochs'?"),
        ("fit_frosen.epochs=1", "did you mean 'fit_frozen'?"),
        ("split.by.fold=each", "pets_sample has neither there"),
    ],
)
def test_odd_values_are_told(argument: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        grid_points(ROOT, "pets_sample", read_grid([argument]))
    assert told in str(error.value)


def test_groups_are_known_once_the_items_are(params: Path) -> None:
    with pytest.raises(UserError, match="First: dvc repro split@biwi_sample"):
        grid_points(params.parent, "biwi_sample", {"split.by.valid": "each"})


def test_sweeps_over_other_values_have_other_names() -> None:
    names = {
        sweep_name("r_s", {"fit.lr": [1, 2]}, [], None),
        sweep_name("r_s", {"fit.lr": [1]}, [], None),
        sweep_name("r_s", {"fit.lr": [1]}, ["recipes.r_s.seed=1"], None),
    }
    assert len(names) == 3
    assert all(name.startswith("r_s-fit-lr-") for name in names)
    assert sweep_name("r", {}, [], "Two rates!") == "two-rates"
    with pytest.raises(UserError, match="use letters and digits"):
        sweep_name("r", {}, [], "???")


POINTS = [Point("r", {"lr": lr, "seed": seed}) for lr in (0.1, 0.2, 0.3) for seed in (1, 2)]


def rows(*errors: float | None) -> dict[str, Row]:
    """A row for each point, failed where there is no error rate."""
    return {
        point.name: Row("failed", why="odd")
        if error is None
        else Row("done", {"items": 40.0, "error_rate": error}, 1.0, "r-1")
        for point, error in zip(POINTS, errors, strict=True)
    }


def test_mean_and_spread_say_over_how_many_points() -> None:
    found = table(POINTS, rows(0.1, 0.3, 0.05, None, 0.4, 0.5))
    groups = spread(found, ["lr", "seed"], {"seed"})
    assert groups is not None
    assert groups["points"].tolist() == [2, 1, 2]
    assert groups["of"].tolist() == [2, 2, 2]
    assert groups["mean"].tolist() == pytest.approx([0.2, 0.05, 0.45])
    assert groups["sd"].tolist()[0] == pytest.approx(0.2 / 2**0.5)
    # A lucky point whose other seed failed does not win.
    told = best(found, groups, ["lr", "seed"], {"seed"})
    assert told == (
        "Best on average: error_rate 0.2000 over 2 of 2 points, standard deviation 0.1414 "
        "(0.1000 to 0.3000), with lr=0.1."
    )


def test_equal_points_are_both_named() -> None:
    found = table(POINTS, rows(0.3, 0.2, 0.4, 0.2, 0.5, None))
    told = best(found, None, ["lr", "seed"], set())
    assert told == "Best: error_rate 0.2000 with lr=0.1 seed=2 and with lr=0.2 seed=2."


def test_a_table_has_whole_numbers_and_no_invented_ones(tmp_path: Path) -> None:
    write_tables(tmp_path, "s", POINTS, rows(0.1, None, 0.2, 0.2, 0.2, 0.2), {"seed"})
    lines = (tmp_path / "results/sweeps/s.csv").read_text().splitlines()
    assert lines[0] == "lr,seed,status,error_rate,items,seconds,run,why"
    assert lines[1] == "0.1,1,done,0.1,40,1.0,r-1,"
    assert lines[2] == "0.1,2,failed,,,,,odd"
    assert len(pd.read_csv(tmp_path / "results/sweeps/s-spread.csv")) == 3
    write_tables(tmp_path, "s", POINTS, rows(0.1, None, 0.2, 0.2, 0.2, 0.2), set())
    assert not (tmp_path / "results/sweeps/s-spread.csv").exists()


def test_a_published_recipe_is_told_from_an_unknown_one(params: Path) -> None:
    with pytest.raises(UserError, match=r"First: python -m pipelines\.train pets$"):
        grid_points(params.parent, "pets", {"seed": [1]})
    with pytest.raises(UserError, match="no recipe pets_sampel; did you mean 'pets_sample'"):
        grid_points(params.parent, "pets_sampel", {"seed": [1]})


def test_one_number_is_changed_and_nothing_else(params: Path) -> None:
    set_number(params, "bears_sample", "fit_unfrozen", "epochs", 17)
    pairs = zip(PARAMS.splitlines(), params.read_text().splitlines(), strict=True)
    ((was, now),) = [(a, b) for a, b in pairs if a != b]
    assert now == was.replace("epochs: 3", "epochs: 17")
    assert read_recipes(params)["bears_sample"]["fit_unfrozen"]["epochs"] == 17


@pytest.mark.parametrize(("recipe", "shared"), [("pets", True), ("own", False), ("merged", True)])
def test_a_number_that_another_recipe_shares_stays(params: Path, recipe: str, shared: bool) -> None:
    params.write_text(PUBLISHED)
    if not shared:
        set_number(params, recipe, "fit", "epochs", 3)
        assert params.read_text() == PUBLISHED.replace(
            "own: {fit: {epochs: 12", "own: {fit: {epochs: 3"
        )
        return
    with pytest.raises(UserError, match=f"Give {recipe} a section `fit:` of its own"):
        set_number(params, recipe, "fit", "epochs", 3)
    assert params.read_text() == PUBLISHED


def test_a_number_that_is_written_otherwise_is_not_said_to_be_shared(params: Path) -> None:
    params.write_text(PUBLISHED.replace("own: {fit: {epochs: 12", "own: {fit: {epochs: 0xC"))
    with pytest.raises(UserError, match=r"cannot be set to 3 as it is written there.* number, 12"):
        set_number(params, "own", "fit", "epochs", 3)


def test_a_published_recipe_that_nobody_builds_on_is_changed(params: Path) -> None:
    text = PUBLISHED.replace("  birds: &birds\n    <<: *pets\n", "").replace("      <<: *fit\n", "")
    params.write_text(text)
    set_number(params, "pets", "fit", "epochs", 3)
    assert params.read_text() == text.replace("&fit {epochs: 12", "&fit {epochs: 3")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (
            "fit@a failed with exit code 1. .thaw/logs/fit@a.log ends:\n"
            "  Running stage 'fit@a':\n  > python -m stages fit a\n  fit a: the loss became nan.\n"
            "  ERROR: failed to reproduce 'fit@a': exited with 1\nAll of it is in /w",
            "fit@a failed with exit code 1: fit a: the loss became nan.",
        ),
        (
            "fit@a failed with exit code 255. .thaw/logs/fit@a.log ends:\n"
            "  ERROR: failed to reproduce 'fit@a': no such file",
            "fit@a failed with exit code 255: ERROR: failed to reproduce 'fit@a': no such file",
        ),
        (
            "a was not started: fit.lr: -1.\nfit.epochs: -2.",
            "a was not started: fit.lr: -1. fit.epochs: -2.",
        ),
        ("[Errno 28] No space left on device", "[Errno 28] No space left on device"),
    ],
)
def test_a_row_says_why_its_point_failed(told: str, why: str) -> None:
    assert reason(told) == why


@pytest.mark.parametrize("name", ["a" * 201, "Rates spread", "--"])
def test_names_that_would_do_harm_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"^--name"):
        sweep_name("a", {"seed": [1]}, [], name)


def test_a_value_has_no_keys(params: Path) -> None:
    with pytest.raises(UserError, match=r"there is no 'x' in .*, which is a value"):
        grid_points(params.parent, "bears_sample", {"fit_frozen.lr.x": [1]})


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"seed": [0, 0.0]}, r"^seed: 0, 0\.0 is there twice"),
        ({"seed": [0, "each"]}, "^seed: 'each' stands for all values, so alone"),
        ({"fit_frozen": [1]}, "^fit_frozen is a section. Name a parameter of it: epochs"),
    ],
)
def test_values_that_nobody_means_are_refused(params: Path, grid: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        grid_points(params.parent, "bears_sample", grid)
