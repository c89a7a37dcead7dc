"""Train recipes as a Prefect flow: `python -m pipelines.train pets_sample`.

The flow is dvc.yaml's graph: a task per stage, run by `dvc repro --single-item` as soon as the
stages that it needs are through, beside all others that are. DVC decides what there is to do.
"""

import argparse
import math
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.environment import set_defaults

set_defaults()  # before Prefect is imported

from prefect import Task, flow, get_run_logger, task  # noqa: E402
from prefect.artifacts import (  # noqa: E402
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State, TaskRun  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.graph import RECORD, Graph, Pipeline, Stage, look_up, of_recipes  # noqa: E402
from pipelines.live import LiveRun, Sender  # noqa: E402
from pipelines.places import runs_folder, tracking_uri  # noqa: E402
from pipelines.published import add_published, refuse_unadded  # noqa: E402
from pipelines.record import FLOW_RUN  # noqa: E402
from pipelines.results import result_rows, write_index  # noqa: E402
from pipelines.run_key import is_unpinned  # noqa: E402
from pipelines.runs import RunFolder, mark_killed, run_folders  # noqa: E402
from pipelines.slots import Slots, cores, gpus  # noqa: E402
from pipelines.stage_process import StageFailedError, StoppedError, run_stage  # noqa: E402
from pipelines.store import FAILED_STAGE  # noqa: E402
from pipelines.warm_worker import attached_worker  # noqa: E402
from pipelines.workspace import workspace  # noqa: E402
from stages.common.paths import Paths  # noqa: E402
from stages.recipe import read_recipes  # noqa: E402
from stages.warm import LOG  # noqa: E402
from thaw.core.errors import UserError  # noqa: E402
from thaw.core.files import read_json  # noqa: E402
from thaw.params.base import plural  # noqa: E402

SECONDS_FOR_STORE = 20.0  # at the end, for what MLflow has not been sent yet
WORTH_A_WORKER = 3  # stages to run: its imports take as long as those of two
RETRY_DELAYS = [5.0, 30.0]


class Session:
    """All that the tasks of one flow run share.

    Args:
        root: where the stages run, the project or a workspace.
        graph: the stages to look at.
        stale: the addresses of those that are not known to be unchanged.
        forced: addresses of stages to run in any case.
        slots: what may run at once.
        sender: tells MLflow.
        flow_run_id: Prefect's.
        worker: the warm worker's address, if there is one.
    """

    def __init__(
        self,
        root: Path,
        graph: Graph,
        stale: set[str],
        forced: set[str],
        slots: Slots,
        sender: Sender,
        flow_run_id: str,
        worker: Path | None,
    ) -> None:
        self.worker = worker
        self.root, self.graph, self.stale, self.forced = root, graph, stale, forced
        self.slots = slots
        self.environment = {FLOW_RUN: flow_run_id, "MLFLOW_TRACKING_URI": sender.uri}
        self.stop = threading.Event()
        self.unseen = threading.Event()
        self.refusals = refusals(root, {graph[address].recipe for address in stale})
        self.runs = {
            stage.recipe: LiveRun(root, graph, stage.recipe, flow_run_id, sender)
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
        with self.slots.take(stage, self.stop) as mine:
            if self.stop.is_set():
                raise StoppedError(stage.address)
            visible = {"CUDA_VISIBLE_DEVICES": ",".join(mine)} if mine else {}
            progress = Progress(self.root, stage, self.runs.get(stage.recipe), self.unseen)
            done = run_stage(
                self.root,
                stage.address,
                is_forced=lambda: stage.address in self.forced or self.is_unrecorded(stage),
                environment={**self.environment, **visible},
                stop=self.stop,
                worker=self.worker,
                timeout=float(stage.meta.get("timeout", math.inf)),
                on_line=get_run_logger().info,
                on_look=progress.look,
            )
        if stage.name == RECORD:
            self.runs[stage.recipe].send()
        return done

    def edited(self, stage: Stage) -> str:
        """Name what a stage reads of params.yaml that is not as the flow found it."""
        recipes = read_recipes(self.root / "params.yaml")
        return ", ".join(k for k, value in stage.params.items() if look_up(recipes, k) != value)

    def is_unrecorded(self, stage: Stage) -> bool:
        """Say whether `stage` is to record a run that made the results of another run again."""
        if stage.name != RECORD:
            return False
        noted = self.root / Paths(stage.recipe).run
        key = self.runs[stage.recipe].folder.path.name
        return not noted.exists() or read_json(noted)["key"] != key

    def close(self, states: Mapping[str, State]) -> None:
        """Say in MLflow how each recipe's run ended."""
        for recipe, run in self.runs.items():
            bad = [a for a in broken(states) if a.endswith(f"@{recipe}")]
            if self.stop.is_set():
                run.end("KILLED" if run.is_running else None)
            elif bad and not run.is_finished:
                run.end("FAILED", **{FAILED_STAGE: bad[0].partition("@")[0]})
            elif run.begun and not is_done(states.get(f"{RECORD}@{recipe}")):
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
            key = re.sub("[^a-z0-9]+", "-", self._stage.address.lower())  # Prefect's rule
            self._artifact = create_progress_artifact(percent, key=key, description=text)
        else:
            update_progress_artifact(self._artifact, percent, description=text)


def refusals(root: Path, recipes: set[str]) -> dict[str, str]:
    """Find what any stage of these recipes would refuse, before the first of them runs."""
    if not recipes:
        return {}
    from stages.check import check_recipe

    found = read_recipes(root / "params.yaml")
    problems = {r: check_recipe(r, values) for r, values in found.items() if r in recipes}
    return {recipe: "\n".join(those) for recipe, those in problems.items() if those}


def may_help(task: Any, run: TaskRun, state: State) -> bool:
    """Say whether another try can help: a network or a lost process, never a bad parameter."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.passing


def stage_task(session: Session, stage: Stage) -> Task[[], State]:
    """Make the task of a stage."""

    @task(
        name=stage.name,
        task_run_name=stage.address,
        retries=int(stage.meta.get("retries", 0)),
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=may_help,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def work() -> State:
        return Completed(name=session.work(stage))

    return work


def run_all(session: Session) -> dict[str, State]:
    """Start every stage's task, each to wait for those it needs; return how they ended.

    Whatever ends the flow early, a signal for one, ends the stages as well.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    states: dict[str, State] = {}
    try:
        for address, stage in session.graph.items():
            needed = [futures[other] for other in sorted(stage.needs)]
            futures[address] = stage_task(session, stage).submit(
                wait_for=needed, return_state=False
            )
        for address, future in futures.items():
            future.wait()
            states[address] = future.state
    except BaseException:
        session.stop.set()
        raise
    finally:
        session.close(states)
    return states


def run_pipeline(root: Path, chosen: Sequence[str], jobs: int | None, refresh: bool) -> str:
    """Bring recipes up to date.

    Args:
        root: where dvc.yaml is.
        chosen: recipes; none means all.
        jobs: stages at once; None means as many as there are cores, and two at least.
        refresh: fetch again what no checksum pins.

    Returns:
        What was done, in a sentence.

    Raises:
        FailedError: something failed; what does not depend on it is done.
    """
    pipeline = Pipeline(root)
    graph = of_recipes(pipeline.graph, chosen) if chosen else pipeline.graph
    forced = {address for address in graph if refresh and is_unpinned(graph[address])}
    stale = pipeline.changed(graph, forced)

    sender = Sender(tracking_uri(root), root, get_run_logger().warning)
    for folder in lacking(root, sender.uri):
        sender.send(folder)
    slots = Slots(jobs or max(2, cores()), cores(), gpus())
    flow = str(flow_run.id)
    try:
        with warm_worker(root, len(stale)) as worker:
            states = run_all(Session(root, graph, stale, forced, slots, sender, flow, worker))
        for folder in lacking(root, sender.uri):
            sender.send(folder)
    finally:
        if stale:
            pipeline.sort_lock()
        pipeline.close()
        if unsent := sender.close(SECONDS_FOR_STORE):
            get_run_logger().warning(
                "%d runs not in MLflow yet; `python -m pipelines.record` sends them.", len(unsent)
            )
    show_results(root, {stage.recipe for stage in graph.values()})
    return summary(states)


@contextmanager
def warm_worker(root: Path, stages: int) -> Iterator[Path | None]:
    """Yield a warm worker's address, if there are enough stages to start one for."""
    if stages < WORTH_A_WORKER:
        yield None
        return
    log = root / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with attached_worker(log) as address:
        yield address


def lacking(root: Path, uri: str) -> list[RunFolder]:
    """List the runs that a store was not sent as they are now, and those that a kill left."""
    left = mark_killed(root)
    fresh = uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
    ended = [f for f in run_folders(runs_folder(root)) if f.read().status != "RUNNING"]
    return left + [f for f in ended if f not in left and (fresh or not f.sent_to(uri))]


def show_results(root: Path, recipes: set[str]) -> None:
    """Keep the table of results as an artifact, and write the index of reports."""
    columns = ("recipe", "metric", "value", "seconds")
    rows = [dict(zip(columns, row, strict=True)) for row in result_rows(root, recipes)]
    create_table_artifact(rows, key="results", description="Results on held-out items")
    write_index(root)


def is_done(state: State | None) -> bool:
    """Say whether a stage went well."""
    return state is not None and state.is_completed()


def broken(states: Mapping[str, State]) -> dict[str, State]:
    """Pick the stages that began, or tried to, and did not go well."""
    return {a: s for a, s in states.items() if s.is_final() and not s.is_completed()}


def summary(states: Mapping[str, State]) -> str:
    """Count what was done.

    Raises:
        FailedError: with what failed and why, and what was not begun for it.
    """
    failed = broken(states)
    waiting = [address for address, state in states.items() if not state.is_final()]
    counts = Counter(state.name for state in states.values() if state.is_completed())
    done = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
    if not failed and not waiting:
        return f"{done}."
    # The same refusal stands before every first stage of a recipe.
    why = "\n".join(
        dict.fromkeys(
            str(state.result(raise_on_failure=False) or state.message or f"{address} {state.name}")
            for address, state in failed.items()
        )
    )
    rest = f"\nNot begun for it: {', '.join(waiting)}." if waiting else ""
    raise FailedError(f"{plural(len(failed), 'stage')} failed; done: {done}.\n{why}{rest}")


class FailedError(Exception):
    """Some stages failed. The message says which, and why."""


@contextmanager
def place(root: Path, overrides: Sequence[str]) -> Iterator[Path]:
    """Yield where to run: the project itself, or a workspace with other parameters."""
    if not overrides:
        yield root
        return
    with workspace(root, overrides) as folder:
        yield folder


@flow(name="train", persist_result=False)
def train(
    recipes: list[str] | None = None,
    overrides: list[str] | None = None,
    jobs: int | None = None,
    refresh: bool = False,
) -> State:
    """Bring recipes up to date: run the stages whose inputs changed.

    Args:
        recipes: names in params.yaml; none means all that are under ``recipes:``. A published
            recipe that is not yet there is added.
        overrides: other parameters for this run alone, such as ``recipes.pets.seed=1``. The
            project's own results stay as they are; MLflow keeps the run.
        jobs: stages at once; by default as many as there are cores, and two at least.
        refresh: fetch again what no checksum pins, and go on from what has changed.
    """
    root = Path.cwd()
    logger = get_run_logger()
    try:
        if jobs is not None and jobs < 1:
            raise UserError(f"jobs: {jobs} stages at once. Give 1 or more, or leave it out.")
        if overrides:
            refuse_unadded(root / "params.yaml", recipes or [])
        for line in add_published(root / "params.yaml", recipes or []):
            logger.info("params.yaml: added %s", line)
        with place(root, overrides or []) as folder:
            done = run_pipeline(folder, recipes or [], jobs, refresh)
    except (UserError, FailedError) as error:
        return Failed(message=str(error))
    return Completed(message=done)


def main(arguments: list[str] | None = None) -> int:
    """Run the flow; return the exit code: 1 if anything failed, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.train", description=__doc__)
    parser.add_argument("recipes", nargs="*", help="none: all under recipes: in params.yaml")
    parser.add_argument("-j", "--jobs", type=int, help="stages at once")
    parser.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="another parameter for this run, such as recipes.pets_sample.seed=1",
    )  # fmt: skip
    parser.add_argument("--refresh", action="store_true", help="fetch again what no checksum pins")
    chosen = parser.parse_args(arguments)
    try:
        state = train(
            recipes=chosen.recipes or None,
            overrides=chosen.overrides or None,
            jobs=chosen.jobs,
            refresh=chosen.refresh,
            return_state=True,
        )
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        return 130
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
