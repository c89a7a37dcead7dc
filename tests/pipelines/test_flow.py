"""The flow against real DVC, a real Prefect server and a real MLflow store."""

import copy
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flows import FLOW, ask, last_flow, recipe_of, states, steps, stored_runs, task_runs
from project import Project
from test_dvc import output_hashes, stages_run

from pipelines.graph import Pipeline

pytestmark = pytest.mark.slow


@pytest.fixture
def two(recipe: dict) -> dict[str, dict]:
    """Two recipes, one without a body's seed of the other."""
    return {"first": recipe, "second": copy.deepcopy(recipe) | {"seed": 2}}


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

    # The recipes' stages side by side.
    ends = {run["name"]: run["end_time"] for run in task_runs(prefect, flow["id"])}
    spans = {name: (began, ends[name]) for name, began in beginnings(prefect, flow["id"]).items()}
    first, second = (
        [span for name, span in spans.items() if name.endswith(f"@{recipe}")] for recipe in two
    )
    assert len(first) == len(second) == (len(graph) - 1) / 2  # and `code`
    assert any(a[0] < b[1] and b[0] < a[1] for a in first for b in second)

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
    by_key = {artifact["key"]: artifact for artifact in ask(prefect, "artifacts/latest")}
    assert "error rate" in by_key["results"]["data"]
    assert by_key["fit-unfrozen-first"]["data"] == 100
    assert "epoch 2 of 2: train_loss" in by_key["fit-unfrozen-first"]["description"]

    again = by_flow.run(*FLOW, **prefect)
    assert f"{len(graph)} Unchanged." in again.stdout
    assert states(prefect, last_flow(prefect)["id"]) == dict.fromkeys(graph, "Unchanged")


def beginnings(settings: dict[str, str], flow: str) -> dict[str, str]:
    """When DVC said of each stage that it runs it."""
    logs = ask(settings, "logs", logs={"flow_run_id": {"any_": [flow]}}, sort="TIMESTAMP_ASC")
    lines = [(line["message"], line["timestamp"]) for line in logs]
    return {m.split("'")[1]: when for m, when in lines if m.startswith("Running stage ")}


def dag(project: Project) -> list[str]:
    return project.run("dvc", "dag", "--dot").stdout.splitlines()


def test_a_flow_does_without_mlflow(
    new_project: Callable[[], Project], recipe: dict, prefect: dict[str, str]
) -> None:
    project = new_project()
    project.write_recipes({"quick": recipe})
    with socket.socket() as mute:  # takes connections and never answers
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        quick = {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
        done = project.run(*FLOW, "quick", **prefect, **quick)
    assert "16 Ran." in done.stdout
    assert "`python -m pipelines.record` sends" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    sent = project.run(sys.executable, "-m", "pipelines.record")
    assert "1 of 1 recorded runs sent to sqlite:///" in sent.stdout
    (run,) = stored_runs(project)
    assert run.info.status == "FINISHED"
    assert steps(project, run.info.run_id, "fit_frozen/valid_loss") == [0, 1]


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
    override = ("-S", "recipes.quick.fit_unfrozen.lr=0.002")
    # A path in the address counts from the project, not from the workspace.
    trained.run(*FLOW, "quick", *override, **prefect, MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
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
    assert "params.yaml has no 'quik' there; did you mean 'quick'?" in odd.stderr
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
    told = done.stderr[done.stderr.rindex("stages failed; done") :]  # Prefect logs it as well
    assert told.count("recipes.second.fit_unfrozen.epochs: -1") == 1
    assert "second was not started. In params.yaml:" in told
    assert "Not begun for it: " in done.stderr
    runs = task_runs(prefect, last_flow(prefect)["id"])
    assert {r["state_name"] for r in runs if r["name"].endswith("@first")} == {"Ran"}
    assert {r["state_name"] for r in runs if r["name"].endswith("@second")} == {
        "Failed", "NotReady",
    }  # fmt: skip
    assert {r["run_count"] for r in runs if r["state_name"] == "Failed"} == {1}
    assert last_flow(prefect)["state_type"] == "FAILED"
    status = {recipe_of(run): run.info.status for run in stored_runs(project)}
    assert status == {"first": "FINISHED", "second": "FAILED"}, done.stderr
    tags = {recipe_of(run): run.data.tags for run in stored_runs(project)}
    assert tags["second"]["prefect.flow_run_id"] == last_flow(prefect)["id"]
    assert tags["second"]["thaw.failed_stage"] in ("download", "weights")


def test_a_flow_needs_no_server_and_pipelines_need_no_torch(
    trained: Project, tmp_path: Path
) -> None:
    code = "import sys, pipelines.train, pipelines.record; sys.exit('torch' in sys.modules)"
    trained.run(sys.executable, "-c", code)
    done = trained.run(*FLOW, "quick", PREFECT_HOME=str(tmp_path), PREFECT_API_URL="")
    assert "Completed" in done.stderr or "Completed" in done.stdout
