"""Change a value in params.yaml and nothing else: no comment, no line break."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.recipe import parse_yaml
from thaw.core.errors import UserError
from thaw.core.files import replacing

GROUPS = ("published", "images", "ratings", "recipes")


def set_number(file: Path, recipe: str, section: str, key: str, value: int) -> None:
    """Write a whole number in place of the one that a recipe has.

    Raises:
        UserError: as `with_number`.
    """
    changed = with_number(file, recipe, section, key, value)
    with replacing(file) as part:
        part.write_text(changed, encoding="utf-8")


def with_number(file: Path, recipe: str, section: str, key: str, value: int) -> str:
    """Return the text of params.yaml with another whole number for a recipe.

    Args:
        file: params.yaml.
        recipe: the recipe.
        section: of the recipe, such as ``fit_unfrozen``.
        key: in the section, such as ``epochs``.
        value: the new number.

    Raises:
        UserError: it cannot be changed without changing another recipe, which shares it; or it is
            not written as a plain number.
    """
    text = file.read_text(encoding="utf-8")
    where = f"recipes.{recipe}.{section}.{key}"
    shared = UserError(
        f"{file.name}: {where} cannot be set to {value} without changing another recipe. Give "
        f"{recipe} a section `{section}:` of its own."
    )
    there = YAML().load(text)["recipes"][recipe][section]
    try:
        line, column = there.lc.value(key)
    except KeyError:  # merged into the section from another
        raise shared from None
    lines = text.splitlines(keepends=True)
    old = str(there[key])
    if lines[line][column:].startswith(old):
        lines[line] = lines[line][:column] + str(value) + lines[line][column + len(old) :]
    else:
        raise UserError(
            f"{file.name}: {where} cannot be set to {value} as it is written there. Write it as a "
            f"plain number, {old}."
        )
    changed = "".join(lines)
    before, wanted = parse_yaml(text), copy.deepcopy(parse_yaml(text))
    wanted["recipes"][recipe][section][key] = value  # in whatever shares it, too
    if _others(wanted, recipe) != _others(before, recipe) or parse_yaml(changed) != wanted:
        raise shared
    return changed


def _others(content: Mapping[str, Any], recipe: str) -> dict[tuple[str, str], Any]:
    """Return all recipes but one, wherever they stand."""
    return {
        (group, name): values
        for group in GROUPS
        for name, values in (content.get(group) or {}).items()
        if name != recipe
    }
