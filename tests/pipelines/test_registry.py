"""`python -m pipelines.registry` against real stores: versions, aliases, and who is champion."""

import json
import math
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from project import Project, environment, quick_recipe
from servers import free_port

from pipelines.logged_model import REQUIREMENTS
from pipelines.registry import register
from pipelines.standing import ITEMS, VALUE, Standing, judge
from stages.code import direct_imports, imported_files
from thaw.core.errors import UserError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REGISTRY = (sys.executable, "-m", "pipelines.registry")
MODEL = "quick"


@pytest.fixture(scope="module")
def registered(trained: Project) -> Project:
    """A project whose one recipe is registered."""
    said = trained.run(*REGISTRY, MODEL).stdout
    assert "quick: version 1 registered; it is the candidate." in said
    assert "on 12 held-out items) becomes champion: there was none." in said
    return trained


def client_of(project: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.folder}/mlflow.db")


def versions(project: Project) -> list[ModelVersion]:
    """All versions, oldest first."""
    found = client_of(project).search_model_versions(f"name = '{MODEL}'")
    return sorted(found, key=lambda version: int(version.version))


def aliases(project: Project) -> dict[str, str]:
    return {k: str(v) for k, v in client_of(project).get_registered_model(MODEL).aliases.items()}


def metrics(project: Project) -> dict[str, float]:
    return json.loads((project.folder / "results/quick/evaluate/metrics.json").read_text())


def test_a_version_belongs_to_the_recorded_run(registered: Project) -> None:
    client = client_of(registered)
    (version,) = versions(registered)
    run = client.get_run(version.run_id)
    lock = (registered.folder / "dvc.lock").read_text()
    for tags in (run.data.tags, version.tags):
        assert tags["thaw.model.path"] == "models/quick/model.safetensors"
        assert f"md5: {tags['thaw.model.md5']}" in lock
        assert tags["thaw.key"] == run.data.tags["thaw.key"]
        assert tags["thaw.data.items"] == run.data.tags["thaw.data.items"]
    assert run.info.status == "FINISHED"
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert version.source == logged.artifact_location
    assert logged.status == "READY"
    final = {metric.key: metric.value for metric in logged.metrics}
    assert final == metrics(registered)
    assert version.tags[VALUE] == repr(final["valid/error_rate"])
    assert len(client.get_metric_history(run.info.run_id, "valid/error_rate")) == 1


def test_a_second_call_registers_nothing_new(registered: Project) -> None:
    before = aliases(registered)
    said = registered.run(*REGISTRY, MODEL).stdout
    assert "version 1 was registered before" in said
    assert "is the champion already." in said
    assert len(versions(registered)) == 1
    assert aliases(registered) == before == {"candidate": "1", "champion": "1"}
    run_id = versions(registered)[0].run_id
    assert len(client_of(registered).get_run(run_id).outputs.model_outputs) == 1
    assert (
        "0 of 1 recorded runs sent"
        in registered.run(sys.executable, "-m", "pipelines.record").stdout
    )


@pytest.fixture
def logged(registered: Project, tmp_path: Path) -> Path:
    """A copy of the model's files, outside of the project."""
    return Path(
        download_artifacts(versions(registered)[0].source, dst_path=str(tmp_path / "model"))
    )


def test_nothing_is_pickled(logged: Path, registered: Project) -> None:
    files = [file for file in logged.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    assert {"MLmodel", "served_model.py", "model.safetensors", "model.json"} <= names
    assert not {file.suffix for file in files} & {".pkl", ".pickle", ".pt", ".pth", ".pyc", ".bin"}
    starts = {file.read_bytes()[:2] for file in files}
    assert not starts & {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK"}
    description = (logged / "MLmodel").read_text()
    assert "mlflow.pyfunc.loaders.code_model" in description
    assert "python_model.pkl" not in description
    (weights,) = logged.rglob("model.safetensors")
    assert (
        weights.read_bytes() == (registered.folder / "models/quick/model.safetensors").read_bytes()
    )


def test_the_code_of_a_model_imports_no_torch(logged: Path) -> None:
    code = f"import runpy, sys; runpy.run_path({str(logged / 'served_model.py')!r}); "
    code += "sys.exit('torch' in sys.modules or 'thaw' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=logged, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_requirements_name_what_serving_imports(logged: Path) -> None:
    named = dict(line.split("==") for line in (logged / "requirements.txt").read_text().split())
    assert set(named) == set(REQUIREMENTS)
    assert not any("+" in version for version in named.values())
    files = {
        f
        for name in ("service", "images", "ratings")
        for f in imported_files(ROOT, Path(f"thaw/serving/{name}.py"))
    }
    imported = {name.split(".")[0] for file in files for name in direct_imports(ROOT / file)}
    distributions = packages_distributions()
    needed = {
        distributions[name][0].lower()
        for name in imported - set(sys.stdlib_module_names)
        if name in distributions and not (ROOT / name).is_dir()
    }
    # Pydantic pins its core; matplotlib draws what no server shows.
    assert needed - {"pydantic_core", "matplotlib"} <= set(named)


@pytest.fixture(scope="module")
def second(registered: Project, shapes_archive: Path) -> Project:
    """The same project with another model as version 2, after it refused stale results."""
    recipe = quick_recipe(shapes_archive)
    fit = recipe["fit_unfrozen"] | {"lr": 3e-3}
    registered.write_recipes({MODEL: recipe | {"fit_unfrozen": fit}})
    refused = registered.run(*REGISTRY, MODEL, ok=False)
    assert refused.returncode == 1
    assert "dvc repro record@quick" in refused.stderr
    assert "Traceback" not in refused.stderr
    registered.run("dvc", "repro")
    registered.run(*REGISTRY, MODEL)
    assert [str(version.version) for version in versions(registered)] == ["1", "2"]
    assert aliases(registered)["candidate"] == "2"
    return registered


@pytest.mark.parametrize(
    ("change", "moves", "reason"),
    [
        ({VALUE: "2.0"}, True, "becomes champion: it is better than version 1 (error_rate 2 on"),
        ({VALUE: "-1.0"}, False, "is worse."),
        ({VALUE: None}, False, "is no better."),
        ({VALUE: "2.0", "thaw.data.items": "0"}, False, "of another version of the data (items)"),
        ({VALUE: "2.0", "thaw.data.packed": "0"}, False, "of another version of the data (packed)"),
        ({VALUE: "2.0", ITEMS: "13"}, False, "was measured on fewer items."),
        ({VALUE: "2.0", ITEMS: "11"}, True, "becomes champion"),
        ({"thaw.metric": "rmse"}, False, "is judged by another metric"),
    ],
    ids=["better", "worse", "equal", "other items", "other pixels", "fewer", "more", "metric"],
)
def test_a_champion_moves_only_to_what_is_better_on_the_same_data(
    second: Project, change: dict[str, str | None], moves: bool, reason: str
) -> None:
    client = client_of(second)
    first, latest = versions(second)
    client.set_registered_model_alias(MODEL, "champion", "1")
    for name, value in change.items():
        client.set_model_version_tag(MODEL, "1", name, value or latest.tags[name])
    done = register(second.folder, MODEL)
    assert (done.version, done.is_new, done.moved) == ("2", False, moves)
    assert reason in done.sentence
    assert f"version 2 (error_rate {float(latest.tags[VALUE]):.6g} on 12 held-out" in done.sentence
    assert aliases(second) == {"candidate": "2", "champion": "2" if moves else "1"}
    for name in change:
        client.set_model_version_tag(MODEL, "1", name, first.tags[name])


def test_a_champion_of_other_data_is_moved_by_hand(second: Project) -> None:
    client = client_of(second)
    client.set_registered_model_alias(MODEL, "champion", "1")
    before = versions(second)[0].tags["thaw.data.items"]
    client.set_model_version_tag(MODEL, "1", "thaw.data.items", "0")
    said = second.run(*REGISTRY, MODEL).stdout
    assert "cannot be compared" in said
    assert "python -m pipelines.registry quick --champion 2" in said
    assert "version 2 is champion" in second.run(*REGISTRY, MODEL, "--champion", "2").stdout
    assert aliases(second)["champion"] == "2"
    client.set_model_version_tag(MODEL, "1", "thaw.data.items", before)
    refused = second.run(*REGISTRY, MODEL, "--champion", "7", ok=False)
    assert (refused.returncode, refused.stderr) == (1, "quick has no version 7; there is 2, 1.\n")
    listed = second.run(*REGISTRY).stdout
    assert "candidate" in listed
    assert "champion" in listed


def test_a_champion_of_someone_else_stays(second: Project) -> None:
    client = client_of(second)
    foreign = client.create_model_version(MODEL, versions(second)[0].source)
    client.set_registered_model_alias(MODEL, "champion", foreign.version)
    done = register(second.folder, MODEL)
    assert not done.moved
    assert (
        f"version {foreign.version} stays champion: it was not registered by Thaw" in done.sentence
    )
    client.delete_model_version(MODEL, foreign.version)


def standing(version: str, value: float, data: dict[str, str] | None = None) -> Standing:
    data = {"thaw.data.items": "md5"} if data is None else data
    return Standing(version, "mean_average_precision", value, 9, data)


def test_higher_is_better_for_mean_average_precision() -> None:
    low, high = standing("1", 0.3), standing("2", 0.4)
    assert judge(high, low, "1").moves
    assert not judge(low, high, "2").moves


def test_no_number_is_no_champion_and_unknown_data_no_ground_to_compare() -> None:
    nothing, low = standing("1", math.nan), standing("2", 0.3)
    assert not judge(nothing, None, None).moves
    assert not judge(nothing, low, "2").moves
    assert judge(low, nothing, "1").moves
    for mine, others in (({}, {}), ({}, None), (None, {})):
        verdict = judge(standing("3", 0.9, mine), standing("2", 0.3, others), "2")
        assert not verdict.moves
        assert "of which data one of them is, is not known" in verdict.sentence


def test_a_store_that_is_down_is_a_message(second: Project) -> None:
    dead = f"http://user:secret@127.0.0.1:{free_port()}"
    done = second.run(
        *REGISTRY, MODEL, ok=False, MLFLOW_TRACKING_URI=dead, MLFLOW_HTTP_REQUEST_TIMEOUT="2"
    )
    assert done.returncode == 1
    assert "MLflow at http://127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "secret" not in done.stderr + done.stdout


def test_what_is_not_finished_or_was_changed_is_refused(second: Project, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'quick'"):
        register(second.folder, "quikc")
    noted = second.folder / "models/quick/run.json"
    shutil.move(noted, tmp_path / "run.json")
    with pytest.raises(
        UserError, match=r"quick is not finished: models/quick/run\.json is missing"
    ):
        register(second.folder, MODEL)
    shutil.move(tmp_path / "run.json", noted)
    for file, message in (
        ("results/quick/predictions.parquet", "not those that were recorded"),
        ("models/quick/model.safetensors", "is not what DVC made"),
    ):
        there = second.folder / file
        shutil.move(there, tmp_path / "kept")
        there.write_bytes((tmp_path / "kept").read_bytes() + b" ")
        with pytest.raises(UserError, match=message):
            register(second.folder, MODEL)
        there.unlink()
        shutil.move(tmp_path / "kept", there)
    assert register(second.folder, MODEL).version == "2"
