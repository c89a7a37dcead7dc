"""Register a finished recipe's model in MLflow: `python -m pipelines.registry pets_sample`.

The newest version is the `candidate`. It becomes `champion` if it is better than the champion on
the same data. `--champion VERSION` makes any version champion; without a recipe, all are listed.
"""

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipelines.graph import RECORD, Pipeline
from pipelines.logged_model import saved_model
from pipelines.places import project_root, runs_folder, tracking_uri, without_password
from pipelines.published import find_recipe
from pipelines.record import check_parameters, record, weights_tags
from pipelines.run_key import run_key
from pipelines.runs import RunFolder
from pipelines.standing import Standing, data_of, judge, standing_tags
from pipelines.store import KEY, Store, StoreError, store_errors
from stages.common.paths import Paths
from stages.recipe import PARAMS_FILE
from thaw.core.errors import UserError
from thaw.core.files import read_json

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as StoredRun
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
MODEL_MD5 = "thaw.model.md5"


@dataclass(frozen=True)
class Finished:
    """A finished recipe, recorded as it is now.

    Attributes:
        recipe: its name.
        values: its parameters.
        folder: of its recorded run.
        tags: of the versions made of it.
        metrics: final ones, ``valid/error_rate`` for one.
    """

    recipe: str
    values: Mapping[str, Any]
    folder: RunFolder
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Registered:
    """What came of it.

    Attributes:
        recipe: the model's name.
        version: the candidate's number.
        is_new: whether it was registered just now.
        moved: whether it became champion just now.
        sentence: who is champion, and why, with the numbers.
    """

    recipe: str
    version: str
    is_new: bool
    moved: bool
    sentence: str


def finished(root: Path, recipe: str) -> Finished:
    """Read what is to be registered.

    Args:
        root: the project, or a workspace.
        recipe: its name.

    Raises:
        UserError: there is no such recipe, it is not recorded, or its results are of other code or
            parameters, or were changed since.
        FileNotFoundError: a file of it is not there.
    """
    values = find_recipe(root / PARAMS_FILE, recipe)
    noted = root / Paths(recipe).run
    again = f"First: dvc repro {RECORD}@{recipe}"
    if not noted.exists():
        raise UserError(f"{recipe} is not finished: {Paths(recipe).run} is missing. {again}")
    with opened(root) as pipeline:
        check_parameters(pipeline.graph, recipe)
        key = run_key(root, pipeline.graph, recipe)
        if read_json(noted)["key"] != key:
            raise UserError(f"{recipe}: its results are of other parameters or code. {again}")
        weights = weights_tags(pipeline, recipe)
        folder = RunFolder(runs_folder(root) / key)
        if not (folder.path / "run.json").exists():  # .thaw/ was deleted
            folder = record(pipeline, recipe, made_now=False)
    if folder.read().status != "FINISHED" or not folder.is_finished_with(_judged(recipe), root):
        raise UserError(f"{recipe}: its results are not those that were recorded. {again}")
    if md5_of(root / Paths(recipe).model) != weights.get(MODEL_MD5):
        raise UserError(f"{recipe}: {Paths(recipe).model} is not what DVC made. {again}")
    metrics = read_json(root / Paths(recipe).result("evaluate", "metrics.json"))
    tags = data_of(folder.read().tags) | weights | standing_tags(metrics)
    return Finished(recipe, values, folder, tags | {KEY: key}, metrics)


def _judged(recipe: str) -> list[Path]:
    """List the files that a version is made of and judged by, as recording copies them."""
    paths = Paths(recipe)
    evaluated = paths.result("evaluate", "metrics.json")
    return [paths.model_json, paths.threshold, paths.predictions, evaluated]


@contextmanager
def opened(root: Path) -> Iterator[Pipeline]:
    """Open a project's pipeline, and let go of DVC's files at the end."""
    pipeline = Pipeline(root)
    try:
        yield pipeline
    finally:
        pipeline.close()


def md5_of(file: Path) -> str:
    """Hash a file as DVC does."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def register(root: Path, recipe: str) -> Registered:
    """Register a finished recipe's model, unless it is, and compare it with the champion.

    Args:
        root: the project, or a workspace.
        recipe: its name, and the model's.

    Raises:
        UserError: as `finished`.
        FileNotFoundError: as `finished`.
        StoreError: the store does not answer.
    """
    made = finished(root, recipe)
    store = Store(tracking_uri(root), root)
    # Two at once would both find that there is no such version yet.
    with FileLock(project_root(root) / ".thaw" / "registry.lock"):
        if not store.has(made.folder):
            store.send(made.folder)
        with store_errors(store.uri):
            found = find_version(store.client, made)
        version = found or log_version(store, root, made)
        with store_errors(store.uri):
            return _compare(store.client, made, version, is_new=found is None)


def _compare(
    client: "MlflowClient", made: Finished, version: "ModelVersion", *, is_new: bool
) -> Registered:
    """Give a version its aliases."""
    recipe, number = made.recipe, str(version.version)
    candidate = Standing.from_tags(number, made.tags)
    assert candidate is not None
    champion = champion_of(client, recipe)
    known = Standing.from_tags(str(champion.version), champion.tags) if champion else None
    verdict = judge(candidate, known, str(champion.version) if champion else None)
    client.set_registered_model_alias(recipe, CANDIDATE, number)
    if verdict.moves:
        client.set_registered_model_alias(recipe, CHAMPION, number)
    return Registered(recipe, number, is_new, verdict.moves, verdict.sentence)


def find_version(client: "MlflowClient", made: Finished) -> "ModelVersion | None":
    """Find the version that was made of these very results."""
    same = {name: made.tags[name] for name in (KEY, MODEL_MD5)}
    return next(
        (v for v in versions_of(client, made.recipe) if same.items() <= v.tags.items()), None
    )


def versions_of(client: "MlflowClient", recipe: str) -> "list[ModelVersion]":
    """List a model's versions, newest first."""
    found = client.search_model_versions(f"name = '{recipe}'")
    return sorted(found, key=lambda version: -int(version.version))


def champion_of(client: "MlflowClient", recipe: str) -> "ModelVersion | None":
    """Return the champion, if there is one."""
    if CHAMPION not in client.get_registered_model(recipe).aliases:
        return None
    return client.get_model_version_by_alias(recipe, CHAMPION)


def log_version(store: Store, root: Path, made: Finished) -> "ModelVersion":
    """Log the model to the recipe's run, and register it."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models.model import Model

    client, recipe = store.client, made.recipe
    with store_errors(store.uri):
        run = store.run(made.folder.read().key)
        assert run is not None
        logged = client.create_logged_model(
            store.experiment.experiment_id, recipe, run.info.run_id, dict(made.tags)
        )
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=run.info.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    with saved_model(root, recipe, made.values, model) as folder, store_errors(store.uri):
        client.log_model_artifacts(logged.model_id, str(folder))
    with store_errors(store.uri):
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        _log_metrics(client, run, logged.model_id, made.metrics)
        return _create_version(client, made, logged)


def _create_version(
    client: "MlflowClient", made: Finished, logged: "LoggedModel"
) -> "ModelVersion":
    """Register a logged model under its recipe's name."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    recipe = made.recipe
    if not client.search_registered_models(f"name = '{recipe}'"):
        client.create_registered_model(recipe)
    version = client.create_model_version(
        recipe,
        # Not models:/ID, which MLflow looks up in the store of the folder it happens to be in.
        logged.artifact_location,
        logged.source_run_id,
        dict(made.tags),
        model_id=logged.model_id,
    )
    # By which MLflow's page of the logged model finds its version.
    link = json.dumps([{"name": recipe, "version": version.version}])
    client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: link})
    return version


def _log_metrics(
    client: "MlflowClient", run: "StoredRun", model_id: str, metrics: Mapping[str, float]
) -> None:
    """Show the run's final metrics with the model too; the run's own points stay as they are."""
    from mlflow.entities import Metric

    when = {m.key: m for m in run.data._metric_objs if m.key in metrics}
    client.log_batch(
        run.info.run_id,
        metrics=[
            Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id) for m in when.values()
        ],
    )


def set_champion(root: Path, recipe: str, version: str) -> None:
    """Say who is champion, whatever the numbers.

    Raises:
        UserError: there is no such version.
        StoreError: the store does not answer.
    """
    store = Store(tracking_uri(root), root)
    with store_errors(store.uri):
        numbers = [str(found.version) for found in versions_of(store.client, recipe)]
        if version not in numbers:
            there = f"; there is {', '.join(numbers)}" if numbers else ""
            raise UserError(f"{recipe} has no version {version}{there}.")
        store.client.set_registered_model_alias(recipe, CHAMPION, version)


def list_versions(root: Path) -> list[tuple[str, ...]]:
    """Return model, version, aliases, metric, value, items and data of all registered versions.

    Raises:
        StoreError: the store does not answer.
    """
    store = Store(tracking_uri(root), root)
    rows: list[tuple[str, ...]] = []
    with store_errors(store.uri):
        for model in store.client.search_registered_models():
            names: dict[str, list[str]] = {}
            for alias, number in model.aliases.items():
                names.setdefault(str(number), []).append(alias)
            for version in versions_of(store.client, model.name):
                number = str(version.version)
                aliases = ", ".join(sorted(names.get(number, [])))
                found = Standing.from_tags(number, version.tags)
                rows.append((model.name, number, aliases, *_cells(found)))
    return rows


def _cells(found: Standing | None) -> tuple[str, ...]:
    """Say in columns what a version is compared by."""
    if found is None:
        return ("", "", "", "")
    return found.metric, f"{found.value:.6g}", str(found.items), _short(found.data)


def _short(data: Mapping[str, str]) -> str:
    """Abbreviate the data's version: equal ones look equal."""
    text = " ".join(f"{name}={data[name]}" for name in sorted(data))
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def print_versions(root: Path) -> None:
    """Print all versions as a table."""
    from rich.console import Console
    from rich.table import Table

    rows = list_versions(root)
    if not rows:
        print("no model is registered yet: python -m pipelines.registry RECIPE")
        return
    columns = ("model", "version", "aliases", "metric", "value", "items", "data")
    table = Table(title="Registered models")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_registered(root: Path, recipe: str) -> None:
    """Register, and say what came of it and how to serve the champion."""
    done = register(root, recipe)
    news = "registered" if done.is_new else "was registered before"
    print(f"{recipe}: version {done.version} {news}; it is the {CANDIDATE}.")
    print(f"{recipe}: {done.sentence}")
    if not done.moved and "cannot be compared" in done.sentence:
        print(
            "If it is to be champion all the same: "
            f"python -m pipelines.registry {recipe} --champion {done.version}"
        )
    store = shlex.quote(without_password(tracking_uri(root)))
    print(
        "Serve the champion, from any folder:\n"
        f"  DO_NOT_TRACK=true MLFLOW_TRACKING_URI={store} "
        f"mlflow models serve -m models:/{recipe}@{CHAMPION} --env-manager local -p 5002"
    )


def main(arguments: list[str] | None = None) -> int:
    """Register, list, or move an alias; return the exit code: 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.registry", description=__doc__)
    parser.add_argument(
        "recipe", nargs="?", help="a finished recipe; none: list what is registered"
    )
    parser.add_argument("--champion", metavar="VERSION", help="make this version champion")
    chosen = parser.parse_args(arguments)
    if chosen.champion and not chosen.recipe:
        parser.error("--champion: of which recipe?")
    root = Path.cwd()
    try:
        if chosen.champion:
            set_champion(root, chosen.recipe, chosen.champion)
            print(f"{chosen.recipe}: version {chosen.champion} is champion.")
        elif chosen.recipe:
            print_registered(root, chosen.recipe)
        else:
            print_versions(root)
    except FileNotFoundError as error:
        print(f"{error.filename} is missing. First: dvc repro, or dvc pull", file=sys.stderr)
        return 1
    except (UserError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    from pipelines.environment import set_defaults

    set_defaults()
    sys.exit(main())
