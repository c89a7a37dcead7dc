"""What the tasks of one flow run share, and the work on one stage."""

import math
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run

from pipelines.changes import Ahead, worker_for
from pipelines.graph import RECORD, Graph, Stage, look_up, urgencies
from pipelines.live import LiveRun, Sender
from pipelines.places import tracking_uri
from pipelines.record import FLOW_RUN
from pipelines.runs import RunFolder, ended_runs
from pipelines.slots import Slots, cores, gpus
from pipelines.stage_process import StageFailedError, StoppedError, run_stage
from pipelines.store import FAILED_STAGE
from stages.common.paths import Paths
from stages.recipe import PARAMS_FILE, read_group, read_recipes
from thaw.core.files import read_json

P = ParamSpec("P")
T = TypeVar("T")

RETRY_DELAYS = [5.0, 30.0]
SECONDS_FOR_STORE = 20.0  # at the end, for what MLflow has not been sent yet


def may_help(task: Any, run: TaskRun, state: State) -> bool:
    """Say whether another try can help: a network or a lost process, never a bad parameter."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.passing


def retried_task(
    work: Callable[P, T], name: str, run_name: str, retries: int = len(RETRY_DELAYS)
) -> Task[P, T]:
    """Make a task that is tried again where that can help, and keeps nothing: DVC does.

    Args:
        work: what it does.
        name: of the task.
        run_name: of its run, with its arguments in braces.
        retries: how often it is tried again.
    """
    made = task(
        name=name,
        task_run_name=run_name,
        retries=retries,
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=may_help,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return made(work)


def artifact_key(text: str) -> str:
    """Return a name as Prefect allows it for an artifact."""
    return re.sub("[^a-z0-9]+", "-", text.lower())


@dataclass(frozen=True)
class Resources:
    """What all stages of a flow run share, in whatever folder they run.

    Attributes:
        slots: what may run at once.
        sender: tells MLflow.
        flow_run_id: Prefect's.
        worker: the warm worker's address, if there is one.
        stop: ends all stages when set.
        unseen: set when Prefect's server is gone: to ask it takes a minute each time.
    """

    slots: Slots
    sender: Sender
    flow_run_id: str
    worker: Path | None
    stop: threading.Event = field(default_factory=threading.Event)
    unseen: threading.Event = field(default_factory=threading.Event)


@contextmanager
def open_resources(
    root: Path, jobs: int | None, stages: float = math.inf, ahead: Ahead | None = None
) -> Iterator[Resources]:
    """Yield what a flow run needs. What MLflow lacks is sent at the beginning and at the end.

    Args:
        root: the project, or a workspace of it.
        jobs: stages at once; None means one more than there are cores.
        stages: how many may run, as far as is known.
        ahead: what looked for changes, and has started a warm worker perhaps.
    """
    warn = get_run_logger().warning
    slots = Slots(jobs or default_jobs(), cores(), gpus())
    sender = Sender(tracking_uri(root), root, warn)
    for folder in lacking(root, sender.uri):
        sender.send(folder)
    try:
        with worker_for(root, stages, ahead) as address:
            yield Resources(slots, sender, str(flow_run.id), address)
        for folder in lacking(root, sender.uri) if stages else ():
            sender.send(folder)
    finally:
        if unsent := sender.close(SECONDS_FOR_STORE):
            warn("%d runs not in MLflow yet; `python -m pipelines.record` sends them.", len(unsent))


def default_jobs() -> int:
    """One more than there are cores: stages wait for their process to start, and for DVC."""
    return cores() + 1


def lacking(root: Path, uri: str) -> list[RunFolder]:
    """List the ended runs that a store was not sent as they are now."""
    fresh = uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
    return [folder for folder in ended_runs(root) if fresh or not folder.sent_to(uri)]


def order_of_recipes(root: Path) -> list[str]:
    """List the recipes as they stand in params.yaml, those of images first.

    Under ``recipes:`` a YAML merge has them in another order.
    """
    groups = ("images", "ratings", "recipes")
    return list(
        dict.fromkeys(name for group in groups for name in read_group(root / PARAMS_FILE, group))
    )


class Session:
    """The work on some stages in one folder.

    Args:
        root: where the stages run, the project or a workspace.
        graph: the stages to look at.
        stale: the addresses of those that are not known to be unchanged.
        forced: addresses of stages to run in any case.
        refusals: what some stage would refuse, by recipe.
        shared: with all else that the flow run does.
        tags: further ones of its runs in MLflow.
    """

    def __init__(
        self,
        root: Path,
        graph: Graph,
        stale: set[str],
        forced: set[str],
        refusals: Mapping[str, str],
        shared: Resources,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self.graph, self.stale, self.forced = root, graph, stale, forced
        self.refusals, self.shared = refusals, shared
        self.urgencies = urgencies(graph, order_of_recipes(root)) if stale else {}
        self.environment = {
            FLOW_RUN: shared.flow_run_id,
            "MLFLOW_TRACKING_URI": shared.sender.uri,
        }
        self.runs = {
            stage.recipe: LiveRun(
                root, graph, stage.recipe, shared.flow_run_id, shared.sender, tags
            )
            for stage in graph.values()
            if stage.address in stale and stage.name == RECORD
        }

    def work(self, stage: Stage) -> str:
        """Do what a stage needs; return how that is called."""
        if stage.address not in self.stale:
            return "Unchanged"
        if refusal := self.refusals.get(stage.recipe):
            raise StageFailedError(
                f"{stage.recipe} was not started. In params.yaml:\n{refusal}", passing=False
            )
        if edited := self.edited(stage):
            raise StageFailedError(
                f"{stage.address} was not started: {edited} in params.yaml was edited since "
                "the flow began. Run the flow again.",
                passing=False,
            )
        urgency = self.urgencies[stage.address]
        with self.shared.slots.take(stage, self.shared.stop, urgency) as mine:
            if self.shared.stop.is_set():
                raise StoppedError(stage.address)
            visible = {"CUDA_VISIBLE_DEVICES": ",".join(mine)} if mine else {}
            progress = Progress(self.root, stage, self.runs.get(stage.recipe), self.shared.unseen)
            done = run_stage(
                self.root,
                stage.address,
                is_forced=lambda: stage.address in self.forced or self.is_unrecorded(stage),
                environment={**self.environment, **visible},
                stop=self.shared.stop,
                worker=self.shared.worker,
                timeout=float(stage.meta.get("timeout", math.inf)),
                on_line=get_run_logger().info,
                on_look=progress.look,
            )
        if stage.name == RECORD:
            self.runs[stage.recipe].send()
        return done

    def edited(self, stage: Stage) -> str:
        """Name what a stage reads of params.yaml that is not as the flow found it."""
        recipes = read_recipes(self.root / PARAMS_FILE)
        return ", ".join(k for k, value in stage.params.items() if look_up(recipes, k) != value)

    def is_unrecorded(self, stage: Stage) -> bool:
        """Say whether `stage` is to record a run that made the results of another run again."""
        if stage.name != RECORD:
            return False
        noted = self.root / Paths(stage.recipe).run
        key = self.runs[stage.recipe].folder.path.name
        return not noted.exists() or read_json(noted)["key"] != key

    def close(self, failed: Collection[str], done: Collection[str]) -> None:
        """Say in MLflow how each recipe's run ended.

        Args:
            failed: the addresses of the stages that began, or tried to, and did not go well.
            done: of those that went well.
        """
        for recipe, run in self.runs.items():
            bad = [address for address in failed if address.endswith(f"@{recipe}")]
            if self.shared.stop.is_set():
                run.end("KILLED" if run.is_running else None)
            elif bad and not run.is_finished:
                run.end("FAILED", **{FAILED_STAGE: bad[0].partition("@")[0]})
            elif run.begun and f"{RECORD}@{recipe}" not in done:
                run.end("FAILED")
            else:
                run.end()


class Progress:
    """Follows a fit's histories: an artifact in Prefect, points in MLflow.

    Args:
        root: where the stage runs.
        stage: any stage; those without epochs have nothing to follow.
        run: of its recipe, if the flow records that.
        unseen: set when Prefect's server is gone: to ask it takes a minute each time.
    """

    def __init__(
        self, root: Path, stage: Stage, run: LiveRun | None, unseen: threading.Event
    ) -> None:
        self._root, self._stage, self._run, self._unseen = root, stage, run, unseen
        plan = stage.params.get(f"recipes.{stage.recipe}.{stage.name}")
        self._epochs = int(plan.get("epochs") or 0) if isinstance(plan, Mapping) else 0
        self._since = time.time_ns()
        self._shown = 0
        self._artifact: Any = None

    def look(self) -> None:
        """Tell of the epochs that have ended since the last look."""
        if not self._epochs:
            return
        # What only shows a fit must not end it.
        if self._run:
            try:
                self._run.follow(self._stage.name, self._since)
            except Exception as error:
                self._run = None
                self._warn(error)
        if not self._unseen.is_set():
            try:
                self._show()
            except Exception as error:
                self._unseen.set()
                self._warn(error)

    def _warn(self, error: Exception) -> None:
        get_run_logger().warning(
            "%s goes on, but progress is shown no more: %s: %s",
            self._stage.address, type(error).__name__, error,
        )  # fmt: skip

    def _show(self) -> None:
        file = self._root / Paths(self._stage.recipe).result(self._stage.name, "history.csv")
        try:
            changed = file.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed >= self._since and changed != self._shown:
            self._shown = changed
            self._draw(file.read_text(encoding="utf-8").splitlines())

    def _draw(self, history: list[str]) -> None:
        done = len(history) - 1
        last = dict(zip(history[0].split(","), history[-1].split(","), strict=True))
        values = ", ".join(f"{k} {float(v):.4f}" for k, v in last.items() if v and k != "epoch")
        text = f"{self._stage.address}: epoch {done} of {self._epochs}"
        text += f": {values}" if done else ""
        percent = 100.0 * done / self._epochs
        if self._artifact is None:
            key = artifact_key(self._stage.address)
            self._artifact = create_progress_artifact(percent, key=key, description=text)
        else:
            update_progress_artifact(self._artifact, percent, description=text)
