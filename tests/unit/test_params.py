"""Parameter classes: strict, frozen, and messages that say what, where and what to do."""

from dataclasses import FrozenInstanceError
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean, params, parse, some_of
from thaw.params.split import FoldsSplit, RandomSplit, Split
from thaw.params.training.data import Data


@params
class Inner:
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    words: list[str] = Field(default_factory=list)


@params
class Outer:
    count: int = 1
    flag: bool = False
    colour: Literal["red", "green"] = "red"
    rate: Annotated[float, Field(gt=0)] | Literal["auto"] | list[float] = 0.1
    inner: Inner | None = None

    def __post_init__(self) -> None:
        if self.count == 13:
            raise ValueError("count 13 is unlucky. Take 12.")


def problems(cls: Any, values: dict[str, Any]) -> list[str]:
    with pytest.raises(UserError) as caught:
        parse(cls, values, "recipes.pets")
    return str(caught.value).splitlines()


def test_plain_values_become_a_frozen_object() -> None:
    outer = parse(Outer, {"count": 3, "rate": [1, 2.5], "inner": {"share": 0.25}}, "r")
    assert outer == Outer(count=3, rate=[1.0, 2.5], inner=Inner(share=0.25))
    with pytest.raises(FrozenInstanceError):
        outer.count = 4  # type: ignore[misc]


def test_a_whole_number_is_a_number() -> None:
    assert parse(Outer, {"rate": 1}, "r").rate == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, ".cuont: unknown key; did you mean 'count'?"),
        ({"zzz": 1}, ".zzz: unknown key; known: count, flag, colour, rate, inner."),
        ({"count": "3"}, ".count: '3' is not a whole number. Write the number without quotes."),
        ({"count": 1.5}, ".count: 1.5 is not a whole number."),
        ({"count": True}, ".count: true is not a whole number."),
        ({"count": None}, ".count: null is not a whole number."),
        ({"flag": "yes"}, ".flag: 'yes' is not true or false."),
        ({"colour": "gren"}, ".colour: 'gren' is not 'red' or 'green'. Did you mean 'green'?"),
        ({"count": 13}, ": count 13 is unlucky. Take 12."),
        ({"inner": 3}, ".inner: 3 is not a mapping."),
        ({"inner": {"shrae": 1}}, ".inner.shrae: unknown key; did you mean 'share'?"),
        ({"inner": {"share": 2}}, ".inner.share: 2: it must be less than 1."),
        ({"inner": {"share": float("nan")}}, ".inner.share: nan: it must be a finite number."),
        ({"inner": {"words": "a"}}, ".inner.words: 'a' is not a list. Write it as a list: [...]."),
        ({"inner": {"words": ["a", 13]}}, ".inner.words[1]: 13 is not text. Write it in quotes."),
    ],
)
def test_message(values: dict[str, Any], message: str) -> None:
    assert problems(Outer, values) == [f"recipes.pets{message}"]


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("atuo", "'atuo' is not a number or a list or 'auto'. Did you mean 'auto'?"),
        (-1, "-1: it must be greater than 0."),
        ("1e-3", "'1e-3' is not a number or a list or 'auto'. Write the number without quotes."),
    ],
)
def test_a_union_of_types_gives_one_message(rate: Any, message: str) -> None:
    assert problems(Outer, {"rate": rate}) == [f"recipes.pets.rate: {message}"]


def test_an_error_inside_a_list_of_a_union_names_the_element() -> None:
    assert problems(Outer, {"rate": [1, "x"]}) == ["recipes.pets.rate[1]: 'x' is not a number."]


def test_all_problems_are_told_at_once() -> None:
    told = problems(Outer, {"count": "x", "flagg": 1, "inner": {"share": 0, "wrods": []}})
    assert [line.split(":")[0] for line in told] == [
        f"recipes.pets.{key}" for key in ("count", "inner.share", "inner.wrods", "flagg")
    ]


@pytest.mark.parametrize("key", ["size", "nfiles"])
def test_keys_that_dvc_ignores_are_refused_once(key: str) -> None:
    (told,) = problems(Outer, {"inner": {key: 1}})
    assert told.startswith(f"recipes.pets.inner.{key}: a parameter must not be called '{key}'")


def split(label: Any = None, by: Any = None, **more: Any) -> dict[str, Any]:
    return {"label": label or {"rule": "folder"}, "by": by or {"rule": "random"}, **more}


def test_a_tag_chooses_the_class_and_defaults_fill_it() -> None:
    assert parse(Split, split(), "r").by == RandomSplit(rule="random", valid=0.2, stratify=False)
    chosen = parse(Split, split(by={"rule": "folds", "of": "stratified", "fold": 2}), "r").by
    assert chosen == FoldsSplit(rule="folds", of="stratified", folds=5, fold=2, column=None)


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        (
            split(by={"rule": "random", "valdi": 0.2}),
            [".by.valdi: unknown key; did you mean 'valid'?"],
        ),
        (
            split(by={"rule": "random", "valid": "0.2"}),
            [".by.valid: '0.2' is not a number. Write the number without quotes."],
        ),
        (
            split(by={"rule": "randm"}),
            [".by.rule: 'randm' is unknown; did you mean 'random'?"],
        ),
        (
            split(by={"rule": "zzz"}),
            [".by.rule: 'zzz' is unknown; known: random, time, column, folder, group, folds."],
        ),
        (
            split(by={"valid": 0.2}),
            [".by.rule: missing. Add one of random, time, column, folder, group, folds."],
        ),
        (split(by="random"), [".by: 'random' is not a mapping."]),
        (
            # The tag, a key of the class and the value all have the same name.
            split(by={"rule": "column", "column": 3}),
            [".by.column: 3 is not text. Write it in quotes."],
        ),
        (
            split(by={"rule": "group", "column": "person", "valid": [13, "14"]}),
            [".by.valid[0]: 13 is not text. Write it in quotes."],
        ),
        (
            split(label={"rule": "csv", "file": "a.csv", "delimiter": "tab"}),
            [
                ".label.path: missing. Add the key.",
                ".label.column: missing. Add the key.",
                ".label.delimiter: 'tab': string should have at most 1 character.",
            ],
        ),
        (
            split(by={"rule": "folds", "of": "random", "folds": 3, "fold": 3}),
            [".by: fold 3 does not exist: 3 folds are 0 to 2."],
        ),
        (
            split(by={"rule": "folds", "of": "group"}),
            [".by: column is for `of: group`: give both or neither (of: group, column: null)."],
        ),
        (
            split(by={"rule": "folder", "train": "a", "valid": "a"}),
            [".by: train and valid are both 'a'. Name two folders."],
        ),
        (
            split(label={"rule": "regex", "pattern": r"(.+_\d"}),
            [
                r".label: pattern '(.+_\d' is not a regular expression: "
                "missing ), unterminated subpattern at position 0."
            ],
        ),
        (
            split(label={"rule": "regex", "pattern": ".+"}),
            [".label: pattern '.+' has no group. Put round brackets around the label."],
        ),
        (split(classes=["a", "b", "a"]), [": classes lists a twice. Leave one of each."]),
        (
            split(columns="(?P<label>.)/"),
            [": columns must not be called label. Rename the groups."],
        ),
        (
            split(columns="(.)/"),
            [": columns '(.)/' has no named group. Write (?P<name>...)."],
        ),
    ],
)
def test_split_messages(values: dict[str, Any], messages: list[str]) -> None:
    assert sorted(problems(Split, values)) == sorted(f"recipes.pets{line}" for line in messages)


@pytest.mark.parametrize("folder", ["/data", "../other", "a/../b", "a\\b"])
def test_the_data_folder_stays_inside_the_archive(folder: str) -> None:
    (told,) = problems(Data, {"folder": folder})
    assert told.startswith(f"recipes.pets: folder '{folder}' must be inside the archive")


def test_long_lists_are_cut() -> None:
    assert some_of("abc") == "a, b, c"
    assert some_of(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


def test_did_you_mean() -> None:
    assert did_you_mean("valdi", ["valid", "train"]) == "did you mean 'valid'?"
    assert did_you_mean("x", ["valid", "train"]) == "known: valid, train."
    assert did_you_mean("x", []) == "nothing is known here."
