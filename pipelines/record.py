"""Record runs in MLflow: `python -m pipelines.record pets_sample`, or all that it lacks.

With a recipe it is the pipeline's last stage: it copies the results to ``.thaw/runs/<key>/`` and
sends them; a flow, in which MLflow is imported already, sends them itself. Without one it sends
every recorded run that the store lacks, after the store was down or was deleted.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.graph import RECORD, REPORT, Graph, Pipeline, with_ancestors
from pipelines.places import project_root, runs_folder, tracking_uri, without_password
from pipelines.run_key import run_key
from pipelines.runs import Run, RunFolder, ended_runs, flatten, result_files
from pipelines.store import FAILED_STAGE, Store, StoreError
from stages.code import refuse_edited
from stages.common.paths import Paths
from stages.recipe import read_recipes
from thaw.core.errors import UserError
from thaw.core.files import read_json, write_json

FLOW_RUN = "THAW_FLOW_RUN_ID"


def record(pipeline: Pipeline, recipe: str, *, made_now: bool = True) -> RunFolder:
    """Copy a finished recipe's results into the folder of its run.

    Args:
        pipeline: of the project.
        recipe: the recipe.
        made_now: whether the code of now made them, so that its commit is the run's.
    """
    root, graph = pipeline.root, pipeline.graph
    check_parameters(graph, recipe)
    key = run_key(root, graph, recipe)
    folder = RunFolder(runs_folder(root) / key)
    files = result_files(recipe)
    values = graph[f"{REPORT}@{recipe}"].params[f"recipes.{recipe}"]
    run = describe(root, recipe, values, key, os.environ.get(FLOW_RUN))
    # Returned to, or found again: it was made when it was made.
    if not made_now or folder.is_finished_with(files, root):
        run.tags = {}
    folder.copy(files, root)
    run.status = "FINISHED"
    run.tags |= data_tags(pipeline, recipe) | model_tags(recipe) | weights_tags(pipeline, recipe)
    folder.write(run, without=(FAILED_STAGE,))
    return folder


def check_parameters(graph: Graph, recipe: str) -> None:
    """Refuse results that were made with other parameters than params.yaml has now.

    Raises:
        UserError: with the stage and the section.
    """
    for address, stage in with_ancestors(graph, [f"{RECORD}@{recipe}"]).items():
        if stage.name == RECORD or stage.ran_with is None:
            continue
        for key, value in stage.params.items():
            if stage.ran_with.get(key) != value:
                raise UserError(
                    f"params.yaml: {key} is not what {address} ran with, so its results are not "
                    f"recorded. Run it again: dvc repro {RECORD}@{recipe}"
                )


def describe(
    root: Path, recipe: str, values: Mapping[str, Any], key: str, flow_run_id: str | None
) -> Run:
    """Say what is known of a run before it starts.

    Args:
        root: the project.
        recipe: its name.
        values: its parameters.
        key: the run key.
        flow_run_id: Prefect's, if a flow works on it.
    """
    flow = {"prefect.flow_run_id": flow_run_id} if flow_run_id else {}
    return Run(key, recipe, "RUNNING", flatten(values), git_tags(project_root(root)) | flow)


def git_tags(root: Path) -> dict[str, str]:
    """Return the commit and whether tracked files differ from it; nothing outside of git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    if not commit:
        return {}
    # dvc.lock is what a run writes, so it says nothing of what the run was made from.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    return {"mlflow.source.git.commit": commit, "thaw.git_dirty": str(bool(changed)).lower()}


def data_tags(pipeline: Pipeline, recipe: str) -> dict[str, str]:
    """Return the MD5 that DVC knows of the data that was trained on."""
    paths = Paths(recipe)
    made = made_md5s(pipeline)
    wanted = {"items": paths.items, "packed": paths.packed}
    return {f"thaw.data.{name}": md5 for name, p in wanted.items() if (md5 := made.get(str(p)))}


def made_md5s(pipeline: Pipeline) -> dict[str, str | None]:
    """Return the MD5 that DVC knows of each output, by its path."""
    return {out: md5 for stage in pipeline.graph.values() for out, md5 in stage.outs.items()}


def model_tags(recipe: str) -> dict[str, str]:
    """Return what the model was trained on and in."""
    model = read_json(Paths(recipe).model_json)
    return {f"thaw.{name}": model[name] for name in ("device", "precision")}


def weights_tags(pipeline: Pipeline, recipe: str) -> dict[str, str]:
    """Return where the model's weights are, and the MD5 by which DVC's cache has them."""
    path = str(Paths(recipe).model)
    md5 = made_md5s(pipeline).get(path)
    return {"thaw.model.path": path, "thaw.model.md5": md5} if md5 else {}


def record_finished(root: Path) -> None:
    """Record the recipes whose present results were recorded before but whose copy is gone."""
    noted = {recipe: Paths(recipe).run for recipe in read_recipes() if Paths(recipe).run.exists()}
    lost = {
        recipe: file
        for recipe, file in noted.items()
        if not (runs_folder(root) / read_json(file)["key"] / "run.json").exists()
    }
    if not lost:
        return
    pipeline = Pipeline(root)
    for recipe, file in lost.items():
        if run_key(root, pipeline.graph, recipe) == read_json(file)["key"]:
            record(pipeline, recipe, made_now=False)
    pipeline.close()


def send_lacking(root: Path) -> tuple[int, int]:
    """Send every ended run that the store lacks.

    Returns:
        How many were sent, and how many the store has now.

    Raises:
        StoreError: the store does not answer.
    """
    folders = ended_runs(root)
    store = Store(tracking_uri(root), root)
    lacking = [folder for folder in folders if not store.has(folder)]
    for folder in lacking:
        store.send(folder)
    return len(lacking), len(folders)


def record_recipe(root: Path, recipe: str) -> None:
    """Record one recipe and, outside of a flow, send it; a store that fails is no failure."""
    if recipe not in read_recipes():
        raise UserError(f"params.yaml: recipes.{recipe} does not exist.")
    pipeline = Pipeline(root)
    folder = record(pipeline, recipe)
    pipeline.close()
    write_json(Paths(recipe).run, {"key": folder.path.name})
    if os.environ.get(FLOW_RUN):
        return
    try:
        Store(tracking_uri(root), root).send(folder)
    except StoreError as error:
        print(f"{error}. The run is kept; `python -m pipelines.record` sends it.")


def main(arguments: list[str] | None = None) -> int:
    """Record; return the exit code: 1 if something must be mended, or nothing could be sent."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.record", description=__doc__)
    parser.add_argument("recipe", nargs="?", help="a finished recipe; none: send what is lacking")
    recipe = parser.parse_args(arguments).recipe
    root = Path.cwd()
    try:
        if recipe:
            if "DVC_STAGE" in os.environ:
                refuse_edited(RECORD)
            record_recipe(root, recipe)
        else:
            record_finished(root)
            sent, there = send_lacking(root)
            print(
                f"{sent} of {there} recorded runs sent to {without_password(tracking_uri(root))}."
            )
    except FileNotFoundError as error:
        print(f"{error.filename} is missing. First: dvc repro", file=sys.stderr)
        return 1
    except (UserError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    from pipelines.environment import set_defaults

    set_defaults()
    sys.exit(main())
