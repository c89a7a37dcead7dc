"""The flow against real DVC, a real Prefect server and a real MLflow store."""

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from project import Project, environment, quick_recipe
from servers import prefect_server, until
from test_dvc import output_hashes, stages_run

from pipelines.graph import Pipeline

pytestmark = pytest.mark.slow

FLOW = (sys.executable, "-m", "pipelines.train")


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a running Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as settings:
        yield settings


@pytest.fixture
def recipe(shapes_archive: Path) -> dict:
    return quick_recipe(shapes_archive)


@pytest.fixture
def two(recipe: dict) -> dict[str, dict]:
    """Two recipes, one without a body's seed of the other."""
    return {"first": recipe, "second": copy.deepcopy(recipe) | {"seed": 2}}


def states(settings: dict[str, str], flow: str) -> dict[str, str]:
    """The state's name of each task run of a flow run, by the stage's address."""
    return {run["name"]: run["state_name"] for run in task_runs(settings, flow)}


def task_runs(settings: dict[str, str], flow: str) -> list[dict]:
    found = httpx.post(
        f"{settings['PREFECT_API_URL']}/task_runs/filter",
        json={"flow_runs": {"id": {"any_": [flow]}}},
    )
    return found.raise_for_status().json()


def last_flow(settings: dict[str, str]) -> dict:
    found = httpx.post(
        f"{settings['PREFECT_API_URL']}/flow_runs/filter",
        json={"sort": "EXPECTED_START_TIME_DESC", "limit": 1},
    )
    return found.raise_for_status().json()[0]


def stored_runs(project: Project) -> list[Run]:
    """The runs of a project's own store."""
    client = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("thaw")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def recipe_of(run: Run) -> str:
    """The recipe that a stored run is of; its name says it as well."""
    recipe = run.data.tags["thaw.recipe"]
    assert run.info.run_name == f"{recipe}-{run.data.tags['thaw.key'][:6]}"
    return recipe


def steps(project: Project, run_id: str, key: str) -> list[int]:
    """The steps of a stored curve, in their order of arrival."""
    client = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    return [metric.step for metric in client.get_metric_history(run_id, key)]


def test_the_flow_does_what_dvc_repro_does(
    new_project: Callable[[], Project], two: dict, prefect: dict[str, str]
) -> None:
    by_flow, by_dvc = new_project(), new_project()
    for project in (by_flow, by_dvc):
        project.write_recipes(two)
        project.commit("Two recipes")
    done = by_flow.run(*FLOW, **prefect)
    by_dvc.run("dvc", "repro")

    # The same results, whatever ran beside whatever.
    assert output_hashes(by_flow) == output_hashes(by_dvc)
    assert (by_flow.folder / "dvc.lock").read_text() == (by_dvc.folder / "dvc.lock").read_text()
    assert not by_flow.run("git", "status", "--porcelain", "pipelines", "params.yaml").stdout
    assert stages_run(by_flow.run("dvc", "repro").stdout) == []

    # A task for each stage, each after those that dvc.yaml says.
    flow = last_flow(prefect)
    graph = Pipeline(by_flow.folder).graph
    assert states(prefect, flow["id"]) == dict.fromkeys(graph, "Ran")
    assert f"{len(graph)} Ran." in done.stdout
    names = {run["id"]: run["name"] for run in task_runs(prefect, flow["id"])}
    waited = {
        run["name"]: {names[other["id"]] for other in run["task_inputs"].get("wait_for", [])}
        for run in task_runs(prefect, flow["id"])
    }
    edges = {line.strip(" ;").replace('"', "") for line in dag(by_flow) if "->" in line}
    assert {f"{a} -> {b}" for b, needed in waited.items() for a in needed} == edges

    # One run each in MLflow, with every point of every history.
    for project in (by_flow, by_dvc):
        runs = stored_runs(project)
        assert sorted(map(recipe_of, runs)) == ["first", "second"]
        for run in runs:
            assert run.info.status == "FINISHED"
            assert steps(project, run.info.run_id, "fit_unfrozen/valid_loss") == [0, 1]
            assert steps(project, run.info.run_id, "fit_frozen/batch/lr") == list(range(10))
    tags = {recipe_of(run): run.data.tags for run in stored_runs(by_flow)}
    assert tags["first"]["prefect.flow_run_id"] == flow["id"]
    commit = by_flow.run("git", "rev-parse", "HEAD").stdout.strip()
    assert tags["first"]["mlflow.source.git.commit"] == commit
    assert tags["first"]["thaw.git_dirty"] == "false"

    # Results as a table, progress as it went.
    artifacts = httpx.post(f"{prefect['PREFECT_API_URL']}/artifacts/latest/filter", json={})
    by_key = {artifact["key"]: artifact for artifact in artifacts.raise_for_status().json()}
    assert "error rate" in by_key["results"]["data"]
    assert by_key["fit-unfrozen-first"]["data"] == 100
    assert "epoch 2 of 2: train_loss" in by_key["fit-unfrozen-first"]["description"]

    again = by_flow.run(*FLOW, **prefect)
    assert f"{len(graph)} Unchanged." in again.stdout
    assert states(prefect, last_flow(prefect)["id"]) == dict.fromkeys(graph, "Unchanged")


def dag(project: Project) -> list[str]:
    return project.run("dvc", "dag", "--dot").stdout.splitlines()


def test_returning_to_old_parameters_returns_to_their_run(
    trained: Project, recipe: dict, prefect: dict[str, str]
) -> None:
    before = output_hashes(trained)
    for epochs, outcome in ((4, "Ran"), (2, "Restored")):
        recipe["fit_unfrozen"]["epochs"] = epochs
        trained.write_recipes({"quick": recipe})
        trained.run(*FLOW, "quick", **prefect)
        found = states(prefect, last_flow(prefect)["id"])
        assert (found["fit_frozen@quick"], found["fit_unfrozen@quick"]) == ("Unchanged", outcome)
    assert output_hashes(trained) == before
    epochs = [run.data.params["fit_unfrozen.epochs"] for run in stored_runs(trained)]
    assert sorted(epochs) == ["2", "4"]
    for run in stored_runs(trained):
        found = steps(trained, run.info.run_id, "fit_unfrozen/valid_loss")
        assert found == list(range(int(run.data.params["fit_unfrozen.epochs"])))


def test_overrides_leave_the_project_as_it_is(trained: Project, prefect: dict[str, str]) -> None:
    before, known = output_hashes(trained), {run.info.run_id for run in stored_runs(trained)}
    kept = {name: (trained.folder / name).read_bytes() for name in ("params.yaml", "dvc.lock")}
    trained.run(*FLOW, "quick", "-S", "recipes.quick.fit_unfrozen.lr=0.002", **prefect)
    found = states(prefect, last_flow(prefect)["id"])
    assert {found[f"{stage}@quick"] for stage in ("split", "pack", "fit_frozen")} == {"Restored"}
    assert found["fit_unfrozen@quick"] == "Ran"
    assert output_hashes(trained) == before
    assert all((trained.folder / name).read_bytes() == was for name, was in kept.items())
    assert not list((trained.folder / ".thaw/workspaces").glob("*/"))
    new = [run for run in stored_runs(trained) if run.info.run_id not in known]
    assert [run.data.params["fit_unfrozen.lr"] for run in new] == ["0.002"]
    assert new[0].info.status == "FINISHED"

    odd = trained.run(*FLOW, "quick", "-S", "recipes.quik.seed=1", ok=False, **prefect)
    assert odd.returncode == 1
    assert "write recipes.RECIPE.KEY=VALUE" in odd.stderr
    assert "Traceback" not in odd.stderr


def test_a_bad_parameter_fails_at_once_and_the_other_recipe_goes_on(
    new_project: Callable[[], Project], two: dict, prefect: dict[str, str]
) -> None:
    project = new_project()
    two["second"]["fit_unfrozen"] = {"epochs": -1, "lr": 1e-3}
    two["first"] |= {phase: {"epochs": 0, "lr": 1e-3} for phase in ("fit_frozen", "fit_unfrozen")}
    project.write_recipes(two)
    done = project.run(*FLOW, ok=False, **prefect)
    assert done.returncode == 1
    assert "recipes.second.fit_unfrozen.epochs: -1" in done.stderr
    assert "Not begun for it: " in done.stderr
    runs = task_runs(prefect, last_flow(prefect)["id"])
    assert {r["state_name"] for r in runs if r["name"].endswith("@first")} == {"Ran"}
    assert {r["state_name"] for r in runs if r["name"].endswith("@second")} == {
        "Failed", "NotReady",
    }  # fmt: skip
    assert {r["run_count"] for r in runs if r["state_name"] == "Failed"} == {1}
    assert last_flow(prefect)["state_type"] == "FAILED"
    status = {recipe_of(run): run.info.status for run in stored_runs(project)}
    assert status == {"first": "FINISHED", "second": "FAILED"}
    tags = {recipe_of(run): run.data.tags for run in stored_runs(project)}
    assert tags["second"]["prefect.flow_run_id"] == last_flow(prefect)["id"]
    assert tags["second"]["thaw.failed_stage"] in ("download", "weights")


@pytest.fixture
def long_project(new_project: Callable[[], Project], recipe: dict) -> Project:
    """A project with one recipe whose unfrozen fit takes longer than MLflow does to start."""
    project = new_project()
    recipe["fit_frozen"]["epochs"] = 1
    recipe["fit_unfrozen"]["epochs"] = 40
    project.write_recipes({"long": recipe})
    project.commit("A long recipe")
    return project


def start_flow(project: Project, settings: dict[str, str]) -> subprocess.Popen:
    """Start a flow; return once its long fit is some epochs old."""
    process = subprocess.Popen(
        [*FLOW, "long"],
        cwd=project.folder,
        env=environment() | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: epochs_done(project) >= 3, "epochs of the long fit")
    return process


def epochs_done(project: Project) -> int:
    file = project.folder / "results/long/fit_unfrozen/history.csv"
    return len(file.read_text().splitlines()) - 1 if file.exists() else 0


def stage_processes(project: Project) -> list[psutil.Process]:
    """What runs DVC or a stage in the project's folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if process.info["cwd"] == str(project.folder) and {"stages", "dvc"} & set(words):
            found.append(process)
    return found


@pytest.mark.parametrize("finish", [FLOW, ("dvc", "repro")], ids=["flow", "dvc"])
def test_a_killed_flow_leaves_nothing_behind_and_is_finished_later(
    long_project: Project,
    new_project: Callable[[], Project],
    prefect: dict[str, str],
    finish: tuple[str, ...],
) -> None:
    flow = start_flow(long_project, prefect)
    until(lambda: live_steps(long_project), "live points in MLflow")
    assert stage_processes(long_project)
    os.kill(flow.pid, signal.SIGKILL)
    flow.communicate()
    until(lambda: not stage_processes(long_project), "end of the stage")
    assert epochs_done(long_project) < 40

    done = long_project.run(*finish, **prefect)
    assert "resuming at epoch" in done.stdout + done.stderr
    undisturbed = new_project()
    params = (long_project.folder / "params.yaml").read_bytes()
    (undisturbed.folder / "params.yaml").write_bytes(params)
    undisturbed.run("dvc", "repro")
    assert output_hashes(long_project) == output_hashes(undisturbed)

    (run,) = stored_runs(long_project)
    assert run.info.status == "FINISHED"
    assert steps(long_project, run.info.run_id, "fit_unfrozen/valid_loss") == list(range(40))
    assert steps(long_project, run.info.run_id, "fit_unfrozen/batch/loss") == list(range(40 * 5))


def live_steps(project: Project) -> list[int]:
    """The epochs that MLflow has of a run that is still going on."""
    return [
        step
        for run in stored_runs(project)
        if run.info.status == "RUNNING"
        for step in steps(project, run.info.run_id, "fit_unfrozen/valid_loss")
    ]


def test_a_lost_process_is_tried_again_and_an_interrupted_flow_ends_its_stage(
    long_project: Project, prefect: dict[str, str]
) -> None:
    flow = start_flow(long_project, prefect)
    (stage,) = [p for p in stage_processes(long_project) if "fit_unfrozen" in p.cmdline()[-2:]]
    stage.kill()
    until(lambda: fit_runs(prefect) == 2, "second try of the fit")
    until(lambda: stage_processes(long_project), "process of the second try")
    flow.send_signal(signal.SIGINT)
    output, _ = flow.communicate(timeout=120)
    assert flow.returncode != 0
    assert "fit_unfrozen@long failed with SIGKILL" in output
    until(lambda: not stage_processes(long_project), "end of the stage")


def fit_runs(settings: dict[str, str]) -> int:
    """How often the last flow has started its long fit."""
    runs = task_runs(settings, last_flow(settings)["id"])
    return next(run["run_count"] for run in runs if run["name"] == "fit_unfrozen@long")


def test_a_flow_needs_no_server_and_pipelines_need_no_torch(
    trained: Project, tmp_path: Path
) -> None:
    code = "import sys, pipelines.train, pipelines.record; sys.exit('torch' in sys.modules)"
    trained.run(sys.executable, "-c", code)
    done = trained.run(*FLOW, "quick", PREFECT_HOME=str(tmp_path), PREFECT_API_URL="")
    assert "Completed" in done.stderr or "Completed" in done.stdout
