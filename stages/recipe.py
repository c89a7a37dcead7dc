"""Read a recipe's sections from params.yaml."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from thaw.errors import UserError
from thaw.params.base import did_you_mean, parse, reserved_keys

PARAMS_FILE = Path("params.yaml")

# Every section a recipe may have: what stages share, then a section per stage.
SECTIONS = (
    "seed", "threads", "precision", "data", "model", "augment",
    "download", "untar", "weights", "split",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen",
    "threshold", "lr_find", "fit",
)  # fmt: skip

T = TypeVar("T")


def read_recipes(file: Path = PARAMS_FILE) -> dict[str, dict[str, Any]]:
    """Return everything under ``recipes:``, YAML merges resolved.

    Raises:
        UserError: the file is missing or not valid YAML (with line and column), or has no recipes.
    """
    try:
        # YAML 1.2 as DVC reads it: `1e-5` is a number, `no` is a word.
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file} is missing: run this in the project's root.") from None
    except MarkedYAMLError as error:
        raise UserError(f"{file}: {error.problem}{error.problem_mark or ''}".rstrip()) from None
    recipes = content.get("recipes") if isinstance(content, Mapping) else None
    if not isinstance(recipes, Mapping) or not recipes:
        raise UserError(f"{file}: 'recipes:' is missing or empty. Add a recipe below it.")
    return {name: dict(recipe or {}) for name, recipe in recipes.items()}


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
    return parse_sections(recipe, recipes[recipe], cls)


def parse_sections(recipe: str, values: Mapping[str, Any], cls: type[T]) -> T:
    """Check the sections of one recipe that the fields of `cls` name.

    Raises:
        UserError: as `read_params`.
    """
    check_sections(recipe, values)
    wanted = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    return parse(cls, {k: values[k] for k in wanted if k in values}, f"recipes.{recipe}")


def check_groups(recipes: Mapping[str, Mapping[str, Any]], file: Path = PARAMS_FILE) -> list[str]:
    """Say which recipes DVC would not run, or would run through the wrong stages.

    Args:
        recipes: all of them.
        file: the parameters file, whose ``images:`` and ``ratings:`` are what DVC runs.
    """
    content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    problems = []
    for recipe, values in recipes.items():
        right, wrong = ("ratings", "images") if is_of_ratings(values) else ("images", "ratings")
        if recipe not in (content.get(right) or {}):
            there = f"is under {wrong}:" if recipe in (content.get(wrong) or {}) else "is not run"
            problems.append(f"recipes.{recipe}: {there}. Move it below '{right}:' in {file}.")
    return problems


def is_of_ratings(values: Mapping[str, Any]) -> bool:
    """Say whether a recipe is of ratings: it has other stages than one of images."""
    node: Any = values
    for key in ("split", "label", "rule"):
        node = node.get(key) if isinstance(node, Mapping) else None
    return bool(node == "ratings")


def check_sections(recipe: str, values: Mapping[str, Any]) -> None:
    """Refuse section names that no stage reads."""
    problems = reserved_keys(dict.fromkeys(values), f"recipes.{recipe}")
    problems += [
        f"recipes.{recipe}.{key}: unknown section; {did_you_mean(str(key), list(SECTIONS))}"
        for key in values
        if key not in SECTIONS
    ]
    if problems:
        raise UserError("\n".join(problems))
