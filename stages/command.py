"""Run one stage of one recipe: `python -m stages fit_frozen pets_sample`.

`python -m stages check` looks for mistakes in all recipes at once and runs nothing.
"""

import argparse
import dataclasses
import importlib
import os
import sys
import time

from stages.check import STAGES, check, stages_of
from stages.code import refuse_edited
from stages.common.paths import Paths
from stages.recipe import PARAMS_FILE, is_of_ratings, read_params, read_recipes
from stages.timing import write_timing
from thaw.core.errors import PassingError, UserError


def main(arguments: list[str] | None = None) -> int:
    """Run a stage, or check all recipes; return the exit code.

    Returns:
        0; 1 after a message about something that the user can mend, 75 where another try may
        help; 130 when interrupted.
    """
    parser = argparse.ArgumentParser(prog="python -m stages", description=__doc__)
    parser.add_argument(
        "stage", choices=[*STAGES, "check"], metavar="stage", help=", ".join(STAGES)
    )
    parser.add_argument("recipe", nargs="?", help="a name under recipes: in params.yaml")
    chosen = parser.parse_args(arguments)
    if chosen.stage != "check" and chosen.recipe is None:
        parser.error(f"which recipe? python -m stages {chosen.stage} RECIPE")
    name = " ".join(word for word in (chosen.stage, chosen.recipe) if word)
    try:
        if chosen.stage == "check":
            check()
        else:
            run(chosen.stage, chosen.recipe)
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return os.EX_TEMPFAIL if isinstance(error, PassingError) else 1
    except FileNotFoundError as error:
        missing = str(error.filename)
        if not missing.startswith(("data/", "models/", "results/")):
            raise
        print(
            f"{name}: {missing} is missing. Let DVC make what this stage needs first: "
            f"dvc repro {chosen.stage}@{chosen.recipe}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted.", file=sys.stderr)
        return 130
    return 0


def run(stage: str, recipe: str) -> None:
    """Read the stage's sections of the recipe, run it, and note how long it took."""
    values = read_recipes().get(recipe)
    if values is not None and stage not in stages_of(values):
        kind = "ratings" if is_of_ratings(values) else "images"
        raise UserError(
            f"{recipe} is of {kind} and has no such stage. It has: {', '.join(stages_of(values))}."
        )
    if "DVC_STAGE" in os.environ:
        refuse_edited(stage)
    module = importlib.import_module(f"stages.{stage}")
    params = read_params(recipe, module.Params)
    started = time.perf_counter()
    rates = module.run(params, Paths(recipe)) or {}
    if read_params(recipe, module.Params) != params:
        # DVC reads them when a stage has ended: it would keep these results under other values.
        raise UserError(
            f"{PARAMS_FILE}: what this stage reads of recipes.{recipe} was edited while it ran, so "
            "its results do not count. Run it again."
        )
    sections = [field.name for field in dataclasses.fields(params)]
    write_timing(stage, recipe, sections, time.perf_counter() - started, rates)


if __name__ == "__main__":
    sys.exit(main())
