"""Look for mistakes in all recipes at once: `python -m stages check`."""

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.recipe import (
    check_auto,
    check_groups,
    check_sections,
    is_of_ratings,
    parse_sections,
    read_recipes,
    shared_sections,
)
from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, params, plural
from thaw.params.training.augment import Augment
from thaw.params.training.data import Data
from thaw.params.training.model import Model

STAGES = (
    "download", "untar", "weights", "split", "pack", "look",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "threshold",
    "lr_find", "fit", "evaluate", "interpret", "interpret_ratings", "report",
)  # fmt: skip
NAME = re.compile(r"\w[\w-]*", re.ASCII)  # a dot would end a key of DVC's
TAKEN = "sweeps"  # a folder among those of the recipes
RECIPE_MODEL = re.compile(r"models/([^/]+)/model\.safetensors")
RATINGS_STAGES = (
    "download", "untar", "split", "lr_find", "fit", "evaluate", "interpret_ratings", "report",
)  # fmt: skip
VISION_STAGES = tuple(s for s in STAGES if s not in ("lr_find", "fit", "interpret_ratings"))


@params
class Pixels:
    """The sections that decide how large images are."""

    data: Data
    augment: Augment


@params
class Channels:
    """The sections that say how many channels an image has."""

    data: Data
    model: Model


def check() -> None:
    """Read every section of every recipe as its stages will; print what is odd but legal.

    Raises:
        UserError: all problems of all recipes.
    """
    recipes = read_recipes()
    problems = check_groups(recipes) + check_names(recipes) + check_sources(recipes)
    for recipe, values in recipes.items():
        problems += check_recipe(recipe, values)
    if problems:
        raise UserError("\n".join(["", *dict.fromkeys(problems)]))
    for recipe, values in recipes.items():
        for oddity in oddities(recipe, values):
            print(oddity)
    for names in shared_sections(recipes):
        print(f"{names} are one section: `-S` cannot set it for one alone. Write it out in each.")
    print(f"{plural(len(recipes), 'recipe')} checked: {', '.join(recipes)}")


def check_names(recipes: Mapping[str, Any]) -> list[str]:
    """List names that would not do as folders and in DVC's addresses."""
    taken = [f"recipes.{TAKEN}: results/{TAKEN} is for tables of sweeps. Take another name."]
    return (taken if TAKEN in recipes else []) + [
        f"recipes.{recipe}: a name is made of letters, digits, '_' and '-', does not begin "
        "with the last, and is no number."
        for recipe in recipes
        if not (isinstance(recipe, str) and NAME.fullmatch(recipe))
    ]


def check_sources(recipes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List weights that DVC would look for in vain."""
    problems = []
    for recipe, values in recipes.items():
        weights = values.get("weights")
        if not isinstance(weights, Mapping):
            continue
        where = f"recipes.{recipe}.weights"
        if "after" not in weights:
            problems.append(f"{where}.after: missing. Add `after: *nothing`, or the source's path.")
        if recipe in sources_of(recipe, recipes):
            problems.append(
                f"{where}.source: the model is made of itself, by way of others or not."
            )
        other = source_of(values)
        if other is not None and other not in recipes and not Path(weights["source"]).exists():
            problems.append(
                f"{where}.source: there is no recipe {other!r}; {did_you_mean(other, recipes)}"
            )
    return problems


def source_of(values: Mapping[str, Any]) -> str | None:
    """Name the recipe whose model a recipe starts from, if it does."""
    weights = values.get("weights")
    source = weights.get("source") if isinstance(weights, Mapping) else None
    found = RECIPE_MODEL.fullmatch(source) if isinstance(source, str) else None
    return found[1] if found else None


def sources_of(recipe: str, recipes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Name all recipes that a recipe builds on, itself among them if they form a circle."""
    found: set[str] = set()
    source = source_of(recipes[recipe])
    while source is not None and source in recipes and source not in found:
        found.add(source)
        source = source_of(recipes[source])
    return found


def check_recipe(recipe: str, values: Mapping[str, Any]) -> list[str]:
    """List what the stages of one recipe would refuse."""
    problems = check_sections(recipe, values) + check_auto(recipe, values)
    for stage in stages_of(values):
        try:
            parse_sections(recipe, values, importlib.import_module(f"stages.{stage}").Params)
        except UserError as error:
            problems += str(error).splitlines()
    return problems or check_channels(recipe, values) + check_sample(
        recipe, values["download"]["url"]
    )


def stages_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the stages of a recipe, in the order in which they run."""
    return RATINGS_STAGES if is_of_ratings(values) else VISION_STAGES


def check_channels(recipe: str, values: Mapping[str, Any]) -> list[str]:
    """Say whether a recipe's images have other channels than its model."""
    if is_of_ratings(values):
        return []
    both = parse_sections(recipe, values, Channels)
    packed, seen = both.data.channels, both.model.channels
    if packed == seen:
        return []
    return [
        f"recipes.{recipe}.model.channels: {seen}, but data.channels is {packed}. Give both the "
        "same number."
    ]


def check_sample(recipe: str, url: str) -> list[str]:
    """Say whether an address names a sample that Thaw cannot draw."""
    from thaw.samples.archives import file_name

    if not url.startswith("sample:"):
        return []
    try:
        file_name(url.removeprefix("sample:"))
    except UserError as error:
        return [f"recipes.{recipe}.download.url: {error}"]
    return []


def oddities(recipe: str, values: Mapping[str, Any]) -> list[str]:
    """Say what is legal but hardly meant in a recipe without problems."""
    found = []
    cores = os.cpu_count() or 1
    if values["threads"] > cores:
        found.append(
            f"recipes.{recipe}.threads: {values['threads']} is more than this machine's {cores} "
            "cores, which is slow. Results depend on it, so it is yours to change."
        )
    if not is_of_ratings(values):
        pixels = parse_sections(recipe, values, Pixels)
        side, presize = pixels.augment.image_side, pixels.data.presize
        shortest = min(side) if isinstance(side, list) else side
        if presize < shortest:
            found.append(
                f"recipes.{recipe}.data.presize: {presize} is less than augment.image_side "
                f"{side}: images would be enlarged again. Set {shortest} or more."
            )
    return found
