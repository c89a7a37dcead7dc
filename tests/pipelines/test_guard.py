"""Commands that end with whoever asked for them."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from project import ROOT
from servers import until

from pipelines.dvc_process import Guarded

SLEEP = "import os, time; os.fork(); time.sleep({})"


def alive(seconds: str) -> bool:
    """Whether a process that sleeps so long is there."""
    wanted = SLEEP.format(seconds)
    return any(wanted in (p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))


def test_a_command_and_its_children_end_with_the_block() -> None:
    with Guarded([sys.executable, "-c", SLEEP.format(4331)]) as guarded:
        until(lambda: alive("4331"), "command")
        assert guarded.wait(0.01) is None
    assert not alive("4331")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_command_and_its_children_end_with_the_process_that_asked(
    number: signal.Signals, tmp_path: Path
) -> None:
    code = (
        "import sys, time; from pipelines.dvc_process import Guarded\n"
        f"with Guarded([sys.executable, '-c', {SLEEP.format(4332)!r}]): time.sleep(600)"
    )
    asker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    until(lambda: alive("4332"), "command")
    asker.send_signal(number)
    asker.wait()
    until(lambda: not alive("4332"), "end of the command")


@pytest.mark.parametrize(
    ("command", "code"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
)
def test_its_exit_code_is_told_as_a_shell_does(command: str, code: int) -> None:
    with Guarded([sys.executable, "-c", command]) as guarded:
        assert guarded.wait(60) == code
