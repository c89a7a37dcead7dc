"""The points of a sweep: every combination of some parameters' values."""

import copy
import functools
import hashlib
import itertools
import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from pipelines.published import find_recipe
from pipelines.workspace import check_path
from stages.common.paths import Paths
from stages.recipe import PARAMS_FILE, parse_yaml
from thaw.core.errors import UserError
from thaw.core.files import read_parquet

LONGEST_NAME = 200  # letters; a file's name may have 255
SPREAD = "-spread"  # ends the name of the table over what is repeated
EACH = "each"  # instead of values: every fold, or every group held out once
# What says by chance alone how good a recipe is: its mean counts, not its best.
SEED, FOLD, GROUPS = "seed", "split.by.fold", "split.by.valid"

Grid = dict[str, list[Any]]


@dataclass(frozen=True)
class Point:
    """One combination of values.

    Attributes:
        recipe: the recipe.
        values: by parameter, counted from the recipe: ``fit_unfrozen.lr``.
    """

    recipe: str
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The values in a line."""
        return " ".join(f"{key}={shown(value)}" for key, value in self.values.items())

    @property
    def paths(self) -> dict[str, Any]:
        """The values by their paths in params.yaml."""
        return {f"recipes.{self.recipe}.{key}": value for key, value in self.values.items()}


def shown(value: Any) -> str:
    """Return a value as a table shows it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_grid(arguments: Sequence[str]) -> Grid:
    """Read ``fit_unfrozen.lr=1e-4,1e-3 seed=0,1,2`` as a grid, its values as in params.yaml.

    Raises:
        UserError: with what is no list of values.
    """
    grid: Grid = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key or not text.strip():
            raise UserError(f"{argument}: write KEY=VALUE,VALUE, as in seed=0,1,2.")
        if key in grid:
            raise UserError(f"{argument}: {key} is given twice. Put its values into one list.")
        try:
            grid[key] = parse_yaml(f"[{text}]")
        except YAMLError as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{argument}: {reason}. Values are written as in params.yaml, with commas between "
                "them; one that is a list itself in brackets."
            ) from None
    return grid


def grid_points(root: Path, recipe: str, grid: Mapping[str, Any]) -> list[Point]:
    """Return every combination, the last parameter changing first.

    Args:
        root: the project.
        recipe: a recipe of its params.yaml.
        grid: values by parameter; ``each`` for every fold, or every group held out once.

    Raises:
        UserError: no such recipe or parameter, or no list of values.
    """
    there = find_recipe(root / PARAMS_FILE, recipe)
    if not grid:
        raise UserError("a sweep needs a parameter and its values, as in seed=0,1,2.")
    expanded = {
        key: _each(root, recipe, there, key) if values in (EACH, [EACH]) else values
        for key, values in grid.items()
    }
    for key, values in expanded.items():
        _check_values(key, values)
        if _is_absent(there, key):
            _check_default(recipe, there, key, values[0])
        else:
            check_path(there, key.split("."), key)
            _refuse_section(key, functools.reduce(operator.getitem, key.split("."), there))
    return [
        Point(recipe, dict(zip(expanded, values, strict=True)))
        for values in itertools.product(*expanded.values())
    ]


def _check_values(key: str, values: Any) -> None:
    """Refuse values that could not be told apart, or not be given at all."""
    if not isinstance(values, list) or not values:
        raise UserError(f"{key}: give a list of values, not {shown(values)}.")
    if odd := [value for value in values if not _is_plain(value)]:
        raise UserError(
            f"{key}: {odd[0]!r} is no number, text, truth value or list of these. Put a text in "
            f"quotes; of a mapping name the key within: {key}.KEY=..."
        )
    if EACH in values:
        raise UserError(f"{key}: {EACH!r} stands for all values, so alone.")
    texts = [shown(value) for value in values]
    alike = [values.count(v) > 1 or texts.count(shown(v)) > 1 for v in values]
    if twice := sorted(set(itertools.compress(texts, alike))):
        raise UserError(f"{key}: {', '.join(twice)} is there twice. Leave one.")


def _refuse_section(key: str, now: Any) -> None:
    """Refuse to put a value in a section's place."""
    if isinstance(now, Mapping):
        raise UserError(f"{key} is a section. Name a parameter of it: {', '.join(now)}.")


def _is_plain(value: Any) -> bool:
    """Say whether a value can be one of a sweep's."""
    if isinstance(value, list):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, str | int | float)


def _is_absent(values: Mapping[str, Any], key: str) -> bool:
    """Say whether a recipe has the section of a parameter, but not the parameter."""
    *sections, last = key.split(".")
    node: Any = values
    for section in sections:
        node = node.get(section) if isinstance(node, Mapping) else None
    return isinstance(node, Mapping) and last not in node


def _check_default(recipe: str, values: Mapping[str, Any], key: str, value: Any) -> None:
    """Refuse a parameter that no recipe has, such as one that is misspelt."""
    from stages.check import check_recipe

    changed = copy.deepcopy(dict(values))
    *sections, last = key.split(".")
    functools.reduce(operator.getitem, sections, changed)[last] = value
    known = check_recipe(recipe, values)
    if new := [problem for problem in check_recipe(recipe, changed) if problem not in known]:
        raise UserError("\n".join(new))


def _each(root: Path, recipe: str, values: Mapping[str, Any], key: str) -> list[Any]:
    """List all folds, or all groups.

    Raises:
        UserError: the parameter has neither, or the items are not there yet.
    """
    by = values.get("split", {}).get("by", {})
    if key == FOLD and by.get("rule") == "folds":
        return list(range(by.get("folds", 5)))
    if key == GROUPS and by.get("rule") == "group":
        return _groups(root, recipe, by)
    raise UserError(
        f"{key}=each: {EACH} is for {FOLD} with `rule: folds` and for {GROUPS} with `rule: group`; "
        f"{recipe} has neither there. List the values."
    )


def _groups(root: Path, recipe: str, by: Mapping[str, Any]) -> list[list[str]]:
    """List the groups of a recipe's items, those that are one together."""
    file = root / Paths(recipe).items
    if not file.exists():
        raise UserError(f"{Paths(recipe).items} is missing. First: dvc repro split@{recipe}")
    found = sorted(set(read_parquet(file)[by["column"]]))
    same = [sorted(set(names) & set(found)) for names in by.get("same", [])]
    alone = [[name] for name in found if not any(name in names for names in same)]
    return sorted([names for names in same if names] + alone)


def repeats(values: Mapping[str, Any]) -> set[str]:
    """Name a recipe's parameters that say by chance alone how good it is."""
    by = values.get("split", {}).get("by", {})
    return {SEED, FOLD} | ({GROUPS} if by.get("rule") == "group" else set())


def sweep_name(
    recipe: str, grid: Mapping[str, Any], overrides: Sequence[str], name: str | None
) -> str:
    """Name a sweep in letters that files and addresses allow.

    Without a name it gets one of its recipe and parameters, and of six digits that tell sweeps
    over other values apart.

    Raises:
        UserError: a name without letters or digits, too long a one, or that of a sweep's table.
    """
    if name is None:
        told = json.dumps([grid, sorted(overrides)], default=str)
        name = "-".join([recipe, *grid, hashlib.sha256(told.encode()).hexdigest()[:6]])
    plain = re.sub("[^a-z0-9_]+", "-", name.lower()).strip("-_")
    if not plain:
        raise UserError(f"--name {name!r}: use letters and digits.")
    if len(plain) > LONGEST_NAME:
        raise UserError(f"--name: give one of {LONGEST_NAME} letters at most; {plain!r} is longer.")
    if plain.endswith(SPREAD):
        raise UserError(f"--name {plain}: what ends in {SPREAD} is the table of another sweep.")
    return plain
