"""Run one stage of one recipe: `python -m stages fit_frozen pets_sample`.

`python -m stages check` looks for mistakes in all recipes at once and runs nothing.
"""

import argparse
import importlib
import os
import sys
import time

from stages.paths import Paths
from stages.recipe import (
    check_auto,
    check_groups,
    check_sections,
    is_of_ratings,
    parse_sections,
    read_params,
    read_recipes,
    shared_sections,
)
from stages.timing import write_timing
from thaw.errors import UserError

STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold",
    "lr_find", "fit", "evaluate", "interpret",
)  # fmt: skip
RATINGS_STAGES = ("download", "untar", "split", "lr_find", "fit", "evaluate", "interpret")
VISION_STAGES = tuple(s for s in STAGES if s not in ("lr_find", "fit", "interpret"))


def main(arguments: list[str] | None = None) -> int:
    """Run a stage, or check all recipes; return the exit code.

    Returns:
        0; 1 after a message about something that the user can mend; 130 when interrupted.
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
        return 1
    except FileNotFoundError as error:
        missing = error.filename or str(error)
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
    module = importlib.import_module(f"stages.{stage}")
    params = read_params(recipe, module.Params)
    started = time.perf_counter()
    rates = module.run(params, Paths(recipe)) or {}
    write_timing(stage, recipe, time.perf_counter() - started, rates)


def check() -> None:
    """Read every section of every recipe as its stages will.

    Raises:
        UserError: all problems of all recipes.
    """
    recipes = read_recipes()
    problems = check_groups(recipes)
    for recipe, values in recipes.items():
        problems += check_sections(recipe, values) + check_auto(recipe, values)
        for stage in RATINGS_STAGES if is_of_ratings(values) else VISION_STAGES:
            try:
                parse_sections(recipe, values, importlib.import_module(f"stages.{stage}").Params)
            except UserError as error:
                problems += str(error).splitlines()
    if problems:
        raise UserError("\n".join(["", *dict.fromkeys(problems)]))
    for names in shared_sections(recipes):
        print(f"{names} are one section: `-S` cannot set it for one alone. Write it out in each.")
    print(f"{len(recipes)} recipes checked: {', '.join(recipes)}")


# Read when torch is loaded: large tensors in huge pages, as a fresh one would otherwise cost a page
# fault every 4 kB; and threads that sleep when they wait, as other stages may need the core.
ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "THP_MEM_ALLOC_ENABLE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


if __name__ == "__main__":
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.exit(main())
