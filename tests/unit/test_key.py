"""Keys change with everything that a result depends on, and with nothing else."""

import importlib
import os
import sys

import pytest

from stages.common.key import content_key, loaded_modules
from thaw.params.training.augment import Augment
from thaw.params.training.fit import Fit


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Source of a module that can be imported as `some_module`."""
    path = tmp_path / "modules" / "some_module.py"
    path.parent.mkdir()
    path.write_text("ANSWER = 1\n")
    monkeypatch.syspath_prepend(path.parent)
    yield path
    sys.modules.pop("some_module", None)


@pytest.fixture
def file(tmp_path):
    """An input file."""
    path = tmp_path / "packed.bin"
    path.write_bytes(b"pixels")
    return path


def key(values, files=(), modules=()):
    return content_key(values, files, modules)


FIT = {"epochs": 3, "lr": [1e-6, "auto"]}


def test_keys_are_32_digits_and_the_same_for_the_same(file, module):
    values = {"seed": 42, "fit": Fit(**FIT), "none": None, "rates": [1e-3, 1e-4]}
    first = key(values, [file], ["some_module"])
    assert len(first) == 32
    assert set(first) <= set("0123456789abcdef")
    backwards = dict(reversed(list(values.items())))
    assert key(backwards | {"fit": Fit(**FIT)}, [file], ["some_module"]) == first


@pytest.mark.parametrize(
    "changed",
    [
        {"epochs": 4},
        {"lr": [1e-6, 1e-4]},
        {"lr": 1e-6},
        {"moms": [0.95, 0.85, 0.94]},
        {"metrics": ["accuracy"]},
        {"weight_decay": 0.1},
    ],
)
def test_a_changed_parameter_changes_the_key(changed):
    assert key({"fit": Fit(**FIT)}) != key({"fit": Fit(**FIT | changed)})


def test_nested_and_plain_values_count(file):
    assert key({"augment": Augment(image_side=64)}) != key(
        {"augment": Augment(image_side=[64, 64])}
    )
    assert key({"seed": 42}) != key({"seed": 43})
    assert key({"seed": 42}) != key({"threads": 42})
    assert key({"lrs": [1e-3, 1e-4]}) != key({"lrs": [1e-4, 1e-3]})
    assert key({"y_range": None}) != key({"y_range": "None"})


def test_a_files_content_and_name_count_but_not_its_time(file, tmp_path):
    before = key({}, [file])
    os.utime(file, (1, 1))
    assert key({}, [file]) == before
    other = tmp_path / "packed.parquet"
    other.write_bytes(file.read_bytes())
    assert key({}, [other]) != before
    assert key({}, [file, other]) != before
    assert key({}, [other, file]) == key({}, [file, other])
    file.write_bytes(b"other pixels")
    assert key({}, [file]) != before


def test_a_missing_file_has_no_key(tmp_path):
    with pytest.raises(FileNotFoundError):
        key({}, [tmp_path / "none"])


@pytest.mark.parametrize("imported", [False, True])
def test_a_modules_source_counts_but_not_its_time(module, imported):
    if imported:
        importlib.import_module("some_module")
    before = key({}, [], ["some_module"])
    os.utime(module, (1, 1))
    assert key({}, [], ["some_module"]) == before
    assert key({}, [], ["some_module", "thaw.core.errors"]) != before
    module.write_text("ANSWER = 2\n")
    assert key({}, [], ["some_module"]) != before


def test_an_unknown_module_has_no_key():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        key({}, [], ["no_such_module"])


def test_loaded_modules_are_this_projects_own():
    names = loaded_modules()
    assert "stages.common.key" in names
    assert "thaw.params.training.fit" in names
    assert names == sorted(names)
    assert {name.split(".")[0] for name in names} <= {"thaw", "stages"}
    assert "thaw" not in names
    key({}, [], names)  # all of them have a source
