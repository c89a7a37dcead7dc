"""What a flow tells MLflow while it runs: histories as they grow, and how a run ended.

Sending happens in a thread of its own, so that a store that is slow or down holds up nothing.
"""

import copy
import functools
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.graph import REPORT, Graph
from pipelines.places import runs_folder
from pipelines.record import describe
from pipelines.run_key import run_key
from pipelines.runs import ALIVE, RUN, Run, RunFolder, Status
from pipelines.store import FAILED_STAGE, Store, StoreError
from stages.common.paths import Paths
from thaw.core.files import read_json

SECONDS_BETWEEN_SENDS = 5.0  # to look up what a store lacks takes it a tenth of a second and more
SECONDS_BETWEEN_TRIES = 15.0  # after a store failed
IMPORT_LIMIT = 300.0  # seconds; slow on a busy machine, and no store's fault


class Sender:
    """Sends run folders, one after the other, in a thread.

    Args:
        uri: the store's.
        root: the project.
        on_trouble: gets the store's first failure in a row, as text.
    """

    def __init__(self, uri: str, root: Path, on_trouble: Callable[[str], None]) -> None:
        self.uri, self._root, self._on_trouble = uri, root, on_trouble
        self._changed: queue.Queue[RunFolder | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._unsent: dict[str, RunFolder] = {}
        self._imported = threading.Event()

    def send(self, folder: RunFolder) -> None:
        """Send a run soon; no store is opened before the first."""
        self._changed.put(folder)
        if self._thread.ident is None:
            self._thread.start()

    def close(self, patience: float) -> list[str]:
        """Give the thread some seconds for what is left; return the keys it did not get through."""
        if self._thread.is_alive():
            self._changed.put(None)
            self._imported.wait(IMPORT_LIMIT)
            self._thread.join(patience)
        return sorted(self._unsent)

    def _work(self) -> None:
        try:
            import mlflow.tracking  # noqa: F401
        finally:
            self._imported.set()

        store: Store | None = None
        failed = sent = 0.0
        last = False
        while not last or (self._unsent and not failed):
            last = self._collect(last, sent + SECONDS_BETWEEN_SENDS)
            if failed and not last and time.monotonic() - failed < SECONDS_BETWEEN_TRIES:
                continue
            sent = time.monotonic() if self._unsent else sent
            try:
                store = store or Store(self.uri, self._root)
                troubles = self._send_all(store)
            except StoreError as error:
                troubles = [str(error)]
            if troubles and not failed:
                self._on_trouble(troubles[0])
            failed, store = (time.monotonic(), None) if troubles else (0.0, store)

    def _send_all(self, store: Store) -> list[str]:
        """Send what is unsent; return what stood in the way.

        One run that cannot be sent does not stand in the way of the others; a store that fails
        twice is left alone for now.
        """
        troubles: list[str] = []
        for key, folder in list(self._unsent.items()):
            try:
                store.send(folder)
                del self._unsent[key]
            except Exception as error:  # whatever a damaged folder leads to
                where = "" if isinstance(error, StoreError) else f"{key}: {type(error).__name__}: "
                troubles.append(f"{where}{error}")
            if len(troubles) == 2:
                break
        return troubles

    def _collect(self, last: bool, sending: float) -> bool:
        """Wait for a change, and until it is time to send; say whether it was the end.

        Args:
            last: whether the end has come already.
            sending: when the next sending may be, by the monotonic clock; the end does not wait.
        """
        end = last
        try:
            change = self._changed.get(timeout=0.01 if last else 1.0)
            while True:
                if change is None:
                    end = True
                else:
                    self._unsent[change.path.name] = change
                wait = 0.0 if end else max(0.0, sending - time.monotonic())
                change = self._changed.get(timeout=wait) if wait else self._changed.get_nowait()
        except queue.Empty:
            return end


class LiveRun:
    """The run of one recipe while a flow works on it.

    Args:
        root: where the flow works, the project or a workspace.
        graph: of the pipeline.
        recipe: the recipe.
        flow_run_id: Prefect's, for a tag.
        sender: sends what changes.
        tags: further ones.
    """

    def __init__(
        self,
        root: Path,
        graph: Graph,
        recipe: str,
        flow_run_id: str,
        sender: Sender,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.recipe, self._root, self._graph = recipe, root, graph
        self._flow_run_id, self._sender, self._tags = flow_run_id, sender, dict(tags or {})
        self._values = graph[f"{REPORT}@{recipe}"].params[f"recipes.{recipe}"]
        self._alive: FileLock | None = None
        self._told = threading.Lock()
        self._ended = False
        self._seen: dict[Path, int] = {}

    @functools.cached_property
    def folder(self) -> RunFolder:
        """The run's folder, looked at only once there is what its key depends on."""
        key = run_key(self._root, self._graph, self.recipe)
        return RunFolder(runs_folder(self._root) / key)

    @functools.cached_property
    def _described(self) -> Run:
        key = self.folder.path.name
        run = describe(self._root, self.recipe, self._values, key, self._flow_run_id)
        run.tags |= self._tags
        return run

    @property
    def begun(self) -> bool:
        """Whether MLflow has been, or will be, told of it."""
        return self._alive is not None

    @property
    def is_running(self) -> bool:
        """Whether it was begun, and nobody has said how it ended."""
        return self.begun and self.folder.read().status == "RUNNING"

    @property
    def is_finished(self) -> bool:
        """Whether it was recorded whole, before or by now: it did not fail."""
        return (self.folder.path / RUN).exists() and self.folder.read().status == "FINISHED"

    def send(self) -> None:
        """Send the run as it stands."""
        self._sender.send(self.folder)

    def _is_recorded(self) -> bool:
        noted = self._root / Paths(self.recipe).run
        return noted.exists() and read_json(noted)["key"] == self.folder.path.name

    def follow(self, stage: str, since_ns: int) -> None:
        """Send a fit's histories if they have grown.

        Args:
            stage: the stage that runs.
            since_ns: when it began. Older files are those of the fit before.
        """
        with self._told:
            if not self._ended:
                self._follow(stage, since_ns)

    def _follow(self, stage: str, since_ns: int) -> None:
        folder = Path("results", self.recipe, stage)
        grown = []
        for file in (folder / "history.csv", folder / "batches.csv"):
            try:
                changed = (self._root / file).stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if changed >= since_ns and changed != self._seen.get(file):
                self._seen[file] = changed
                grown.append(file)
        if grown and self._take():
            self.folder.copy(grown, self._root)
            self._set_status("RUNNING")

    def _set_status(self, status: Status, **tags: str) -> None:
        """Note how the run stands and send it, unless another flow is at the same run."""
        if not self._take():
            return
        run = copy.deepcopy(self._described)
        run.status = status
        run.tags |= tags
        self.folder.write(run, without=() if status == "FAILED" else (FAILED_STAGE,))
        self.send()

    def _take(self) -> bool:
        """Say whether this flow is the one that speaks for the run."""
        if self._alive is None:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            # Taken by a task's thread, let go of by the flow's.
            alive = FileLock(self.folder.path / ALIVE, thread_local=False)
            try:
                alive.acquire(timeout=0)
            except Timeout:
                return False
            self._alive = alive
        return True

    def end(self, status: Status | None = None, **tags: str) -> None:
        """Say how the run ended, and let go of it.

        What a stage that is being ended still shows is not told any more.

        Args:
            status: how; without it a run that was begun is finished if its results are recorded.
                Code that was edited meanwhile makes them another run's.
            tags: to add.
        """
        with self._told:
            self._ended = True
            if status:
                self._set_status(status, **tags)
            elif self.is_running:
                self._set_status("FINISHED" if self._is_recorded() else "KILLED")
            if self._alive is not None:
                self._alive.release()
