"""Change a value in params.yaml and nothing else: no comment, no line break."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.recipe import parse_yaml
from thaw.core.errors import UserError
from thaw.core.files import replacing


def set_number(file: Path, recipe: str, section: str, key: str, value: int) -> None:
    """Write a whole number in place of the one that a recipe has.

    Args:
        file: params.yaml.
        recipe: the recipe.
        section: of the recipe, such as ``fit_unfrozen``.
        key: in the section, such as ``epochs``.
        value: the new number.

    Raises:
        UserError: it cannot be changed without changing anything else, because recipes share it.
    """
    text = file.read_text(encoding="utf-8")
    there = YAML().load(text)["recipes"][recipe][section]
    line, column = there.lc.value(key)
    lines = text.splitlines(keepends=True)
    old = str(there[key])
    if lines[line][column:].startswith(old):
        lines[line] = lines[line][:column] + str(value) + lines[line][column + len(old) :]
    changed = "".join(lines)
    if parse_yaml(changed) != _expected(parse_yaml(text), recipe, section, key, value):
        raise UserError(
            f"{file.name}, line {line + 1}: recipes.{recipe}.{section}.{key} cannot be set to "
            f"{value} without changing other recipes. Give {recipe} a section of its own first."
        )
    with replacing(file) as part:
        part.write_text(changed, encoding="utf-8")


def _expected(content: Any, recipe: str, section: str, key: str, value: int) -> Any:
    """Return what params.yaml is to say; a recipe stands in its group as well."""
    wanted = json.loads(json.dumps(content))  # what is shared by reference is copied
    for group in ("images", "ratings", "recipes"):
        if recipe in (wanted.get(group) or {}):
            wanted[group][recipe][section][key] = value
    return wanted
