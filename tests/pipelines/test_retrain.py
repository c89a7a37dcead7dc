"""Choosing the number of epochs against real DVC, a real Prefect server and MLflow store."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from flows import ask, stored_runs
from project import Project
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

RETRAIN = (sys.executable, "-m", "pipelines.retrain")


def recorded(project: Project) -> Path:
    """Where the results of the project's present run are kept."""
    key = json.loads((project.folder / "models/quick/run.json").read_text())["key"]
    return project.folder / ".thaw/runs" / key / "files/results/quick"


def pretend(project: Project, errors: list[float], final: float) -> None:
    """Change what a run's history and evaluation say."""
    folder = recorded(project)
    history = pd.read_csv(folder / "fit_unfrozen/history.csv")
    history["error_rate"] = errors
    history.to_csv(folder / "fit_unfrozen/history.csv", index=False)
    evaluated = folder / "evaluate/metrics.json"
    metrics = json.loads(evaluated.read_text())
    evaluated.write_text(json.dumps(metrics | {"valid/error_rate": final}))


def epochs(project: Project) -> tuple[int, int]:
    """The number that params.yaml asks for, and the one that the model here was trained for."""
    params = YAML().load((project.folder / "params.yaml").read_text())
    history = pd.read_csv(project.folder / "results/quick/fit_unfrozen/history.csv")
    return params["recipes"]["quick"]["fit_unfrozen"]["epochs"], len(history)


def test_the_better_of_two_models_is_kept(trained: Project, prefect: dict[str, str]) -> None:
    model = trained.folder / "models/quick/model.safetensors"
    first = model.read_bytes()
    before = (trained.folder / "params.yaml").read_text()

    # The metric was best at the end: nothing to do.
    pretend(trained, [0.5, 0.25], final=0.25)
    done = trained.run(*RETRAIN, "quick", **prefect)
    assert "error_rate was best after 2 epochs of 2: 0.2500; 0.2500 at the end." in done.stdout
    assert len(stored_runs(trained)) == 1

    # The new one is no better than one without a mistake.
    pretend(trained, [0.25, 0.5], final=0.0)
    done = trained.run(*RETRAIN, "quick", **prefect)
    assert "error_rate was best after 1 epoch of 2: 0.2500; 0.5000 at the end." in done.stdout
    assert "before 0.0000" in done.stdout
    assert "The model that was there stays." in done.stdout
    assert (trained.folder / "params.yaml").read_text() == before
    assert epochs(trained) == (2, 2)
    assert model.read_bytes() == first
    old, new = sorted(stored_runs(trained), key=lambda run: run.info.start_time)
    assert [run.data.params["fit_unfrozen.epochs"] for run in (old, new)] == ["2", "1"]
    assert new.data.tags["thaw.retrain"] == f"{old.info.run_name}, best of 2 epochs"
    by_key = {artifact["key"]: artifact for artifact in ask(prefect, "artifacts/latest")}
    assert old.info.run_name in by_key["retrain-quick"]["data"]

    # It is better than one that got all wrong; it was trained already, and is taken as it is.
    pretend(trained, [0.25, 0.5], final=1.0)
    done = trained.run(*RETRAIN, "quick", **prefect)
    assert "before 1.0000" in done.stdout
    assert "The new one is kept" in done.stdout
    changed = (trained.folder / "params.yaml").read_text()
    assert [
        (a, b) for a, b in zip(before.split("\n"), changed.split("\n"), strict=True) if a != b
    ] == [("      epochs: 2", "      epochs: 1")]
    assert epochs(trained) == (1, 1)
    assert model.read_bytes() != first
    assert json.loads(trained.run("dvc", "status", "--json").stdout) == {}
    assert len(stored_runs(trained)) == 2


def test_only_a_finished_run_says_something(trained: Project, tmp_path: Path) -> None:
    alone = {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": ""}
    file = trained.folder / "params.yaml"
    text = file.read_text()
    for arguments, change, told in (
        (("quik",), "", "params.yaml: no recipe quik; did you mean 'quick'?"),
        (("quick", "--fit", "fit_frosen"), "", "there is no such fit; did you mean 'fit_frozen'?"),
        (("quick",), "seed: 77", "First: python -m pipelines.train quick"),
    ):
        file.write_text(text.replace("seed: 1", change) if change else text)
        done = trained.run(*RETRAIN, *arguments, ok=False, **alone)
        assert done.returncode == 1
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    file.write_text(text)
