"""A recipe with other parameters, run in a temporary workspace: what sweeps and retraining do."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.changes import find_changes
from pipelines.graph import Graph, with_ancestors
from pipelines.places import runs_folder
from pipelines.run_key import is_unpinned, run_key
from pipelines.runs import RunFolder
from pipelines.session import Resources, Session
from pipelines.stage_process import StageFailedError, StoppedError
from pipelines.workspace import PREPARING, workspace
from stages.timing import NAME as TIMING
from thaw.core.errors import UserError
from thaw.core.files import read_json, remove

SECONDS_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True)
class RecordedRun:
    """A finished run as it was recorded, wherever it was made.

    Args:
        folder: of the run.
        recipe: its recipe.
    """

    folder: RunFolder
    recipe: str

    @property
    def key(self) -> str:
        """The run key."""
        return self.folder.path.name

    @property
    def name(self) -> str:
        """What it is called in MLflow."""
        return f"{self.recipe}-{self.key[:6]}"

    @property
    def is_finished(self) -> bool:
        """Whether it was recorded whole."""
        evaluated = self.file("evaluate/metrics.json")
        return evaluated.exists() and self.folder.read().status == "FINISHED"

    @property
    def metrics(self) -> dict[str, float]:
        """The final metrics on the held-out items, by their names in the recipe's results."""
        metrics: dict[str, float] = read_json(self.file("evaluate/metrics.json"))
        return {name.removeprefix("valid/"): value for name, value in metrics.items()}

    @property
    def seconds(self) -> float:
        """What its stages took where it was made; those restored from DVC's cache took none."""
        timings = (self.folder.path / "files" / "results" / self.recipe).glob(f"*/{TIMING}")
        return float(sum(read_json(file)["seconds"] for file in timings))

    def epochs(self, fit: str) -> pd.DataFrame:
        """Return a fit's history: a row for each epoch, with its losses and metrics."""
        return pd.read_csv(self.file(f"{fit}/history.csv"))

    def file(self, name: str) -> Path:
        """Return where a file of the recipe's results is kept."""
        return self.folder.path / "files" / "results" / self.recipe / name


class Turns:
    """The same work of a stage in one workspace at a time: the second finds it in DVC's cache."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def take(self, graph: Graph, address: str, stop: threading.Event) -> Iterator[None]:
        """Hold a stage with its parameters and those of all that it needs.

        Raises:
            StoppedError: `stop` was set while it was somebody else's.
        """
        work = [
            (other, stage.command, dict(stage.params))
            for other, stage in with_ancestors(graph, [address]).items()
        ]
        with self._guard:
            mine = self._locks.setdefault(json.dumps(work, sort_keys=True), threading.Lock())
        while not mine.acquire(timeout=SECONDS_BETWEEN_LOOKS):
            if stop.is_set():
                raise StoppedError(address)
        try:
            yield
        finally:
            mine.release()


def run_variant(
    root: Path,
    recipe: str,
    values: Mapping[str, Any],
    shared: Resources,
    turns: Turns,
    overrides: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    state: str | None = None,
) -> tuple[str, RecordedRun]:
    """Run a recipe with other parameters, unless it was recorded with them before.

    Args:
        root: the project.
        recipe: the recipe.
        values: its other parameters by path, such as ``recipes.pets_sample.seed``.
        shared: with all else that the flow run does.
        turns: likewise.
        overrides: further ones, in the words of `dvc exp run -S`.
        tags: of the run, however it ends.
        state: of the project, as `project_state` has it, if it is to be in that one.

    Returns:
        What was done, ``Ran`` or ``Unchanged``, and the run.

    Raises:
        UserError: parameters that a stage would refuse, or the project is in another state.
        StageFailedError: with the stage, the end of its log, and where the workspace is.
    """
    tags = tags or {}
    with workspace(root, overrides, values, shared.stop, state) as folder:
        with PREPARING:
            found = find_changes(folder, [recipe])
            graph, refused = found.graph, found.refusals
            session = Session(folder, graph, found.stale, set(), refused, shared, tags)
        if recipe in refused:
            remove(folder)
            raise UserError(f"{recipe} was not started: {refused[recipe]}")
        done: list[str] = []
        with ended(session, done, folder):
            # The run key counts what no checksum pins by its content, so that must be here.
            unpinned = [address for address in graph if is_unpinned(graph[address])]
            fetched = with_ancestors(graph, unpinned)
            for address in fetched:
                work(session, turns, address, done)
            run = RecordedRun(RunFolder(runs_folder(root) / run_key(folder, graph, recipe)), recipe)
            if run.is_finished:
                run.folder.add_tags(tags)
                return "Unchanged", run
            for address in [address for address in graph if address not in fetched]:
                work(session, turns, address, done)
        run.folder.add_tags(tags)
        return "Ran", run


def work(session: Session, turns: Turns, address: str, done: list[str]) -> None:
    """Do what a stage needs, when it is its turn."""
    with turns.take(session.graph, address, session.shared.stop):
        session.work(session.graph[address])
    done.append(address)


@contextmanager
def ended(session: Session, done: list[str], folder: Path) -> Iterator[None]:
    """Say in MLflow how it ended, and in an error where the workspace is."""
    failed = []
    try:
        yield
    except StageFailedError as error:
        failed = [next(address for address in session.graph if address not in done)]
        told = f"{error}\nAll of it is in {folder}"
        raise StageFailedError(told, passing=error.passing) from error
    finally:
        session.close(failed, done)
