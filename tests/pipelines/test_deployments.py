"""Deployments, as docs/deployments.md describes them: a real server, a real worker, real runs."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from flows import ask
from project import ROOT, Project, environment, quick_recipe
from servers import prefect_server, stop, until
from test_dvc import stages_run

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "deployments.md").read_text()
RECIPE = "pets_sample"  # the page's, here with a tiny recipe behind it
RUN_LIMIT = 900.0  # seconds; a dozen stages start Python and DVC
DUE = 30  # seconds between scheduled runs
# By default the scheduler looks every minute, a worker every ten seconds.
IMPATIENT = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Deployed:
    """A project, a server that knows its deployments, and a worker that was started elsewhere.

    Attributes:
        project: the copy of the project.
        settings: environment of Prefect's clients.
        log: what the worker prints.
    """

    project: Project
    settings: dict[str, str]
    log: Path

    def type(self, line: str, **other: str) -> str:
        """Run a line of the page, with other words in it; return its output."""
        assert line in PAGE, f"docs/deployments.md does not say: {line}"
        words = [other.get(word, word) for word in shlex.split(line)]
        return self.project.run(*words, **self.settings).stdout

    def run(self, line: str) -> str:
        """Run a line of the page that starts a flow run; return the run's id."""
        found = re.search(r"UUID: ([0-9a-f-]{36})", self.type(line))
        assert found
        return found[1]

    def ask(self, path: str, **query: Any) -> list[dict]:
        """Search Prefect's API."""
        return ask(self.settings, path, **query)

    def flow_run(self, key: str) -> dict:
        """What the server knows of a flow run."""
        return self.ask("flow_runs", flow_runs={"id": {"any_": [key]}})[0]

    def ended(self, key: str, state: str = "COMPLETED") -> dict:
        """Wait for a flow run's end, which must be a certain one."""
        until(lambda: self.flow_run(key)["state_type"] in FINAL, f"end of {key}", RUN_LIMIT)
        run = self.flow_run(key)
        assert run["state_type"] == state, f"{run['state']['message']}\n{self.log.read_text()}"
        return run

    def states(self, key: str) -> dict[str, str]:
        """The state's name of each task run of a flow run, by the task run's name."""
        found = self.ask("task_runs", flow_runs={"id": {"any_": [key]}})
        return {run["name"]: run["state_name"] for run in found}

    def processes(self) -> list[str]:
        """The commands that run in the project's folder, or below it."""
        folder = self.project.folder.resolve()
        return [
            shlex.join(process.info["cmdline"] or [])
            for process in psutil.process_iter(["cwd", "cmdline"])
            if Path(process.info["cwd"] or "/").is_relative_to(folder)
        ]


@contextmanager
def worker(folder: Path, settings: dict[str, str]) -> Iterator[Path]:
    """Run the page's worker in a folder; yield its log. All that it started ends with it."""
    line = "prefect worker start --pool local --limit 1"
    assert line in PAGE
    log = folder / "worker.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            shlex.split(line),
            cwd=folder,
            env=environment() | settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: "started!" in log.read_text(), "worker")
        yield log
    finally:
        children: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        stop(process)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()


@pytest.fixture(scope="module")
def deployed(
    new_project: Callable[[], Project],
    shapes_archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployed]:
    """The page's first section, word for word."""
    project = new_project()
    project.write_recipes({RECIPE: quick_recipe(shapes_archive)})
    project.commit("One recipe")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in (IMPATIENT | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}).items():
            patch.setenv(name, value)
        settings = stack.enter_context(prefect_server(tmp_path_factory.mktemp("prefect")))
        before = Deployed(project, settings, elsewhere)
        before.type("prefect work-pool create local --type process")
        before.type("prefect deploy --all")
        log = stack.enter_context(worker(elsewhere, settings))
        yield Deployed(project, settings, log)


@pytest.fixture(scope="module")
def trained(deployed: Deployed) -> dict:
    """The first flow run, when it is through."""
    return deployed.ended(
        deployed.run("""prefect deployment run train/train --param recipes='["pets_sample"]'""")
    )


def test_the_deployments_are_as_the_file_says(deployed: Deployed) -> None:
    found = {deployment["name"]: deployment for deployment in deployed.ask("deployments")}
    assert set(found) == {"train", "nightly", "sweep", "retrain"}
    for name in ("train", "sweep", "retrain"):
        assert found[name]["parameters"] == {}
        assert found[name]["schedules"] == []
    assert found["nightly"]["parameters"] == {"refresh": True}
    assert [s["schedule"]["cron"] for s in found["nightly"]["schedules"]] == ["0 2 * * *"]
    for deployment in found.values():
        assert deployment["work_pool_name"] == "local"
        assert deployment["job_variables"]["env"]["DO_NOT_TRACK"] == "true"
        (step,) = deployment["pull_steps"]
        assert step == {
            "prefect.deployments.steps.set_working_directory": {
                "directory": str(deployed.project.folder.resolve())
            }
        }
    written = (ROOT / "prefect.yaml").read_text()
    assert not re.search(r"(^|[\s\"'])/\w", written), "an absolute path in prefect.yaml"


def test_a_worker_runs_each_stage_as_a_task(deployed: Deployed, trained: dict) -> None:
    listed = deployed.project.run("dvc", "stage", "list", "--name-only").stdout.split()
    assert deployed.states(trained["id"]) == dict.fromkeys(listed, "Ran")
    assert trained["state"]["message"] == f"{len(listed)} Ran."
    assert stages_run(deployed.project.run("dvc", "repro").stdout) == []


def test_a_schedule_starts_a_run(deployed: Deployed, trained: dict) -> None:
    line = (
        "prefect deployment schedule create train/nightly --interval 21600 --replace --accept-yes"
    )
    deployed.type(line, **{"21600": str(DUE)})
    try:
        run = until(lambda: scheduled(deployed), "run by the schedule")
    finally:
        deployed.type("prefect deployment schedule clear train/nightly --accept-yes")
    assert run["created_by"]["type"] == "SCHEDULE"
    assert run["parameters"]["refresh"] is True
    deployed.ended(run["id"])
    states = deployed.states(run["id"])
    assert states.pop(f"download@{RECIPE}") == "Ran"  # again, for nothing pins its archive
    assert set(states.values()) == {"Unchanged"}


def test_a_worker_sweeps_and_retrains(deployed: Deployed, trained: dict) -> None:
    line = "prefect deployment run sweep/sweep --param recipe=pets_sample "
    swept = deployed.ended(deployed.run(line + """--param grid='{"seed": [0, 1]}'"""))
    assert deployed.states(swept["id"]) == {"seed=0": "Ran", "seed=1": "Unchanged"}
    assert "2 points: 1 Ran, 1 Unchanged." in swept["state"]["message"]
    retrained = deployed.ended(
        deployed.run("prefect deployment run retrain/retrain --param recipe=pets_sample")
    )
    assert "error_rate was best after" in retrained["state"]["message"]


def scheduled(deployed: Deployed) -> dict | None:
    """A run that a schedule made and a worker took."""
    found = deployed.ask("flow_runs", flow_runs={"state": {"type": {"any_": ["RUNNING", *FINAL]}}})
    return next((run for run in found if run["auto_scheduled"]), None)


def test_cancelling_leaves_no_process_behind(
    deployed: Deployed, trained: dict, shapes_archive: Path
) -> None:
    recipe = quick_recipe(shapes_archive)
    recipe["fit_frozen"]["epochs"] = 10_000
    deployed.project.write_recipes({RECIPE: recipe})
    flow = deployed.run("prefect deployment run train/train")
    history = deployed.project.folder / "results" / RECIPE / "fit_frozen" / "history.csv"
    until(lambda: is_training(history, deployed), "training", RUN_LIMIT)

    deployed.type("prefect flow-run cancel ID", ID=flow)
    deployed.ended(flow, "CANCELLED")
    until(lambda: not deployed.processes(), "end of the stages")
    assert deployed.states(flow)[f"fit_frozen@{RECIPE}"] == "Failed"


def is_training(history: Path, deployed: Deployed) -> bool:
    """Whether the long fit has written some epochs, more than the short one before it."""
    with suppress(FileNotFoundError):
        if len(history.read_text().splitlines()) > 5:
            return any("pipelines.warm_worker" in command for command in deployed.processes())
    return False
