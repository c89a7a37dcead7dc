"""One stage, run through real DVC."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from dvc.lock import DEFAULT_TIMEOUT, Lock
from filelock import FileLock
from project import ROOT
from servers import until

from pipelines.stage_process import LOGS, StageFailedError, TooLongError, run_stage
from pipelines.warm_worker import attached_worker

PYTHON = f"{sys.executable} -c"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True
    )
    return tmp_path


def define(folder: Path, command: str, outs: str = "[]") -> None:
    (folder / "needed").write_text("as it was")
    (folder / "dvc.yaml").write_text(
        f"stages: {{some: {{cmd: '{command}', deps: [needed], outs: {outs}}}}}\n"
    )


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with attached_worker(tmp_path_factory.mktemp("worker") / "log") as address:
        yield address


def test_what_dvc_did_is_told(folder: Path) -> None:
    define(folder, "echo 1 > made", "[made]")
    assert run_stage(folder, "some") == "Ran"
    assert run_stage(folder, "some") == "Unchanged"
    (folder / "made").unlink()
    (folder / "dvc.lock").unlink()
    assert run_stage(folder, "some") == "Restored"
    assert run_stage(folder, "some", is_forced=lambda: True) == "Ran"


def test_whether_to_run_again_is_asked_once_another_flow_has_left_the_stage(folder: Path) -> None:
    define(folder, "echo 1 > made", "[made]")
    assert run_stage(folder, "some") == "Ran"
    asked = threading.Event()

    def is_forced() -> bool:
        asked.set()
        return False

    with ThreadPoolExecutor() as pool:
        with FileLock(folder / LOGS / "some.lock"):  # as another flow holds it
            done = pool.submit(run_stage, folder, "some", is_forced=is_forced)
            assert not asked.wait(1)
        assert done.result() == "Unchanged"
    assert asked.is_set()


def test_a_stage_waits_as_long_as_another_process_of_dvc_has_the_lock(folder: Path) -> None:
    define(folder, "echo 1 > made", "[made]")
    lock = Lock(str(folder / ".dvc/tmp/lock"))
    (folder / ".dvc/tmp").mkdir(exist_ok=True)
    with ThreadPoolExecutor() as pool:
        with lock:
            done = pool.submit(run_stage, folder, "some")
            with pytest.raises(TimeoutError):
                done.result(2 * DEFAULT_TIMEOUT)  # without waiting DVC gives up after this once
        assert done.result() == "Ran"


def test_a_stage_waits_while_another_process_of_dvc_is_at_its_files(folder: Path) -> None:
    define(folder, "echo 1 > made", "[made]")
    (folder / ".dvc/tmp").mkdir(exist_ok=True)
    by_another = {"pid": os.getpid(), "cmd": "dvc repro"}
    busy = folder / ".dvc/tmp/rwlock"
    busy.write_text(json.dumps({"write": {str(folder / "made"): by_another}}))
    said: list[str] = []

    def on_line(line: str) -> None:
        said.append(line)
        if "waits for another DVC process" in line:
            busy.write_text("{}")

    assert run_stage(folder, "some", on_line=on_line) == "Ran"
    assert "some: waits for another DVC process." in said


def test_a_stage_that_only_speaks_of_locks_is_not_tried_for_ever(folder: Path) -> None:
    define(folder, "echo ERROR: Unable to acquire lock; exit 3")
    with pytest.raises(StageFailedError, match=r"^some failed with exit code 3\."):
        run_stage(folder, "some")


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@pytest.mark.parametrize(
    ("command", "end", "passing"),
    [
        (f'{PYTHON} "import os; os.kill(os.getpid(), 9)"', "SIGKILL", True),
        ("exit 75", "exit code 75", True),
        ("exit 3", "exit code 3", False),
    ],
)
def test_a_failure_tells_its_end_and_whether_to_try_again(
    folder: Path, command: str, end: str, passing: bool, shell: str
) -> None:
    define(folder, f"echo the reason; {command}")
    with pytest.raises(StageFailedError, match=f"^some failed with {end}.") as caught:
        run_stage(folder, "some", environment={"SHELL": shell})
    assert caught.value.passing == passing
    assert "the reason" in str(caught.value)


def test_a_stage_that_takes_too_long_is_ended(folder: Path) -> None:
    define(folder, "sleep 4321")
    with pytest.raises(TooLongError, match="some was ended after 10 seconds: dvc"):
        run_stage(folder, "some", timeout=10)
    assert not [p for p in psutil.process_iter(["cmdline"]) if "4321" in (p.info["cmdline"] or [])]


PROBE = """
import json, os, pathlib, psutil, sys, time
told = {"stage": os.environ["DVC_STAGE"], "given": os.environ["GIVEN"], "said": sys.argv[1:]}
forked = "pipelines.warm_worker" in psutil.Process().cmdline()
pathlib.Path("made").write_text(json.dumps({**told, "forked": forked}))
print("to the log")
if sys.argv[1:] == ["killed"]:
    os.kill(os.getpid(), 9)
if sys.argv[1:] == ["sleeping"]:
    time.sleep(600)
sys.exit(int(sys.argv[1]))
"""


def probe(folder: Path, worker: Path, command: str, timeout: float = 60) -> tuple[str, list[str]]:
    """Run a stage in forks of a worker; return what became of it, and what it printed."""
    for package in ("pipelines", "stages", "thaw"):  # a fork reads them from the project's folder
        (folder / package).symlink_to(ROOT / package)
    (folder / "probe.py").write_text(PROBE)
    define(folder, command, "[made]")
    said: list[str] = []
    done = run_stage(
        folder, "some", worker=worker, environment={"GIVEN": "here"},
        timeout=timeout, on_line=said.append,
    )  # fmt: skip
    return done, said


@pytest.mark.parametrize("more", ["", "; true"])
def test_a_worker_is_asked_for_a_stage_without_a_shell_where_none_is_needed(
    folder: Path, worker: Path, more: str
) -> None:
    done, said = probe(folder, worker, f"python -m probe 0{more}")
    assert done == "Ran"
    assert "to the log" in said
    found = json.loads((folder / "made").read_text())
    assert found == {"stage": "some", "given": "here", "said": ["0"], "forked": not more}


@pytest.mark.parametrize(
    ("said", "end", "passing"), [("75", "exit code 75", True), ("killed", "SIGKILL", True),
    ("3", "exit code 3", False)],
)  # fmt: skip
def test_a_failure_in_a_worker_tells_its_end_and_whether_to_try_again(
    folder: Path, worker: Path, said: str, end: str, passing: bool
) -> None:
    with pytest.raises(StageFailedError, match=f"^some failed with {end}.") as caught:
        probe(folder, worker, f"python -m probe {said}")
    assert caught.value.passing == passing
    assert "to the log" in str(caught.value)


def test_a_stage_in_a_worker_that_takes_too_long_is_ended(folder: Path, worker: Path) -> None:
    before = set(psutil.pids())
    with pytest.raises(TooLongError, match="some was ended after 10 seconds: dvc"):
        probe(folder, worker, "python -m probe sleeping", timeout=10)
    assert (folder / "made").exists()
    until(lambda: not left_in(folder, before), "end of the stage")


def left_in(folder: Path, before: set[int]) -> list[int]:
    """List the processes begun since that have this working directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in before and process.cwd() == str(folder):
                found.append(process.pid)
    return found
