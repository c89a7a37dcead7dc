"""What Prefect's server and MLflow's store know of a project's flows."""

import sys
import time
from typing import Any

import httpx
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from project import Project
from servers import until

FLOW = (sys.executable, "-m", "pipelines.train")
PATIENCE = 600.0  # seconds; two trainings beside it can keep a server waiting


def ask(settings: dict[str, str], path: str, **query: Any) -> list[dict]:
    """Search Prefect's API; ask again where an answer is lost, until patience ends."""
    address = f"{settings['PREFECT_API_URL']}/{path}/filter"
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return httpx.post(address, json=query, timeout=60).raise_for_status().json()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def states(settings: dict[str, str], flow: str) -> dict[str, str]:
    """The state's name of each task run of a flow run that has ended, by the stage's address.

    The server is told of them by a queue, which it may still be working on.
    """

    def found() -> dict[str, str] | None:
        states = {run["name"]: run["state_name"] for run in task_runs(settings, flow)}
        return None if {"Pending", "Running"} & set(states.values()) else states

    return until(found, "last word of all tasks", PATIENCE)


def task_runs(settings: dict[str, str], flow: str) -> list[dict]:
    return ask(settings, "task_runs", flow_runs={"id": {"any_": [flow]}})


def last_flow(settings: dict[str, str]) -> dict:
    return ask(settings, "flow_runs", sort="EXPECTED_START_TIME_DESC", limit=1)[0]


def stored_runs(project: Project, uri: str | None = None) -> list[Run]:
    """The runs of a store, by default the project's own."""
    client = MlflowClient(uri or f"sqlite:///{project.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("thaw")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def recipe_of(run: Run) -> str:
    """The recipe that a stored run is of; its name says it as well."""
    recipe = run.data.tags["thaw.recipe"]
    assert run.info.run_name == f"{recipe}-{run.data.tags['thaw.key'][:6]}"
    return recipe


def steps(project: Project, run_id: str, key: str, uri: str | None = None) -> list[int]:
    """The steps of a stored curve, in their order of arrival."""
    client = MlflowClient(uri or f"sqlite:///{project.folder}/mlflow.db")
    return [metric.step for metric in client.get_metric_history(run_id, key)]
