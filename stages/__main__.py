"""Run one stage of one recipe: `python -m stages fit_frozen pets_sample`."""

import argparse
import importlib
import os
import sys
import time

from stages.paths import Paths
from stages.recipe import read_params
from stages.timing import write_timing
from thaw.errors import UserError

STAGES = (
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "evaluate",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run a stage; return the exit code: 0, or 1 after a message for the user."""
    parser = argparse.ArgumentParser(prog="python -m stages", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("recipe", help="a name under recipes: in params.yaml")
    chosen = parser.parse_args(arguments)
    try:
        run(chosen.stage, chosen.recipe)
    except UserError as error:
        print(f"{chosen.stage} {chosen.recipe}: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        missing = error.filename or str(error)
        print(
            f"{chosen.stage} {chosen.recipe}: {missing} is missing. Let DVC make what this stage "
            f"needs first: dvc repro {chosen.stage}@{chosen.recipe}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"{chosen.stage} {chosen.recipe}: interrupted.", file=sys.stderr)
        return 130
    return 0


def run(stage: str, recipe: str) -> None:
    """Read the stage's sections of the recipe, run it, and note how long it took."""
    module = importlib.import_module(f"stages.{stage}")
    params = read_params(recipe, module.Params)
    started = time.perf_counter()
    rates = module.run(params, Paths(recipe)) or {}
    write_timing(stage, recipe, time.perf_counter() - started, rates)


if __name__ == "__main__":
    os.environ.setdefault("DO_NOT_TRACK", "true")
    sys.exit(main())
