"""dvc.lock as a flow's stages write it, against what DVC writes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.utils.serialize import _yaml

from pipelines import dvc_command

NAMES = ("split@a", "pack@a", "fit@b-2", "record", "trail:ing")
ODD = ["on", "1e3", "2.50", "~", "a: b", "# c", "", "x " * 60, "two\nlines\n", "é", "'q'", "-"]


def stage(seed: int) -> dict[str, Any]:
    """An entry of dvc.lock with values that are hard to write."""
    return {
        "cmd": ["one", "two\nthree"] if seed == 1 else f"python -m stages {seed}",
        "deps": [{"path": f"stages/{seed}.py", "hash": "md5", "md5": f"{seed:032d}", "size": 3}],
        "params": {
            "params.yaml": {
                "recipes.a": {"sha256": "0" * 64, "none": None, "rates": [1e-05, 0.1, 1e22]},
                "odd": dict(enumerate(map(str, range(seed)))) | {"words": list(ODD), "empty": {}},
            }
        },
    }


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "dvc.lock"
    with _yaml.modify_yaml(file) as data:
        data |= {"schema": "2.0", "stages": {n: stage(i) for i, n in enumerate(NAMES)}}
    return file


def change(lock: Path, changes: dict[str, Any]) -> bytes:
    """Do to dvc.lock what DVC does after a stage; return it, and leave it as it was."""
    before = lock.read_bytes()
    with _yaml.modify_yaml(lock) as data:
        data["stages"] = data.get("stages", {})
        data["stages"].update(changes)
    after = lock.read_bytes()
    lock.write_bytes(before)
    return after


@pytest.mark.parametrize(
    "changes",
    [{}, {"new": stage(7)}, {NAMES[0]: stage(8)}, {NAMES[-1]: stage(9), "last": stage(0)}],
    ids=["nothing", "a new one", "the first", "the last and a new one"],
)
def test_the_same_bytes_are_written(
    lock: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_dvc = change(lock, changes)
    monkeypatch.setattr(_yaml, "parse_yaml_for_update", dvc_command.read_lock)
    monkeypatch.setattr(_yaml, "_dump", dvc_command.write_lock)
    with _yaml.modify_yaml(lock) as data:
        assert isinstance(data, dvc_command.Lock)
    assert change(lock, changes) == by_dvc


def test_the_file_is_written_at_once(lock: Path) -> None:
    content = dvc_command.read_lock(lock.read_text(), str(lock))
    content["stages"]["new"] = stage(7)
    written: list[str] = []
    dvc_command.write_lock(content, SimpleNamespace(write=written.append))
    assert len(written) == 1


def test_a_stage_may_go(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_one() -> bytes:
        before = lock.read_bytes()
        with _yaml.modify_yaml(lock) as data:
            del data["stages"][NAMES[1]]
        after = lock.read_bytes()
        lock.write_bytes(before)
        return after

    by_dvc = without_one()
    monkeypatch.setattr(_yaml, "parse_yaml_for_update", dvc_command.read_lock)
    monkeypatch.setattr(_yaml, "_dump", dvc_command.write_lock)
    assert without_one() == by_dvc


def test_the_digits_of_other_stages_stay(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # DVC's parser loses the last digit of such a number, and the stage counts as changed.
    rate = 3.350254904151838e-05
    change(lock, {})
    with _yaml.modify_yaml(lock) as data:
        data["stages"][NAMES[0]] = {"cmd": "x", "params": {"params.yaml": {"lr": rate}}}
    monkeypatch.setattr(_yaml, "parse_yaml_for_update", dvc_command.read_lock)
    monkeypatch.setattr(_yaml, "_dump", dvc_command.write_lock)
    after = change(lock, {"new": stage(7)})
    stages = _yaml.parse_yaml(after.decode(), "dvc.lock")["stages"]
    assert stages[NAMES[0]]["params"]["params.yaml"]["lr"] == rate


@pytest.mark.parametrize(
    "text",
    [
        "schema: '2.0'\ndatasets: []\nstages:\n  a:\n    cmd: b\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: b\n  # said by hand\n  c:\n    cmd: d\n",
        "schema: '2.0'\nstages:\n  a: {cmd: b}\n",
        "schema: '2.0'\nstages: {}\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: &x b\n  c:\n    cmd: *x\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: b",
        "schema: '2.0'\nstages:\n  a:\n    cmd: b  # said by hand\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: b\n...\n",
        "---\nschema: '2.0'\nstages:\n  a:\n    cmd: b\n",
        "stages:\n- a\n",
        "",
    ],
    ids=[
        "datasets",
        "a comment",
        "a flow mapping",
        "no stages",
        "an alias",
        "no last line's end",
        "a comment at a line's end",
        "an end",
        "a beginning",
        "a list",
        "nothing",
    ],
)
def test_a_file_that_dvc_did_not_write_so_is_left_to_dvc(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(text)
    assert not isinstance(dvc_command.read_lock(text, str(lock)), dvc_command.Lock)
