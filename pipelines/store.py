"""MLflow's side of a run: find it or create it, and send what the store lacks.

A run is found by its tag ``thaw.key``. Points are compared with what the store has, so that a
retry, a resume or a second recording adds what is missing and nothing twice.
"""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from pipelines.places import project_root, without_password
from pipelines.points import Point, points
from pipelines.runs import Run, RunFolder

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.entities import Run as StoredRun
    from mlflow.tracking import MlflowClient

EXPERIMENT = "thaw"
KEY, SENT, FAILED_STAGE = "thaw.key", "thaw.sent", "thaw.failed_stage"
# A store that does not answer must not hold up training, nor whoever waits for the result.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
MOST = 1000  # points in one request: the server's limit
MOST_PARAMS = 100
MOST_CHARACTERS = 6000  # of a parameter: the server's limit


class StoreError(Exception):
    """The store could not be read or written; what was to be sent is kept."""


class Store:
    """A tracking store, opened and with Thaw's experiment in it.

    Args:
        uri: as in MLFLOW_TRACKING_URI.
        root: the project, which holds the pictures and tables of a SQLite store.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, uri: str, root: Path) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        self.uri = uri
        with store_errors(uri):
            self.client, self.experiment = _open(uri, project_root(root))

    def run(self, key: str) -> "StoredRun | None":
        """Find a run by its key."""
        found = self.client.search_runs(
            [self.experiment.experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1
        )
        return found[0] if found else None

    def has(self, folder: RunFolder) -> bool:
        """Say whether the store has a run as it is now."""
        with store_errors(self.uri):
            stored = self.run(folder.read().key)
            return stored is not None and stored.data.tags.get(SENT) == folder.digest()

    def send(self, folder: RunFolder) -> None:
        """Send all of a run that the store lacks.

        Raises:
            StoreError: it could not be sent, or not all of it.
        """
        with FileLock(folder.lock), store_errors(self.uri):
            digest, state = folder.digest(), folder.state()
            run = folder.read()
            stored = self.run(run.key) or self._create(run)
            self._send_params(stored, run)
            self._send_points(stored, points(folder.path / "files"), run.ended)
            if run.status != "RUNNING" and stored.data.tags.get(SENT) != digest:
                self._send_files(stored, folder)
            self._send_tags(stored, run)
            self._send_status(stored, run)
            if run.status != "RUNNING":
                self.client.set_tag(stored.info.run_id, SENT, digest)
                folder.note_sent(self.uri, state)

    def _create(self, run: Run) -> "StoredRun":
        tags = {KEY: run.key, "thaw.recipe": run.recipe}
        name = f"{run.recipe}-{run.key[:6]}"  # so that a chart's legend tells runs apart
        return self.client.create_run(
            self.experiment.experiment_id, start_time=run.began, run_name=name, tags=tags
        )

    def _send_params(self, stored: "StoredRun", run: Run) -> None:
        from mlflow.entities import Param

        lacking = [
            Param(name, value[:MOST_CHARACTERS])
            for name, value in run.params.items()
            if name not in stored.data.params
        ]
        for first in range(0, len(lacking), MOST_PARAMS):
            some = lacking[first : first + MOST_PARAMS]
            self.client.log_batch(stored.info.run_id, params=some)

    def _send_points(self, stored: "StoredRun", found: Sequence[Point], ended: int | None) -> None:
        from mlflow.entities import Metric

        when = ended or int(time.time() * 1000)
        lacking = [Metric(p.key, p.value, when, p.step) for p in self._lacking(stored, found)]
        for first in range(0, len(lacking), MOST):
            some = lacking[first : first + MOST]
            self.client.log_batch(stored.info.run_id, metrics=some)

    def _lacking(self, stored: "StoredRun", found: Iterable[Point]) -> list[Point]:
        """Leave out the points that the store has."""
        by_key: dict[str, list[Point]] = defaultdict(list)
        for point in found:
            by_key[point.key].append(point)
        lacking = []
        for key, curve in by_key.items():
            there: set[int] = set()
            if key in stored.data.metrics:
                history = self.client.get_metric_history(stored.info.run_id, key)
                there = {metric.step for metric in history}
            lacking += [point for point in curve if point.step not in there]
        return lacking

    def _send_files(self, stored: "StoredRun", folder: RunFolder) -> None:
        recipe = stored.data.tags["thaw.recipe"]
        for file in folder.files():
            top, name, *rest = file.parts
            place = "/".join(rest[:-1] if name == recipe else [])
            self.client.log_artifact(
                stored.info.run_id,
                str(folder.path / "files" / file),
                place if top == "results" else top,
            )

    def _send_tags(self, stored: "StoredRun", run: Run) -> None:
        from mlflow.entities import RunTag

        tags = {k: v for k, v in run.tags.items() if stored.data.tags.get(k) != v}
        if tags:
            self.client.log_batch(
                stored.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()]
            )
        if FAILED_STAGE in stored.data.tags and FAILED_STAGE not in run.tags:
            self.client.delete_tag(stored.info.run_id, FAILED_STAGE)

    def _send_status(self, stored: "StoredRun", run: Run) -> None:
        if stored.info.status == run.status:
            return
        if run.status == "RUNNING":
            self.client.update_run(stored.info.run_id, status="RUNNING")
        else:
            self.client.set_terminated(stored.info.run_id, run.status, run.ended)


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn whatever a store can fail with into one exception that names it.

    Raises:
        StoreError: instead of MLflow's, the database's or the network's.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(without_password(f"MLflow at {uri}: {reason[0]}")) from error


def _open(uri: str, project: Path) -> "tuple[MlflowClient, Experiment]":
    """Open a store, made if need be, by one process at a time: two makers break a database."""
    from mlflow.tracking import MlflowClient

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # a store that is down is told of once
    (project / ".thaw").mkdir(exist_ok=True)
    with FileLock(project / ".thaw" / "store.lock"):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            # A server knows itself where its files go.
            files = (project / "mlruns").as_uri() if uri.startswith("sqlite:") else None
            made = client.create_experiment(EXPERIMENT, artifact_location=files)
            found = client.get_experiment(made)
        elif found.lifecycle_stage != "active":  # deleted in MLflow's UI, which keeps the name
            client.restore_experiment(found.experiment_id)
        return client, found
