"""Frozen, strictly checked parameter classes, with all problems reported at once."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from thaw.core.errors import UserError

# DVC's run cache drops these keys from its hash and restores stale outputs.
RESERVED = ("size", "nfiles")

# The field that tells the classes of a union apart.
TAG = "rule"

# What a value should have been, by pydantic's name of the error.
EXPECTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
}

# Every recipe's `seed`.
Seed = Annotated[int, Field(ge=0, lt=2**63)]

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def params(cls: type[T]) -> type[T]:
    """Make a frozen keyword-only dataclass that refuses unknown keys and wrong types.

    A field may be a union of such classes told apart by their literal field `rule`:
    ``Annotated[A | B, Field(discriminator="rule")]``.
    """
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return dataclass(frozen=True, kw_only=True, config=config)(cls)  # type: ignore[return-value]


def parse(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the parameter class `cls` from plain values.

    Args:
        cls: a class made by `params`.
        values: nested mappings, lists and scalars, as read from YAML.
        where: the key path of `values` for messages, such as ``recipes.pets``.

    Raises:
        UserError: every unknown key, wrong type and impossible combination, a line each with
            the key's path, its value and the remedy.
    """
    problems = reserved_keys(values, where)
    # Strict and from JSON: pydantic's strict mode takes no mapping for a class otherwise. The
    # only other types that YAML has, dates and times, become text.
    text = json.dumps(dict(values), default=str)
    try:
        parsed = TypeAdapter(cls).validate_json(text)
    except ValidationError as error:
        problems += _problems(error.errors(), cls, where)
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return parsed


def reserved_keys(values: Any, where: str) -> list[str]:
    """List the keys anywhere below `where` that DVC's run cache would ignore."""
    if isinstance(values, list):
        return [p for i, v in enumerate(values) for p in reserved_keys(v, f"{where}[{i}]")]
    if not isinstance(values, Mapping):
        return []
    found = [
        f"{where}.{key}: a parameter must not be called '{key}': DVC's run cache ignores it "
        "and would restore stale outputs. Rename the key."
        for key in values
        if key in RESERVED
    ]
    return found + [p for k, v in values.items() for p in reserved_keys(v, f"{where}.{k}")]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a remedy: the nearest known word, else all of them (ten at most)."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {some_of(words)}." if words else "nothing is known here."


def some_of(names: Iterable[str], most: int = 10) -> str:
    """Join names for a message, the first `most` of them and the number of the others."""
    words = list(names)
    shown = ", ".join(words[:most])
    return f"{shown} and {len(words) - most} more" if len(words) > most else shown


def plural(count: int, noun: str) -> str:
    """Count a noun: 1 row, 2 rows."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def check_range(bounds: list[float], key: str) -> None:
    """Refuse what is not a lower and a higher number.

    Raises:
        ValueError: `key` names the parameter.
    """
    if len(bounds) != 2 or bounds[0] >= bounds[1]:
        raise ValueError(f"{key} {bounds} must be two numbers, the lower one first.")


class _Problem(NamedTuple):
    """One of pydantic's errors, its location read as the user's key path."""

    detail: ErrorDetails
    path: str
    holder: Any  # the class or list in which the path's last key was looked up
    annotation: Any  # what the value should have been
    union: str | None  # the path of the first union without tags on the way
    of_member: bool  # whether the error is about a member of such a union as a whole

    @property
    def value(self) -> Any:
        return self.detail["input"]

    @property
    def wrong_type(self) -> bool:
        """Whether the value is of another kind altogether."""
        return self.detail["type"] in (*EXPECTED, "literal_error")


def _problems(details: list[ErrorDetails], cls: Any, where: str) -> Iterator[str]:
    """Describe pydantic's errors, those about the members of one union together."""
    groups: dict[str, list[_Problem]] = {}
    for number, detail in enumerate(details):
        problem = _locate(detail, cls, where)
        groups.setdefault(problem.union or str(number), []).append(problem)
    for group in groups.values():
        # Of -1 for "a number above 0, or a list" only the first part is worth telling.
        if near := [p for p in group if not (p.of_member and p.wrong_type)]:
            yield from map(_describe, near)
        else:
            yield _wrong_type(group)


def _locate(detail: ErrorDetails, cls: Any, where: str) -> _Problem:
    """Walk an error's location along the annotations, leaving out the names of unions' members."""
    path, annotation, holder = where, cls, None
    union, of_member = None, False
    for step in detail["loc"]:
        of_member = False
        members = _members(annotation)
        if len(members) > 1:
            annotation = next((m for m in members if _is_called(m, step)), annotation)
            if step not in _tags(annotation):
                union, of_member = union or path, True
            continue
        holder = members[0] if members else None
        if isinstance(step, int):
            path += f"[{step}]"
            annotation = next(iter(get_args(holder)), None)
        else:
            path += f".{step}"
            field = getattr(holder, "__pydantic_fields__", {}).get(step)
            annotation = field.annotation if field else next(reversed(get_args(holder)), None)
    return _Problem(detail, path, holder, annotation, union, of_member)


def _members(annotation: Any) -> list[Any]:
    """List what an annotation admits, without `Annotated` and `None`."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [] if annotation is NoneType else [annotation]


def _is_called(member: Any, step: int | str) -> bool:
    """Whether `step` is pydantic's name for this member: its tag, class, or ``list[...]``."""
    return step in _tags(member) or getattr(member, "__name__", "") == str(step).split("[")[0]


def _tags(annotation: Any) -> list[str]:
    """List the tags of a parameter class, or of all classes of a union."""
    fields = [_fields(member).get(TAG) for member in _members(annotation)]
    return [tag for field in fields if field for tag in get_args(field.annotation)]


def _fields(cls: Any) -> dict[str, Any]:
    return getattr(cls, "__pydantic_fields__", {})


def _describe(problem: _Problem) -> str:
    path, detail = problem.path, problem.detail
    if problem.wrong_type:
        return _wrong_type([problem])
    match detail["type"]:
        case "unexpected_keyword_argument":
            parent, _, word = path.rpartition(".")
            if word in RESERVED:  # the very words of reserved_keys, so that it is told once
                return reserved_keys({word: None}, parent)[0]
            return f"{path}: unknown key; {did_you_mean(word, _fields(problem.holder))}"
        case "missing":
            return f"{path}: missing. Add the key."
        case "union_tag_not_found":
            return f"{path}.{TAG}: missing. Add one of {some_of(_tags(problem.annotation))}."
        case "union_tag_invalid":
            tag = str(detail["ctx"]["tag"])
            remedy = did_you_mean(tag, _tags(problem.annotation))
            return f"{path}.{TAG}: '{tag}' is unknown; {remedy}"
        case "value_error":
            return f"{path}: {detail['msg'].removeprefix('Value error, ')}"
        case _:
            rule = detail["msg"].replace("Input should", "it must")
            return f"{path}: {_shown(problem.value)}: {rule[0].lower()}{rule[1:]}."


def _wrong_type(group: list[_Problem]) -> str:
    """Say what a value should have been; `group` has an error for each alternative."""
    path, value = group[0].path, group[0].value
    types = [EXPECTED[p.detail["type"]] for p in group if p.detail["type"] in EXPECTED]
    words = [p.detail["ctx"]["expected"] for p in group if p.detail["type"] not in EXPECTED]
    expected = " or ".join(dict.fromkeys(types + words))
    return f"{path}: {_shown(value)} is not {expected}. {_hint(value, types, words)}".rstrip()


def _hint(value: Any, types: list[str], words: list[str]) -> str:
    """Return the remedy for a value of the wrong type, if one is likely."""
    known = [word for text in words for word in re.findall(r"'([^']*)'", text)]
    if near := difflib.get_close_matches(str(value), known, n=1):
        return f"Did you mean '{near[0]}'?"
    if isinstance(value, str):
        if {"a number", "a whole number"} & set(types) and _is_number(value):
            return "Write the number without quotes."
        return "Write it as a list: [...]." if types == ["a list"] else ""
    if "text" in types and isinstance(value, bool | int | float):
        return "Write it in quotes."
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    """Write a value for a message, the YAML way where Python's differs, and not at length."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
