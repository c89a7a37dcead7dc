"""Progress: a bar on a terminal, plain lines elsewhere."""

import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from thaw.core import progress

ROOT = Path(__file__).parents[2]


def test_items_pass_through_and_the_end_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track(iter("abc"), 3, "pack")) == ["a", "b", "c"]
    assert capsys.readouterr().out == "pack: 3 of 3, 0 s\n"


def test_a_brief_loop_tells_only_that_it_is_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(progress.track("abc", 3, "epoch 0", brief=True)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    list(progress.track("abc", 3, "epoch 0", brief=True))
    assert capsys.readouterr().out.splitlines()[0] == "epoch 0: 1 of 3, 0 s"


def test_lines_come_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    list(progress.track("abc", 3, "pack"))
    assert capsys.readouterr().out.splitlines() == [f"pack: {i} of 3, 0 s" for i in (1, 2, 3)]


def test_a_terminal_gets_a_bar() -> None:
    terminal, program_end = os.openpty()
    termios.tcsetwinsize(program_end, (24, 80))
    code = "from thaw.core.progress import track; print(list(track('abc', 3, 'pack')))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=program_end,
        stdout=subprocess.PIPE,
        check=True,
    )
    os.close(program_end)
    assert done.stdout == b"['a', 'b', 'c']\n"
    assert b"pack: 100%" in os.read(terminal, 65536)
    os.close(terminal)
