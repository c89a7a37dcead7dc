"""Sweeps against real DVC, a real Prefect server and a real MLflow store."""

import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import pandas as pd
import pytest
from flows import ask, last_flow, recipe_of, stored_runs, task_runs
from project import FITS, Project, environment
from test_dvc import output_hashes

pytestmark = pytest.mark.slow

SWEEP = (sys.executable, "-m", "pipelines.sweep")
NAMED = ("--name", "it")


def rows(project: Project, name: str) -> pd.DataFrame:
    return pd.read_csv(project.folder / "results" / "sweeps" / f"{name}.csv", dtype={"seed": str})


def test_a_grid_is_run_tabled_and_tagged(trained: Project, prefect: dict[str, str]) -> None:
    before, known = output_hashes(trained), {run.info.run_id for run in stored_runs(trained)}
    kept = {name: (trained.folder / name).read_bytes() for name in ("params.yaml", "dvc.lock")}
    grid = ("fit_unfrozen.lr=1e-3,[1e-4, 2e-3],-1", "seed=1,2")
    done = trained.run(*SWEEP, "quick", *grid, "--name", "Two rates", **prefect)

    # A failed point is a row, in the order of the grid; the one that was there is not run again.
    table = rows(trained, "two-rates")
    assert table["fit_unfrozen.lr"].tolist() == [
        "0.001", "0.001", "[0.0001, 0.002]", "[0.0001, 0.002]", "-1", "-1",
    ]  # fmt: skip
    assert table["seed"].tolist() == ["1", "2"] * 3
    assert table["status"].tolist() == ["done"] * 4 + ["failed"] * 2
    assert table["error_rate"].notna().tolist() == [True] * 4 + [False] * 2
    assert table["why"].str.contains("fit_unfrozen.lr").tolist()[4:] == [True, True]
    states = {
        run["name"]: run["state_name"] for run in task_runs(prefect, last_flow(prefect)["id"])
    }
    assert states == {
        "fit_unfrozen.lr=0.001 seed=1": "Unchanged",
        "fit_unfrozen.lr=0.001 seed=2": "Ran",
        "fit_unfrozen.lr=[0.0001, 0.002] seed=1": "Ran",
        "fit_unfrozen.lr=[0.0001, 0.002] seed=2": "Ran",
        "fit_unfrozen.lr=-1 seed=1": "Failed",
        "fit_unfrozen.lr=-1 seed=2": "Failed",
    }
    assert "6 points: 2 Failed, 3 Ran, 1 Unchanged." in done.stdout

    by_key = {artifact["key"]: artifact for artifact in ask(prefect, "artifacts/latest")}
    assert len(json.loads(by_key["sweep-two-rates"]["data"])) == 6
    assert "Best on average" in by_key["sweep-two-rates"]["description"]

    # Mean and spread over the seeds.
    spread = rows(trained, "two-rates-spread")
    for rate, group in table[table["status"] == "done"].groupby("fit_unfrozen.lr"):
        (found,) = spread[spread["fit_unfrozen.lr"] == rate].to_dict("records")
        errors = group["error_rate"].tolist()
        assert found["points"] == 2
        assert found["mean"] == pytest.approx(mean(errors))
        assert found["sd"] == pytest.approx(stdev(errors))
    assert f"Best on average: error_rate {spread['mean'].min():.4f}" in done.stdout

    # Runs that MLflow can compare, under one tag; the project is as it was.
    runs = [run for run in stored_runs(trained) if "thaw.sweep.two-rates" in run.data.tags]
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert {run.info.run_name for run in finished} == set(table["run"].dropna())
    for run in finished:
        (row,) = table[table["run"] == run.info.run_name].to_dict("records")
        assert run.data.params["fit_unfrozen.lr"] == row["fit_unfrozen.lr"]
        assert run.data.params["seed"] == row["seed"]
        assert run.data.metrics["valid/error_rate"] == pytest.approx(row["error_rate"])
    assert len(finished) == 4
    assert len(known & {run.info.run_id for run in runs}) == 1
    after = output_hashes(trained)
    assert {k: v for k, v in after.items() if not k.startswith("results/sweeps/")} == before
    assert all((trained.folder / name).read_bytes() == was for name, was in kept.items())


def test_stages_that_points_share_run_once(
    new_project: Callable[[], Project], recipe: dict, prefect: dict[str, str]
) -> None:
    project = new_project()
    project.write_recipes({"quick": recipe})
    project.run(*SWEEP, "quick", "fit_unfrozen.lr=1e-3,2e-3,3e-3", "-j", "3", *NAMED, **prefect)
    flow = last_flow(prefect)["id"]
    logs = ask(prefect, "logs", logs={"flow_run_id": {"any_": [flow]}}, limit=200)
    told = [line["message"] for line in logs]
    ran = {name: told.count(f"Running stage '{name}@quick':") for name in FITS}
    assert ran == {"fit_frozen": 1, "fit_unfrozen": 3}
    assert rows(project, "it")["status"].tolist() == ["done"] * 3
    assert not (project.folder / "models").exists()
    assert len({recipe_of(run) for run in stored_runs(project)}) == 1


def test_every_fold_once_and_every_group_once(
    new_project: Callable[[], Project], recipe: dict, prefect: dict[str, str]
) -> None:
    project = new_project()
    recipe["split"]["by"] = {"rule": "folds", "of": "stratified", "folds": 3}
    project.write_recipes({"quick": recipe})
    project.commit("Folds")
    done = project.run(*SWEEP, "quick", "split.by.fold=each", *NAMED, **prefect)
    table = rows(project, "it")
    assert table["split.by.fold"].tolist() == [0, 1, 2]
    assert table["items"].sum() == 48  # each image held out once
    assert f"Mean: error_rate {table['error_rate'].mean():.4f}" in done.stdout


def test_every_group_is_held_out_once_and_two_sweeps_share_points(
    new_project: Callable[[], Project], recipe: dict, shapes_archive: Path, prefect: dict[str, str]
) -> None:
    project = new_project()
    people = ("Ann", "Jürgen", "Zoë", "O'Hara")
    recipe["download"]["url"] = str(by_person(shapes_archive, project.folder.parent, people))
    recipe["split"] |= {
        "by": {"rule": "group", "column": "person", "valid": ["Ann"], "same": [["Zoë", "O'Hara"]]},
        "columns": r"/(?P<person>[^/]+)_\d+\.png$",
    }
    project.write_recipes({"quick": recipe})
    project.commit("People")
    project.run("dvc", "repro", "split@quick")
    command = [*SWEEP, "quick", "split.by.valid=each", "-j", "1"]
    running = [
        subprocess.Popen(
            [*command, "--name", name],
            cwd=project.folder,
            env=environment() | prefect,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two")
    ]
    told = [process.communicate(timeout=1200)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    for name in ("one", "two"):
        table = rows(project, name)
        assert table["split.by.valid"].tolist() == ['["Ann"]', '["Jürgen"]', '["O\'Hara", "Zoë"]']
        assert table["status"].tolist() == ["done"] * 3
        assert table["items"].tolist() == [12, 12, 24]
    runs = stored_runs(project)
    assert len(runs) == 3
    assert all({"thaw.sweep.one", "thaw.sweep.two"} <= run.data.tags.keys() for run in runs)


def by_person(archive: Path, folder: Path, people: tuple[str, ...]) -> Path:
    """The same images with a person's name each."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    for image in sorted((folder / "shapes").rglob("*.png")):
        image.rename(image.with_name(f"{people[int(image.stem) % len(people)]}_{image.name}"))
    with tarfile.open(folder / "people.tgz", "w:gz") as tar:
        tar.add(folder / "shapes", "shapes")
    return folder / "people.tgz"


def test_a_killed_sweep_goes_on_where_it_stopped(
    new_project: Callable[[], Project], recipe: dict, prefect: dict[str, str]
) -> None:
    project = new_project()
    project.write_recipes({"quick": recipe})
    project.commit("Begin")
    command = [*SWEEP, "quick", "seed=1,2,3", "-j", "1", *NAMED]
    running = subprocess.Popen(command, cwd=project.folder, env=environment() | prefect)
    file = project.folder / "results" / "sweeps" / "it.csv"
    while not file.exists():
        assert running.poll() is None
        time.sleep(0.2)
    running.send_signal(signal.SIGKILL)
    running.wait()
    first = rows(project, "it")
    assert sorted(first["status"].unique()) == ["done", "waiting"]
    before = {run.info.run_id for run in stored_runs(project)}
    project.run(*command, **prefect)
    table = rows(project, "it")
    assert table["status"].tolist() == ["done"] * 3
    states = {
        run["name"]: run["state_name"] for run in task_runs(prefect, last_flow(prefect)["id"])
    }
    for name, was in zip(first["seed"], first["status"], strict=True):
        assert (states[f"seed={name}"] == "Unchanged") == (was == "done")
    runs = stored_runs(project)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 3
    assert before <= {run.info.run_id for run in runs}


def test_an_edit_meanwhile_fails_the_points_that_have_not_begun(
    new_project: Callable[[], Project], recipe: dict, prefect: dict[str, str]
) -> None:
    project = new_project()
    project.write_recipes({"quick": recipe})
    project.commit("Begin")
    command = [*SWEEP, "quick", "seed=1,2,3", "-j", "1", *NAMED]
    running = subprocess.Popen(command, cwd=project.folder, env=environment() | prefect)
    file = project.folder / "results" / "sweeps" / "it.csv"
    while not file.exists():
        assert running.poll() is None
        time.sleep(0.2)
    params = project.folder / "params.yaml"
    params.write_text(params.read_text() + "# edited\n")
    assert running.wait() == 0
    table = rows(project, "it")
    assert set(table["status"]) == {"done", "failed"}
    failed = table[table["status"] == "failed"]
    assert failed["why"].str.startswith("params.yaml, dvc.yaml or code was edited since").all()


def test_mistakes_are_told_before_anything_runs(trained: Project, tmp_path: Path) -> None:
    alone = {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": ""}
    for arguments, told in (
        (("quik", "seed=1"), "params.yaml: no recipe quik; did you mean 'quick'?"),
        (("quick", "sede=1"), "recipes.quick.sede: unknown section; did you mean 'seed'?"),
        (("quick", "fit_frosen.lr=1"), "params.yaml has no 'fit_frosen' there"),
        (("quick", "fit_frozen.weight_decai=0"), "did you mean 'weight_decay'?"),
        (("quick", "seed"), "seed: write KEY=VALUE,VALUE"),
        (("quick", "seed=1,1"), "seed: 1 is there twice."),
        (("quick", "seed=[1"), "seed=[1: "),
        (("quick", "split.by.fold=each"), "quick has neither there"),
        (("quick", "seed=1", "-S", "recipes.quick.sede=3"), "params.yaml has no 'sede' there"),
        (("quick", "seed=1", "-j", "0"), "jobs: 0 points at once"),
        (
            ("quick", "seed=1", "-S", "recipes.quick.seed=3"),
            "-S recipes.quick.seed=3: the sweep varies recipes.quick.seed.",
        ),
    ):
        done = trained.run(*SWEEP, *arguments, ok=False, **alone)
        assert done.returncode == 1
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    assert json.loads(trained.run("dvc", "status", "--json").stdout) == {}
