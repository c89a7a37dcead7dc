"""Choose the number of epochs as the lessons do: `python -m pipelines.retrain pets_sample`.

A finished run's history says after which epoch its metric was best. A model that is trained anew
for just so many epochs has its learning rate low at their end; early stopping would take one from
the middle of a schedule (fastbook, chapter 5, "Selecting the Number of Epochs"). The better of the
two models stays.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.environment import be_brief_when_interrupted, set_defaults

set_defaults()  # before Prefect is imported
if __name__ == "__main__":
    be_brief_when_interrupted()

from prefect import Task, flow  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.edit import set_number, with_number  # noqa: E402
from pipelines.flow_command import leave, run_flow  # noqa: E402
from pipelines.graph import Pipeline, of_recipes  # noqa: E402
from pipelines.places import runs_folder  # noqa: E402
from pipelines.published import find_recipe  # noqa: E402
from pipelines.run_key import run_key  # noqa: E402
from pipelines.runs import RunFolder  # noqa: E402
from pipelines.session import (  # noqa: E402
    Resources,
    artifact_key,
    open_resources,
    retried_task,
)
from pipelines.stage_process import StageFailedError  # noqa: E402
from pipelines.standing import is_better  # noqa: E402
from pipelines.train import FailedError, run_pipeline  # noqa: E402
from pipelines.variant import RecordedRun, Turns, run_variant  # noqa: E402
from pipelines.workspace import EDITED, project_state  # noqa: E402
from stages.common.paths import Paths  # noqa: E402
from stages.recipe import PARAMS_FILE  # noqa: E402
from thaw.chance import error_of, telling_metric  # noqa: E402
from thaw.core.errors import UserError  # noqa: E402
from thaw.core.files import read_json  # noqa: E402
from thaw.headline import headline_metric  # noqa: E402
from thaw.params.base import did_you_mean, plural  # noqa: E402

FITS = ("fit_unfrozen", "fit_frozen", "fit")  # the last that trained is looked at


@dataclass(frozen=True)
class Choice:
    """The number of epochs that a history speaks for.

    Attributes:
        fit: whose history.
        metric: that it was chosen by.
        epochs: the best number; the first of several that are as good.
        trained: as many as there were.
        value: the metric after `epochs` epochs.
        last: after all of them.
    """

    fit: str
    metric: str
    epochs: int
    trained: int
    value: float
    last: float

    @property
    def told(self) -> str:
        """The choice in a sentence."""
        return (
            f"{self.fit}: {self.metric} was best after {plural(self.epochs, 'epoch')} of "
            f"{self.trained}: {self.value:.4f}; {self.last:.4f} at the end."
        )


def finished_run(root: Path, recipe: str) -> RecordedRun:
    """Find the recorded run of a recipe's present results.

    Raises:
        UserError: no such recipe, or it is not trained and recorded as it is now.
    """
    find_recipe(root / PARAMS_FILE, recipe)
    pipeline = Pipeline(root)
    key = run_key(root, of_recipes(pipeline.graph, [recipe]), recipe)
    pipeline.close()
    noted = root / Paths(recipe).run
    run = RecordedRun(RunFolder(runs_folder(root) / key), recipe)
    if not run.is_finished or not noted.exists() or read_json(noted)["key"] != key:
        raise UserError(
            f"{recipe} has no finished run with the parameters and the code of now. First: "
            f"python -m pipelines.train {recipe}"
        )
    return run


def choose_epochs(run: RecordedRun, fit: str | None = None) -> Choice:
    """Find the epoch with the best metric.

    Args:
        run: a finished one.
        fit: whose epochs; None for the last one that trained.

    Raises:
        UserError: the recipe has no such fit, or it trained no epoch.
    """
    if fit and fit not in FITS:
        raise UserError(f"--fit {fit}: there is no such fit; {did_you_mean(fit, FITS)}")
    there = [name for name in FITS if run.file(f"{name}/history.csv").exists()]
    trained = [name for name in there if len(run.epochs(name))]
    if not trained or (fit and fit not in trained):
        known = f"; {', '.join(trained)} did" if trained else ""
        raise UserError(f"{run.recipe}: {fit or 'no fit'} trained no epoch{known}.")
    fit = fit or trained[0]
    history = run.epochs(fit)
    metric = telling_metric(history.columns[history.notna().all()])
    errors = [error_of(metric, value) for value in history[metric]]
    best = errors.index(min(errors))
    values = history[metric].tolist()
    return Choice(fit, metric, best + 1, len(values), values[best], values[-1])


def plan(root: Path, recipe: str, fit: str | None) -> tuple[RecordedRun, Choice]:
    """Return the run that is there and what its history speaks for.

    Raises:
        UserError: as `finished_run` and `choose_epochs`, or params.yaml could not be changed after
            the training.
    """
    before = finished_run(root, recipe)
    choice = choose_epochs(before, fit)
    try:
        with_number(root / PARAMS_FILE, recipe, choice.fit, "epochs", choice.epochs)
    except UserError as error:
        raise UserError(f"{choice.told}\n{error}") from None
    return before, choice


def variant_task(
    root: Path, before: RecordedRun, choice: Choice, shared: Resources, state: str
) -> Task[[], RecordedRun]:
    """Make the task that trains with the chosen number of epochs, in a workspace."""
    key = f"recipes.{before.recipe}.{choice.fit}.epochs"
    tags = {"thaw.retrain": f"{before.name}, best of {plural(choice.trained, 'epoch')}"}

    def work() -> RecordedRun:
        values = {key: choice.epochs}
        turns = Turns()
        return run_variant(root, before.recipe, values, shared, turns, tags=tags, state=state)[1]

    return retried_task(work, "retrain", f"{key}={choice.epochs}")


def train_anew(
    root: Path, run: RecordedRun, choice: Choice, jobs: int | None, state: str
) -> RecordedRun:
    """Train with the chosen number of epochs; return the recorded run."""
    with open_resources(root, jobs) as shared:
        try:
            made = variant_task(root, run, choice, shared, state)()
        except BaseException:
            shared.stop.set()
            raise
        shared.sender.send(made.folder)
    return made


def keep_better(
    root: Path, choice: Choice, before: RecordedRun, made: RecordedRun, jobs: int | None, state: str
) -> str:
    """Keep the better of two models as the project's; say which, with both numbers.

    Raises:
        UserError: the project is in another state than both were trained in.
        FailedError: the better one could not be put in place.
    """
    metric = headline_metric(list(before.metrics))
    old, new = before.metrics[metric], made.metrics[metric]
    told = f"Trained anew: {metric} {new:.4f} ({made.name}); before {old:.4f} ({before.name})."
    if not is_better(metric, new, old):
        return f"{told} The model that was there stays."
    key = f"recipes.{before.recipe}.{choice.fit}.epochs"
    if project_state(root) != state:
        raise UserError(f"{told} The new one is not kept: {EDITED}")
    set_number(root / PARAMS_FILE, before.recipe, choice.fit, "epochs", choice.epochs)
    changed = f"params.yaml: {key} is {choice.epochs} now."
    try:
        run_pipeline(root, [before.recipe], jobs, refresh=False)
    except FailedError as error:
        raise FailedError(f"{told} {changed} The new one is not in place yet:\n{error}") from error
    return f"{told} The new one is kept; {changed}"


def show(recipe: str, choice: Choice, runs: Sequence[RecordedRun], told: str) -> None:
    """Keep both runs as a table."""
    rows = [
        {"run": run.name, "epochs": epochs, **run.metrics}
        for run, epochs in zip(runs, (choice.trained, choice.epochs), strict=True)
    ]
    create_table_artifact(rows, key=artifact_key(f"retrain-{recipe}"), description=told)


@flow(name="retrain", persist_result=False)
def retrain(recipe: str, fit: str | None = None, jobs: int | None = None) -> State:
    """Train a recipe anew for as many epochs as its history speaks for; keep the better model.

    If the new one is better, ``epochs`` in params.yaml is set to that number and the project's
    results are the new ones. Both are runs in MLflow.

    Args:
        recipe: a recipe of params.yaml that is trained and recorded.
        fit: whose epochs, ``fit_frozen`` or ``fit_unfrozen``; by default the last that trained.
        jobs: stages at once; by default one more than there are cores.
    """
    root = Path.cwd()
    try:
        state = project_state(root)
        before, choice = plan(root, recipe, fit)
        if choice.epochs == choice.trained:
            return Completed(message=f"{choice.told} Nothing to gain by fewer.")
        made = train_anew(root, before, choice, jobs, state)
        told = f"{choice.told}\n{keep_better(root, choice, before, made, jobs, state)}"
    except (UserError, StageFailedError, FailedError) as error:
        return Failed(message=str(error))
    show(recipe, choice, (before, made), told)
    return Completed(message=told)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow; return the exit code: 1 if anything failed, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.retrain", description=__doc__)
    parser.add_argument("recipe", help="a recipe of params.yaml that is trained")
    parser.add_argument("--fit", help="whose epochs; by default the last fit that trained")
    parser.add_argument("-j", "--jobs", type=int, help="stages at once")
    chosen = parser.parse_args(arguments)

    def run() -> State:
        plan(Path.cwd(), chosen.recipe, chosen.fit)  # a mistake needs no flow to be told
        return retrain(chosen.recipe, fit=chosen.fit, jobs=chosen.jobs, return_state=True)

    return run_flow(run)


if __name__ == "__main__":
    leave(main())
