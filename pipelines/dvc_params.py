"""What DVC reads of params.yaml, parsed and looked up once."""

import functools
import importlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def params_read_once() -> Iterator[None]:
    """Spare DVC most of its work on unchanged stages, and a part of it on one that runs.

    It parses params.yaml for each stage, for one that runs once to find it and three times when it
    has run, and searches all of it for each dotted key.
    """
    from dvc.utils.serialize import _yaml

    dpath: Any = importlib.import_module("dpath")
    parse, search = _yaml.parse_yaml, dpath.get

    def look_up(values: Any, key: Any, separator: str = "/", **other: Any) -> Any:
        try:
            return functools.reduce(operator.getitem, key.split(separator), values)
        except (KeyError, TypeError):  # a pattern, a place in a list, or not there
            return search(values, key, separator=separator, **other)

    _yaml.parse_yaml, dpath.get = functools.cache(parse), look_up
    try:
        yield
    finally:
        _yaml.parse_yaml, dpath.get = parse, search
