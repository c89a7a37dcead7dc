"""dvc.lock as a flow's stages write it, against what DVC writes."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.cli import parser
from dvc.commands import repro
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml
from project import ROOT

from pipelines import dvc_command
from pipelines.lock_text import stage_texts

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


def quicken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Make DVC quicker for the length of a test."""
    replaced = ((strictyaml, "parse_yaml"), (_yaml, "parse_yaml_for_update"), (_yaml, "_dump"))
    for module, name in replaced:
        monkeypatch.setattr(module, name, getattr(module, name))  # puts it back
    dvc_command.quicken(address)


@pytest.mark.parametrize("address", NAMES)
def test_a_stage_is_read_as_dvc_reads_it(
    lock: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = strictyaml.load(str(lock))
    quicken(monkeypatch, address)
    content, _ = strictyaml.load(str(lock))
    assert content == {"schema": "2.0", "stages": {address: whole["stages"][address]}}


def test_a_stage_that_has_not_run_has_no_entry(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch, "new")
    assert strictyaml.load(str(lock))[0]["stages"] == {}


def test_other_files_are_read_whole(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch, NAMES[0])
    other = lock.rename(lock.with_name("dvc.yaml"))
    assert list(strictyaml.load(str(other))[0]["stages"]) == list(NAMES)


def test_a_conflict_in_another_stage_is_no_part_of_it(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = lock.read_text()
    place = text.index("  record:")
    lock.write_text(f"{text[:place]}<<<<<<< HEAD\n{text[place:]}")
    quicken(monkeypatch, NAMES[0])
    with pytest.raises(strictyaml.YAMLSyntaxError):
        strictyaml.load(str(lock))


@pytest.mark.parametrize(
    "changes",
    [{}, {"new": stage(7)}, {NAMES[0]: stage(8)}, {NAMES[-1]: stage(9), "last": stage(0)}],
    ids=["nothing", "a new one", "the first", "the last and a new one"],
)
def test_the_same_bytes_are_written(
    lock: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_dvc = change(lock, changes)
    quicken(monkeypatch, "new")
    with _yaml.modify_yaml(lock) as data:
        assert isinstance(data, dvc_command.Lock)
    assert change(lock, changes) == by_dvc


def test_the_file_is_written_at_once(lock: Path) -> None:
    texts = stage_texts(lock.read_text())
    content = dvc_command.Lock(texts or {}, {})
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
    quicken(monkeypatch, "new")
    assert without_one() == by_dvc


def test_the_digits_of_other_stages_stay(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # DVC's parser loses the last digit of such a number, and the stage counts as changed.
    rate = 3.350254904151838e-05
    change(lock, {})
    with _yaml.modify_yaml(lock) as data:
        data["stages"][NAMES[0]] = {"cmd": "x", "params": {"params.yaml": {"lr": rate}}}
    quicken(monkeypatch, "new")
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
def test_a_file_that_dvc_did_not_write_so_is_left_to_dvc(text: str) -> None:
    assert stage_texts(text) is None


def test_of_all_commands_it_has_repro_alone() -> None:
    assert repro in parser.COMMANDS
    shown = subprocess.run(
        [sys.executable, "-m", "pipelines.dvc_command", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert " repro " in shown
    assert " checkout " not in shown
