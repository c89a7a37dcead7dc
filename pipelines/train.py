"""Train recipes as a Prefect flow: `python -m pipelines.train pets_sample`.

The flow is dvc.yaml's graph: a task per stage, run by `dvc repro --single-item` as soon as the
stages that it needs are through, beside all others that are. DVC decides what there is to do.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.environment import be_brief_when_interrupted, set_defaults

set_defaults()  # before Prefect is imported
if __name__ == "__main__":
    be_brief_when_interrupted()

from pipelines.changes import Ahead, find_changes  # noqa: E402
from pipelines.published import add_published, refuse_unadded, refuse_unknown  # noqa: E402
from stages.recipe import PARAMS_FILE  # noqa: E402
from thaw.core.errors import UserError  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.train", description=__doc__)
    parser.add_argument("recipes", nargs="*", help="none: all under recipes: in params.yaml")
    parser.add_argument("-j", "--jobs", type=int, help="stages at once")
    parser.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="another parameter for this run, such as recipes.pets_sample.seed=1",
    )  # fmt: skip
    parser.add_argument("--refresh", action="store_true", help="fetch again what no checksum pins")
    return parser.parse_args()


def check_request(
    recipes: Sequence[str], overrides: Sequence[str] | None, jobs: int | None
) -> None:
    """Refuse what cannot be, before anything is begun.

    Raises:
        UserError: an unknown recipe, one that would have to be added first, or no jobs.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs: {jobs} stages at once. Give 1 or more, or leave it out.")
    refuse_unknown(PARAMS_FILE, recipes)
    if overrides:
        refuse_unadded(PARAMS_FILE, recipes)


def read_request() -> argparse.Namespace:
    """Read the command line, and refuse at once: Prefect takes seconds to start."""
    chosen = parse_arguments()
    try:
        check_request(chosen.recipes, chosen.overrides, chosen.jobs)
    except UserError as error:
        sys.exit(str(error))
    return chosen


CHOSEN = read_request() if __name__ == "__main__" else None
# What there is to do, found while Prefect is imported.
AHEAD = (
    Ahead(Path.cwd(), CHOSEN.recipes)
    if CHOSEN and not (CHOSEN.overrides or CHOSEN.refresh)
    else None
)

from prefect import Task, flow, get_run_logger  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.arrivals import Arrivals  # noqa: E402
from pipelines.flow_command import leave, run_flow  # noqa: E402
from pipelines.graph import sort_lock  # noqa: E402
from pipelines.results import result_rows  # noqa: E402
from pipelines.session import Session, open_resources, retried_task  # noqa: E402
from pipelines.workspace import workspace  # noqa: E402
from thaw.params.base import plural  # noqa: E402


def stage_tasks(session: Session) -> dict[str, Task[[str], State]]:
    """Make a task of each stage's name, to be submitted with an address."""
    arrivals = Arrivals(session.graph, session.stale, session.urgencies)

    def work(address: str) -> State:
        with arrivals.turn(address):
            return Completed(name=session.work(session.graph[address]))

    retries = {stage.name: int(stage.meta.get("retries", 0)) for stage in session.graph.values()}
    return {name: retried_task(work, name, "{address}", tries) for name, tries in retries.items()}


def run_all(session: Session) -> dict[str, State]:
    """Start every stage's task, each to wait for those it needs; return how they ended.

    Whatever ends the flow early, a signal for one, ends the stages as well.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    states: dict[str, State] = {}
    tasks = stage_tasks(session)
    try:
        for address, stage in session.graph.items():
            needed = [futures[other] for other in sorted(stage.needs)]
            futures[address] = tasks[stage.name].submit(
                address, wait_for=needed, return_state=False
            )
        for address, future in futures.items():
            future.wait()
            states[address] = future.state
    except BaseException:
        session.shared.stop.set()
        raise
    finally:
        session.close(list(broken(states)), [a for a, s in states.items() if s.is_completed()])
    return states


def run_pipeline(root: Path, chosen: Sequence[str], jobs: int | None, refresh: bool) -> str:
    """Bring recipes up to date.

    Args:
        root: where dvc.yaml is.
        chosen: recipes; none means all.
        jobs: stages at once; None means one more than there are cores.
        refresh: fetch again what no checksum pins.

    Returns:
        What was done, in a sentence.

    Raises:
        FailedError: something failed; what does not depend on it is done.
    """
    ahead = AHEAD.changes(root) if AHEAD else None
    found = ahead.of(chosen) if ahead else find_changes(root, chosen, refresh=refresh)
    try:
        with open_resources(root, jobs, len(found.stale), AHEAD) as shared:
            session = Session(root, found.graph, found.stale, found.forced, found.refusals, shared)
            states = run_all(session)
    finally:
        if found.stale:
            sort_lock(root, found.order)
    show_results(root, {stage.recipe for stage in found.graph.values()})
    if found.stale:
        from stages.index import write_index  # pandas, which takes long to import

        write_index(root)
    return summary(states)


def show_results(root: Path, recipes: set[str]) -> None:
    """Keep the table of results as an artifact."""
    columns = ("recipe", "metric", "value", "seconds")
    rows = [dict(zip(columns, row, strict=True)) for row in result_rows(root, recipes)]
    create_table_artifact(rows, key="results", description="Results on held-out items")


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
        jobs: stages at once; by default one more than there are cores.
        refresh: fetch again what no checksum pins, and go on from what has changed.
    """
    root = Path.cwd()
    logger = get_run_logger()
    try:
        check_request(recipes or [], overrides, jobs)
        for line in add_published(PARAMS_FILE, recipes or []):
            logger.info("params.yaml: added %s", line)
        with place(root, overrides or []) as folder:
            done = run_pipeline(folder, recipes or [], jobs, refresh)
    except (UserError, FailedError) as error:
        return Failed(message=str(error))
    return Completed(message=done)


def main(chosen: argparse.Namespace) -> int:
    """Run the flow; return the exit code: 1 if anything failed, 130 when interrupted."""
    return run_flow(
        lambda: train(
            recipes=chosen.recipes or None,
            overrides=chosen.overrides or None,
            jobs=chosen.jobs,
            refresh=chosen.refresh,
            return_state=True,
        )
    )


if CHOSEN:
    leave(main(CHOSEN))
