"""What the flow asks DVC for, and what it spares it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from project import ROOT

from pipelines.changes import find_changes
from pipelines.graph import are_files_guarded, sort_lock
from thaw.core.errors import UserError

PIPELINE = """
stages:
  split:
    foreach: ${recipes}
    do:
      cmd: echo ${item.seed} > ${key}.txt
      params: ["recipes.${key}.seed"]
      outs: ["${key}.txt"]
"""
# In a process of its own: one with threads had better not be forked.
AHEAD = """
from pathlib import Path
from pipelines.changes import Ahead, find_changes
ahead = Ahead(Path.cwd())
"""


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("{}", False),
        ('{"write": {}, "read": {}}', False),
        ('{"write": {}, "read": {"/data/x": [{"pid": 7, "cmd": "dvc repro"}]}}', True),
        ('{"write": {"/data/x": {"pid": 7, "cmd": "dvc repro"}}}', True),
        ('{"write": {"/da', True),  # somebody was killed: DVC is to say so
        ("", True),
    ],
)
def test_files_that_another_process_works_on_are_left_alone(
    tmp_path: Path, text: str, guarded: bool
) -> None:
    noted = tmp_path / "rwlock"
    assert not are_files_guarded(noted)
    noted.write_text(text)
    assert are_files_guarded(noted) == guarded


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two recipes of one stage; that of `done` has run."""
    (tmp_path / "params.yaml").write_text("recipes: {done: {seed: 1}, new: {seed: 2}}\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    for command in ("git init -q", "dvc init -q", "dvc repro -q split@done"):
        subprocess.run(command.split(), cwd=tmp_path, check=True)
    return tmp_path


def look_ahead(project: Path, *lines: str) -> str:
    """Run lines after a look ahead; return what is printed."""
    code = "\n".join([f"import sys; sys.path.insert(0, {str(ROOT)!r})", AHEAD, *lines])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, check=True, capture_output=True, text=True
    )
    assert not done.stderr
    return done.stdout


def test_another_process_finds_the_same_changes(project: Path) -> None:
    said = look_ahead(
        project,
        "found = ahead.changes(Path.cwd())",
        "print(found.order, found.stale, found.of(['done']).stale)",
        "print(found == find_changes(Path.cwd()))",
        "print(found.of(['new']) == find_changes(Path.cwd(), ['new']))",
    )
    assert said == "['split@done', 'split@new'] {'split@new'} set()\nTrue\nTrue\n"


@pytest.mark.parametrize("file", ["params.yaml", "dvc.yaml", "dvc.lock", "stages/new.py"])
def test_what_was_found_before_an_edit_does_not_count(project: Path, file: str) -> None:
    (project / "stages").mkdir()
    edit = f"open({file!r}, 'a').write('# edited')"
    assert look_ahead(project, edit, "print(ahead.changes(Path.cwd()))") == "None\n"


def test_what_was_found_long_ago_does_not_count(project: Path) -> None:
    later = "import time; now = time.monotonic; time.monotonic = lambda: now() + 11"
    assert look_ahead(project, later, "print(ahead.changes(Path.cwd()))") == "None\n"


def test_files_that_others_work_on_are_left_to_the_flow(project: Path) -> None:
    """DVC would note each file that it looks at, and a note half written stops all that run."""
    noted = project / ".dvc/tmp/rwlock"
    text = json.dumps({"write": {str(project / "new.txt"): {"pid": os.getpid(), "cmd": "dvc"}}})
    noted.write_text(text)
    changed = noted.stat().st_mtime_ns
    assert look_ahead(project, "print(ahead.changes(Path.cwd()))") == "None\n"
    assert (noted.read_text(), noted.stat().st_mtime_ns) == (text, changed)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 3.0])
def test_the_other_process_ends_with_the_one_that_asked(project: Path, seconds: float) -> None:
    # An answer that is longer than a pipe holds, and that nobody reads.
    recipes = {f"recipe{number}": {"seed": "1" * 500} for number in range(200)}
    (project / "params.yaml").write_text(json.dumps({"recipes": recipes}))
    deaf = "from pipelines import changes; changes.Ahead._wait = lambda *_: None"
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    code = [path, deaf, AHEAD, "print(ahead._process)"]
    die = f"import os, time; sys.stdout.flush(); time.sleep({seconds}); os.kill(os.getpid(), 9)"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*code, die])],
        cwd=project, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL  # and nobody holds its output any more
    deadline = time.monotonic() + 20
    while psutil.pid_exists(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_stages_would_refuse_is_found_ahead(project: Path) -> None:
    said = look_ahead(project, "print(*ahead.changes(Path.cwd()).refusals.items())")
    assert said.startswith("('new', ")
    assert "done" not in said  # nothing of it is stale


def test_half_an_answer_does_not_count(project: Path) -> None:
    half = "import os; from pipelines import changes; changes.refusals = lambda *_: os._exit(0)"
    code = [f"import sys; sys.path.insert(0, {str(ROOT)!r})", half, AHEAD]
    tell = "print(ahead.changes(Path.cwd()))"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*code, tell])],
        cwd=project, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("None\n", "")


ENTRIES = {name: f"  {name}:\n    cmd: echo {name}\n" for name in ("one", "two", "old", "three")}


def write_lock(project: Path, *names: str, text: str = "") -> str:
    content = f"schema: '2.0'\nstages:\n{''.join(ENTRIES[name] for name in names)}{text}"
    (project / "dvc.lock").write_text(content)
    return content


def test_a_lock_is_put_in_order(project: Path) -> None:
    sort_lock(project, ["one", "two", "three"])
    assert (project / "dvc.lock").exists()  # with `split@done`, of which nobody was told
    write_lock(project, "old", "three", "two")
    sort_lock(project, ["one", "two", "three"])
    assert (project / "dvc.lock").read_text() == write_lock(project, "two", "three", "old")


def test_a_lock_that_someone_wrote_in_is_left_as_it_is(project: Path) -> None:
    text = write_lock(project, "two", "one", text="# mine\n")
    sort_lock(project, ["one", "two"])
    assert (project / "dvc.lock").read_text() == text


def test_a_lock_in_order_is_not_written(project: Path) -> None:
    write_lock(project, "one", "two")
    before = (project / "dvc.lock").stat()
    sort_lock(project, ["one", "two"])
    after = (project / "dvc.lock").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_lock_that_is_being_written_is_waited_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_lock(project, "two", "one")
    (project / "dvc.lock").write_text(whole[:-5])
    from dvc.repo import Repo

    class Finished(Repo):
        """As if the other process had ended by the time that the lock is had."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            (project / "dvc.lock").write_text(whole)

    monkeypatch.setattr("dvc.repo.Repo", Finished)
    sort_lock(project, ["one", "two"])
    assert (project / "dvc.lock").read_text() == write_lock(project, "one", "two")


def test_what_was_found_in_another_folder_does_not_count(project: Path) -> None:
    assert look_ahead(project, "print(ahead.changes(Path('elsewhere')))") == "None\n"


def test_where_there_is_no_project_the_flow_says_so(tmp_path: Path) -> None:
    assert look_ahead(tmp_path, "print(ahead.changes(Path.cwd()))") == "None\n"
    with pytest.raises(UserError, match="no project with DVC"):
        find_changes(tmp_path)
