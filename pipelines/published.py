"""Add a published recipe to those that run: one line in params.yaml."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.recipe import is_of_ratings, read_group, read_recipes
from thaw.core.errors import UserError
from thaw.core.files import replacing
from thaw.params.base import did_you_mean


def add_published(file: Path, wanted: Sequence[str]) -> list[str]:
    """Add recipes that are published but not yet run, with everything else left as it is.

    Args:
        file: params.yaml.
        wanted: names of recipes.

    Returns:
        The lines that were added.

    Raises:
        UserError: there is no such recipe anywhere, or no place to add it to.
    """
    refuse_unknown(file, wanted)
    there, published = read_recipes(file), read_group(file, "published")
    return [
        _add_line(file, "ratings" if is_of_ratings(published[recipe]) else "images", recipe)
        for recipe in dict.fromkeys(wanted)
        if recipe not in there
    ]


def refuse_unknown(file: Path, wanted: Sequence[str]) -> None:
    """Refuse recipes that params.yaml does not know, published ones included.

    Args:
        file: params.yaml.
        wanted: names of recipes.

    Raises:
        UserError: with the first of them, and what was meant perhaps.
    """
    known = list(dict.fromkeys([*read_recipes(file), *read_group(file, "published")]))
    for recipe in wanted:
        if recipe not in known:
            raise UserError(f"{file.name}: no recipe {recipe}; {did_you_mean(recipe, known)}")


def find_recipe(file: Path, recipe: str) -> dict[str, Any]:
    """Return the sections of a recipe that runs.

    Raises:
        UserError: there is none; with the command that adds it if it is a published one.
    """
    there = read_recipes(file)
    if recipe in there:
        return there[recipe]
    if recipe in read_group(file, "published"):
        raise UserError(
            f"{recipe} is published, but not under `recipes:` of {file.name}. First: "
            f"python -m pipelines.train {recipe}"
        )
    raise UserError(f"{file.name}: no recipe {recipe}; {did_you_mean(recipe, list(there))}")


def refuse_unadded(file: Path, wanted: Sequence[str]) -> None:
    """Refuse published recipes that would have to be added to params.yaml.

    Args:
        file: params.yaml.
        wanted: names of recipes.

    Raises:
        UserError: with their names.
    """
    lacking = set(wanted) & set(read_group(file, "published")) - set(read_recipes(file))
    if lacking:
        raise UserError(
            f"{', '.join(sorted(lacking))}: not under `recipes:` of params.yaml, which overrides "
            "leave as it is. Add it first, or run it once without -S."
        )


def _add_line(file: Path, group: str, recipe: str) -> str:
    """Write ``recipe: *recipe`` after the last entry of a group."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    starts = [n for n, line in enumerate(lines) if re.match(rf"{group}:( *&\S+)? *(#.*)?$", line)]
    if len(starts) != 1 or not _is_anchored(lines, recipe):
        raise UserError(
            f"{file.name}: cannot add {recipe} by itself. Write `{recipe}: *{recipe}` under "
            f"'{group}:' (with `&{recipe}` at its place under 'published:')."
        )
    end = starts[0] + 1
    for number in range(end, len(lines)):
        if re.match(r"[^\s#]", lines[number]):
            break
        if lines[number].strip() and not lines[number].lstrip().startswith("#"):
            end = number + 1
    line = f"  {recipe}: *{recipe}\n"
    with replacing(file) as part:
        part.write_text("".join([*lines[:end], "\n", line, *lines[end:]]), encoding="utf-8")
    return line.strip()


def _is_anchored(lines: list[str], name: str) -> bool:
    return any(re.match(rf"  {re.escape(name)}: *&{re.escape(name)}\b", line) for line in lines)
