"""Read a recipe's sections from params.yaml."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, parse, reserved_keys, some_of

PARAMS_FILE = Path("params.yaml")

# Every section a recipe may have: what both kinds have, then what each has alone.
SHARED = ("seed", "threads", "precision", "data", "model", "download", "untar", "split")
OF_IMAGES = (
    "augment", "weights", "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold",
    "interpret",
)  # fmt: skip
OF_RATINGS = ("lr_find", "fit")
SECTIONS = SHARED + OF_IMAGES + OF_RATINGS

T = TypeVar("T")


def read_recipes(file: Path = PARAMS_FILE) -> dict[str, dict[str, Any]]:
    """Return everything under ``recipes:``, YAML merges resolved.

    Raises:
        UserError: the file is missing or not valid YAML (with line and column), or has no recipes.
    """
    return read_group(file, "recipes")


def read_group(file: Path, group: str) -> dict[str, dict[str, Any]]:
    """Return everything under ``recipes:``, ``images:`` or ``ratings:``.

    Raises:
        UserError: as `read_recipes`; ``images:`` and ``ratings:`` may be missing or empty.
    """
    try:
        content = parse_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file} is missing: run this in the project's root.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from None
    except MarkedYAMLError as error:
        raise UserError(f"{file}: {error.problem}{error.problem_mark or ''}".rstrip()) from None
    except (UnicodeDecodeError, YAMLError) as error:
        raise UserError(f"{file} is no YAML in UTF-8: {str(error).splitlines()[0]}.") from None
    recipes = content.get(group) if isinstance(content, Mapping) else None
    if group != "recipes" and not recipes:
        return {}
    if not isinstance(recipes, Mapping) or not recipes:
        raise UserError(f"{file}: '{group}:' is missing or has no recipes. Add one below it.")
    if odd := [name for name, recipe in recipes.items() if not isinstance(recipe or {}, Mapping)]:
        raise UserError(f"{file}: {group}.{odd[0]} must be sections, as in 'seed: 42'.")
    # Copied as one, so that what recipes share they share in the copy as well.
    return copy.deepcopy({name: dict(recipe or {}) for name, recipe in recipes.items()})


@functools.lru_cache(maxsize=4)
def parse_yaml(text: str) -> Any:
    """Parse YAML 1.2 as DVC reads it: `1e-5` is a number, `no` is a word.

    The same text is parsed once: it takes a tenth of a second, and is asked for at every turn.
    """
    return YAML(typ="safe", pure=True).load(text)


def read_params(recipe: str, cls: type[T], file: Path = PARAMS_FILE) -> T:
    """Read the sections of one recipe that the fields of `cls` name, checked.

    Args:
        file: the parameters file.
        recipe: a name under ``recipes:``.
        cls: a parameter class whose fields are sections; no other section is read, so DVC needs
            to track no other.

    Raises:
        UserError: an unknown recipe or section, and every problem in the sections read.
    """
    recipes = read_recipes(file)
    if recipe not in recipes:
        raise UserError(
            f"{file}: recipes.{recipe} does not exist; {did_you_mean(recipe, list(recipes))}"
        )
    if problems := check_sections(recipe, recipes[recipe]):
        raise UserError("\n".join(problems))
    return parse_sections(recipe, recipes[recipe], cls)


def parse_sections(recipe: str, values: Mapping[str, Any], cls: type[T]) -> T:
    """Check the sections of one recipe that the fields of `cls` name.

    Raises:
        UserError: every problem in these sections.
    """
    wanted = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    return parse(cls, {k: values[k] for k in wanted if k in values}, f"recipes.{recipe}")


def check_groups(recipes: Mapping[str, Mapping[str, Any]], file: Path = PARAMS_FILE) -> list[str]:
    """Say which recipes DVC would not run, or would run through the wrong stages.

    Args:
        recipes: all of them.
        file: the parameters file, whose ``images:`` and ``ratings:`` are what DVC runs.
    """
    groups = {group: read_group(file, group) for group in ("images", "ratings")}
    problems = []
    for recipe, values in recipes.items():
        right, wrong = ("ratings", "images") if is_of_ratings(values) else ("images", "ratings")
        if recipe not in groups[right]:
            there = f"is under {wrong}:" if recipe in groups[wrong] else "is not run"
            problems.append(f"recipes.{recipe}: {there}. Move it below '{right}:' in {file}.")
    return problems


LR_TESTS = {"fit_frozen": "lr_frozen", "fit_unfrozen": "lr_unfrozen", "fit": "lr_find"}


def check_auto(recipe: str, values: Mapping[str, Any]) -> list[str]:
    """Name the fits whose learning rate is to come from a test that is left out."""
    problems = []
    for fit, test in LR_TESTS.items():
        plan, tested = values.get(fit), values.get(test)
        if isinstance(plan, Mapping) and isinstance(tested, Mapping):
            lr, steps = plan.get("lr"), tested.get("steps")
            if steps == 0 and "auto" in (lr, lr[0] if isinstance(lr, list) and lr else None):
                problems.append(
                    f"recipes.{recipe}.{fit}.lr: 'auto' is the choice of a test that {test}.steps: "
                    f"0 leaves out. Give a number, or {test}.steps: 100."
                )
    return problems


def shared_sections(recipes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name the sections that several recipes share, so that `dvc exp run -S` sets all or none.

    Args:
        recipes: as read from YAML, in which what `<<` inherits is one and the same object.
    """
    users: dict[int, list[str]] = {}
    for recipe, values in recipes.items():
        for section, content in values.items():
            if isinstance(content, Mapping):
                users.setdefault(id(content), []).append(f"{recipe}.{section}")
    return [some_of(names) for names in users.values() if len(names) > 1]


def is_of_ratings(values: Mapping[str, Any]) -> bool:
    """Say whether a recipe is of ratings: it has other stages than one of images."""
    node: Any = values
    for key in ("split", "label", "rule"):
        node = node.get(key) if isinstance(node, Mapping) else None
    return bool(node == "ratings")


def check_sections(recipe: str, values: Mapping[str, Any]) -> list[str]:
    """Name the sections that no stage of such a recipe reads."""
    problems = reserved_keys(dict.fromkeys(values), f"recipes.{recipe}")
    noun, known = ("ratings", OF_RATINGS) if is_of_ratings(values) else ("images", OF_IMAGES)
    problems += [
        f"recipes.{recipe}.{key}: no section of a recipe of {noun}. Remove it."
        if key in SECTIONS
        else f"recipes.{recipe}.{key}: unknown section; {did_you_mean(str(key), SHARED + known)}"
        for key in values
        if key not in SHARED + known
    ]
    return problems
