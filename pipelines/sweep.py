"""Try a recipe with other parameters: `python -m pipelines.sweep pets_sample seed=0,1,2`.

Every combination of the values is a point: the recipe in a temporary workspace, as many side by
side as the machine allows. Stages that points share run once. What was recorded before, by this
sweep before it was killed or by anything else, is not run again.
"""

import argparse
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.environment import be_brief_when_interrupted, set_defaults

set_defaults()  # before Prefect is imported
if __name__ == "__main__":
    be_brief_when_interrupted()

from prefect import flow, get_run_logger  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import PrefectFuture, as_completed  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.flow_command import leave, run_flow  # noqa: E402
from pipelines.grid import Point, grid_points, read_grid, repeats, sweep_name  # noqa: E402
from pipelines.published import find_recipe  # noqa: E402
from pipelines.session import (  # noqa: E402
    Resources,
    artifact_key,
    default_jobs,
    open_resources,
    retried_task,
)
from pipelines.stage_process import StoppedError  # noqa: E402
from pipelines.sweep_table import SWEEPS, Row, best, spread, table, write_tables  # noqa: E402
from pipelines.variant import Turns, run_variant  # noqa: E402
from pipelines.workspace import check_overrides, project_state  # noqa: E402
from stages.recipe import PARAMS_FILE  # noqa: E402
from thaw.core.errors import UserError  # noqa: E402
from thaw.params.base import plural  # noqa: E402

TAG = "thaw.sweep"  # and the sweep's name: a run can be a point of several

# Lines of a stage's log that do not say why it failed.
OF_DVC = ("ERROR: failed to reproduce", "Running stage", "> ")


@dataclass
class Sweep:
    """A sweep as it goes on.

    Attributes:
        root: the project.
        name: of the sweep.
        points: in the order of the table.
        repeated: the varied parameters that say by chance alone how good the recipe is.
        overrides: other parameters, the same for all points.
        shared: with all that the flow run does.
        jobs: points at once.
        state: of the project, the same for all points.
    """

    root: Path
    name: str
    points: list[Point]
    repeated: set[str]
    overrides: list[str]
    shared: Resources
    jobs: int
    state: str
    rows: dict[str, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make what the points' threads share."""
        self._turns = Turns()
        self._places = threading.Semaphore(self.jobs)
        self._writing = threading.Lock()

    def run(self, point: Point) -> str:
        """Run a point and note its result; return what was done."""
        with self._places:
            if self.shared.stop.is_set():
                raise StoppedError(point.name)
            done, made = run_variant(
                self.root,
                point.recipe,
                point.paths,
                self.shared,
                self._turns,
                self.overrides,
                {f"{TAG}.{self.name}": point.name},
                self.state,
            )
        self.shared.sender.send(made.folder)
        self.note(point, Row("done", made.metrics, made.seconds, made.name))
        return done

    def note(self, point: Point, row: Row) -> None:
        """Put a point's row into the tables."""
        with self._writing:
            self.rows[point.name] = row
            write_tables(self.root, self.name, self.points, self.rows, self.repeated)


def run_points(sweep: Sweep) -> dict[str, State]:
    """Run all points side by side; return how each ended, by its name."""
    states: dict[str, State] = {}
    try:
        futures = {point_task(sweep, point): point for point in sweep.points}
        for future in as_completed(list(futures)):
            future.wait()  # it is done, but may not know its own end yet
            point, state = futures[future], future.state
            states[point.name] = state
            if not state.is_completed():
                why = reason(str(state.result(raise_on_failure=False)))
                sweep.note(point, Row("failed", why=why))
    except BaseException:
        sweep.shared.stop.set()
        raise
    return {point.name: states[point.name] for point in sweep.points}


def reason(told: str) -> str:
    """Say in a line why a point failed, of a message that may hold the end of a log."""
    first, *rest = told.split("\n")
    log = [line.strip() for line in rest if line.startswith("  ")]
    said = [line for line in log if not line.startswith(OF_DVC)] or log
    return f"{first.partition('. ')[0]}: {said[-1]}" if said else " ".join([first, *rest[:1]])


def point_task(sweep: Sweep, point: Point) -> PrefectFuture[Any]:
    """Submit a point as a task."""

    def work(name: str) -> State:
        return Completed(name=sweep.run(point))

    # Not as the name itself, which may have braces.
    task = retried_task(work, "point", "{name}")
    future: PrefectFuture[Any] = task.submit(point.name, return_state=False)
    return future


def result(sweep: Sweep, states: dict[str, State]) -> str:
    """Say in a few lines what came out, and keep the table as an artifact."""
    varied = list(sweep.points[0].values)
    found = table(sweep.points, sweep.rows)
    told = best(found, spread(found, varied, sweep.repeated), varied, sweep.repeated)
    create_table_artifact(
        found.astype(object).where(found.notna(), "").to_dict("records"),
        key=artifact_key(f"sweep-{sweep.name}"),
        description=told,
    )
    counts = Counter(state.name for state in states.values())
    counted = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    file = SWEEPS / f"{sweep.name}.csv"
    return f"{plural(len(states), 'point')}: {counted}.\n{told}\nThe table: {file}"


def failures(states: dict[str, State]) -> str:
    """Say what failed and why; the same reason once."""
    reasons: dict[str, list[str]] = {}
    for name, state in states.items():
        if not state.is_completed():
            why = str(state.result(raise_on_failure=False))
            reasons.setdefault(why, []).append(name)
    return "\n".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())


def plan(
    root: Path, recipe: str, grid: Mapping[str, Any], overrides: Sequence[str], jobs: int | None
) -> list[Point]:
    """Return the points of a sweep, after a look at all that it was asked with.

    Raises:
        UserError: with what cannot be.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs: {jobs} points at once. Give 1 or more, or leave it out.")
    check_overrides(root / PARAMS_FILE, overrides)
    for override in overrides:
        fixed = override.partition("=")[0].removeprefix("+")
        for varied in (f"recipes.{recipe}.{key}" for key in grid):
            if f"{varied}.".startswith(f"{fixed}.") or f"{fixed}.".startswith(f"{varied}."):
                raise UserError(f"-S {override}: the sweep varies {varied}. Leave one of them out.")
    return grid_points(root, recipe, grid)


@flow(name="sweep", persist_result=False)
def sweep(
    recipe: str,
    grid: dict[str, Any],
    overrides: list[str] | None = None,
    jobs: int | None = None,
    name: str | None = None,
) -> State:
    """Run a recipe with every combination of some parameters' values.

    The project's own results stay as they are. Every point is a run in MLflow, all with the tag
    ``thaw.sweep.NAME``; the table is in ``results/sweeps/NAME.csv``.

    Args:
        recipe: its name in params.yaml.
        grid: lists of values by parameter, such as ``{"fit_unfrozen.lr": [1e-4, 1e-3]}``.
            ``each`` instead of a list holds every fold or every group out once.
        overrides: other parameters for all points, such as ``recipes.pets.fit_frozen.epochs=2``.
        jobs: points at once; by default one more than there are cores.
        name: of the sweep; by default made of the recipe and the parameters.
    """
    root = Path.cwd()
    try:
        state = project_state(root)
        points = plan(root, recipe, grid, overrides or [], jobs)
        repeated = repeats(find_recipe(root / PARAMS_FILE, recipe)) & set(grid)
        name, fixed = sweep_name(recipe, grid, overrides or [], name), overrides or []
        with open_resources(root, jobs) as shared:
            at_once = jobs or default_jobs()
            running = Sweep(root, name, points, repeated, fixed, shared, at_once, state)
            states = run_points(running)
    except UserError as error:
        return Failed(message=str(error))
    if bad := failures(states):
        get_run_logger().warning("Failed: %s", bad)
    if not any(state.is_completed() for state in states.values()):
        return Failed(message=f"No point of {running.name} went well.\n{bad}")
    return Completed(message=result(running, states))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow; return the exit code: 1 if no point went well, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.sweep", description=__doc__)
    parser.add_argument("recipe", help="a recipe of params.yaml")
    parser.add_argument(
        "grid", nargs="+", metavar="KEY=VALUE,VALUE",
        help="values of a parameter, such as fit_unfrozen.lr=1e-4,1e-3 or split.by.fold=each",
    )  # fmt: skip
    parser.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="another parameter for all points, such as recipes.pets_sample.fit_frozen.epochs=2",
    )  # fmt: skip
    parser.add_argument("-j", "--jobs", type=int, help="points at once")
    parser.add_argument("--name", help="of the table and of MLflow's tag")
    chosen = parser.parse_args(arguments)

    def run() -> State:
        grid = read_grid(chosen.grid)  # a mistake needs no flow to be told
        plan(Path.cwd(), chosen.recipe, grid, chosen.overrides, chosen.jobs)
        sweep_name(chosen.recipe, grid, chosen.overrides, chosen.name)
        return sweep(
            recipe=chosen.recipe,
            grid=grid,
            overrides=chosen.overrides or None,
            jobs=chosen.jobs,
            name=chosen.name,
            return_state=True,
        )

    return run_flow(run, "interrupted. The same command goes on where this stopped.")


if __name__ == "__main__":
    leave(main())
