"""Flows that are killed, interrupted, contended with, or left alone by their servers."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from flows import FLOW, last_flow, states, steps, stored_runs, task_runs
from project import Project, environment
from servers import mlflow_server, prefect_server, until
from test_dvc import output_hashes, stages_run

from thaw.pack import PIXELS

pytestmark = pytest.mark.slow

EPOCHS = 80


@pytest.fixture
def long_project(new_project: Callable[[], Project], recipe: dict) -> Project:
    """A project with one recipe whose unfrozen fit takes longer than MLflow does to start."""
    project = new_project()
    recipe["fit_frozen"]["epochs"] = 1
    recipe["fit_unfrozen"]["epochs"] = EPOCHS
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
    """What runs DVC, a stage or the worker in the project's folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        ours = {"stages", "dvc", "pipelines.warm_worker"} & set(words)
        if process.info["cwd"] == str(project.folder) and ours:
            found.append(process)
    return found


def fit_processes(project: Project) -> list[psutil.Process]:
    """What runs the long fit itself, once it has trained for an epoch: it reads packed images."""
    found = []
    for process in stage_processes(project) if epochs_done(project) else []:
        with suppress(psutil.Error):  # it has ended since
            if any(Path(part.path).name == PIXELS for part in process.memory_maps()):
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
    assert epochs_done(long_project) < EPOCHS

    done = long_project.run(*finish, **prefect)
    assert "resuming at epoch" in done.stdout + done.stderr
    undisturbed = new_project()
    params = (long_project.folder / "params.yaml").read_bytes()
    (undisturbed.folder / "params.yaml").write_bytes(params)
    undisturbed.run("dvc", "repro")
    assert output_hashes(long_project) == output_hashes(undisturbed)

    (run,) = stored_runs(long_project)
    assert run.info.status == "FINISHED"
    assert steps(long_project, run.info.run_id, "fit_unfrozen/valid_loss") == list(range(EPOCHS))
    assert steps(long_project, run.info.run_id, "fit_unfrozen/batch/loss") == list(
        range(EPOCHS * 5)
    )


def live_steps(project: Project) -> list[int]:
    """The epochs that MLflow has of a run that is still going on."""
    return [
        step
        for run in stored_runs(project)
        if run.info.status == "RUNNING"
        for step in steps(project, run.info.run_id, "fit_unfrozen/valid_loss")
    ]


def test_a_lost_process_is_tried_again_and_an_interrupted_flow_ends_its_stage(
    long_project: Project, recipe: dict, prefect: dict[str, str]
) -> None:
    recipe["fit_unfrozen"]["epochs"] = 100 * EPOCHS  # more than can end before the interruption
    long_project.write_recipes({"long": recipe})
    flow = start_flow(long_project, prefect)
    (stage,) = fit_processes(long_project)
    stage.kill()
    until(lambda: fit_runs(prefect) == 2, "second try of the fit")
    until(lambda: fit_processes(long_project), "process of the second try")
    flow.send_signal(signal.SIGINT)
    output, _ = flow.communicate(timeout=600)
    assert flow.returncode == 130
    assert "fit_unfrozen@long failed with SIGKILL" in output
    (run,) = (long_project.folder / ".thaw/runs").glob("*/run.json")
    assert json.loads(run.read_text())["status"] == "KILLED"
    until(lambda: not stage_processes(long_project), "end of the stage")


@pytest.mark.parametrize("command", ["train", "sweep", "retrain"])
def test_ctrl_c_while_prefect_is_imported_is_told_in_a_word(
    long_project: Project, command: str
) -> None:
    flow = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", f"pipelines.{command}", "long"],
        cwd=long_project.folder, env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "prefect" not in flow.stderr.readline():
        assert flow.poll() is None
    flow.send_signal(signal.SIGINT)
    _, output = flow.communicate(timeout=60)
    assert [line for line in output.splitlines() if not line.startswith("import time:")] == [
        "interrupted."
    ]
    assert flow.returncode == -signal.SIGINT


def test_ctrl_c_in_a_terminal_ends_a_flow_and_then_its_server(
    long_project: Project, recipe: dict, tmp_path: Path
) -> None:
    recipe["fit_unfrozen"]["epochs"] = 100 * EPOCHS
    long_project.write_recipes({"long": recipe})
    # No server runs, so that the flow starts one; a terminal sends the signal to all of a group.
    with (tmp_path / "said").open("w+") as said:
        flow = subprocess.Popen(
            [*FLOW, "long"], cwd=long_project.folder,
            env=environment() | {"PREFECT_HOME": str(tmp_path / "prefect")},
            stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        until(lambda: fit_processes(long_project), "process of the fit", 600)
        os.killpg(flow.pid, signal.SIGINT)
        assert flow.wait(120) == 130
        said.seek(0)
        output = said.read()
    assert "interrupted." in output
    assert "Unable to connect" not in output
    assert "All connection attempts failed" not in output
    until(lambda: not stage_processes(long_project), "end of the stage")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_temporary_server_ends_with_its_flow_however_that_ends(
    long_project: Project, tmp_path: Path, number: signal.Signals
) -> None:
    flow = subprocess.Popen(
        [*FLOW, "long"], cwd=long_project.folder,
        env=environment() | {"PREFECT_HOME": str(tmp_path / "prefect")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def servers() -> list[psutil.Process]:
        found = []
        for child in psutil.Process(flow.pid).children(recursive=True):
            with suppress(psutil.Error):  # it has ended since
                found += [child] if "uvicorn" in child.cmdline() else []
        return found

    found = until(servers, "temporary server")
    os.kill(flow.pid, number)
    flow.wait()
    until(lambda: not any(server.is_running() for server in found), "end of the server", 60)
    until(lambda: not stage_processes(long_project), "end of the stages")


def fit_runs(settings: dict[str, str]) -> int:
    """How often the last flow has started its long fit."""
    runs = task_runs(settings, last_flow(settings)["id"])
    return next(run["run_count"] for run in runs if run["name"] == "fit_unfrozen@long")


def test_two_flows_at_one_recipe_do_its_work_once(
    long_project: Project, prefect: dict[str, str]
) -> None:
    first = start_flow(long_project, prefect)
    second = subprocess.Popen(
        [*FLOW, "long"],
        cwd=long_project.folder,
        env=environment() | prefect,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    done = {flow: flow.communicate(timeout=1200)[0] for flow in (first, second)}
    assert [flow.returncode for flow in done] == [0, 0], list(done.values())
    # Whichever comes first to a stage runs it; the other finds it done.
    counts = [re.findall(r"(\d+) Ran", output)[-1:] for output in done.values()]
    assert sum(int(*count) for count in counts) == 16, list(done.values())
    (run,) = stored_runs(long_project)
    assert run.info.status == "FINISHED"
    assert steps(long_project, run.info.run_id, "fit_unfrozen/valid_loss") == list(range(EPOCHS))
    assert "Data and pipelines are up to date" in long_project.run("dvc", "repro").stdout


def test_a_flow_outlives_its_servers(long_project: Project, tmp_path: Path) -> None:
    """Prefect's and MLflow's servers die while it trains; what MLflow missed is sent later."""
    with mlflow_server(tmp_path) as uri, prefect_server(tmp_path / "prefect") as prefect:
        quick_to_give_up = {"PREFECT_CLIENT_MAX_RETRIES": "1", "MLFLOW_TRACKING_URI": uri}
        flow = start_flow(long_project, prefect | quick_to_give_up)
    output, _ = flow.communicate(timeout=1200)
    history = long_project.folder / "results/long/fit_unfrozen/history.csv"
    assert len(history.read_text().splitlines()) == EPOCHS + 1, output
    assert "fit_unfrozen@long goes on, but progress is shown no more" in output
    done = long_project.run("dvc", "repro", MLFLOW_TRACKING_URI=uri)
    assert "fit_unfrozen@long" not in stages_run(done.stdout)
    with mlflow_server(tmp_path) as uri:
        long_project.run(sys.executable, "-m", "pipelines.record", MLFLOW_TRACKING_URI=uri)
        (run,) = stored_runs(long_project, uri)
        assert run.info.status == "FINISHED"
        curve = steps(long_project, run.info.run_id, "fit_unfrozen/valid_loss", uri)
        assert curve == list(range(EPOCHS))


def test_parameters_that_change_before_a_stage_stop_it(
    long_project: Project, prefect: dict[str, str]
) -> None:
    """Its results would be those of another run than the one that MLflow is told of."""
    params = long_project.folder / "params.yaml"
    before = params.read_text()
    flow = start_flow(long_project, prefect)
    changed = before.replace("threshold: {}", "threshold: {max_error: 0.5}")
    assert changed != before
    params.write_text(changed)
    output, _ = flow.communicate(timeout=1200)
    assert flow.returncode == 1
    assert "recipes.long.threshold in params.yaml was edited since the flow began" in output
    statuses = {run.info.status for run in stored_runs(long_project)}
    assert statuses == {"FAILED"}
    long_project.run(*FLOW, "long", **prefect)
    ended = [run.info.status for run in stored_runs(long_project)]
    assert sorted(ended) == ["FAILED", "FINISHED"]


def test_parameters_that_change_under_a_stage_fail_it(
    long_project: Project, prefect: dict[str, str]
) -> None:
    flow = start_flow(long_project, prefect)
    params = long_project.folder / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace(f"epochs: {EPOCHS}", "epochs: 3"))
    output, _ = flow.communicate(timeout=1200)
    assert flow.returncode == 1
    assert "what this stage reads of recipes.long was edited while it ran" in output
    (run,) = stored_runs(long_project)
    assert (run.info.status, run.data.params["fit_unfrozen.epochs"]) == ("FAILED", str(EPOCHS))
    done = long_project.run(*FLOW, "long", **prefect)
    assert states(prefect, last_flow(prefect)["id"])["fit_unfrozen@long"] == "Ran"
    runs = {r.data.params["fit_unfrozen.epochs"]: r for r in stored_runs(long_project)}
    assert runs["3"].info.status == "FINISHED", done.stdout
    assert steps(long_project, runs["3"].info.run_id, "fit_unfrozen/valid_loss") == [0, 1, 2]
