"""Run a command that must not outlive the one who asked for it: `python guard.py COMMAND...`.

Whoever starts the guard holds the other end of its standard input. Once that closes, on purpose
or because its holder was killed (`kill -9` too), the guard ends the command's whole process group.
It needs nothing but Python's own library, so that it starts in milliseconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType

PATIENCE = 5.0  # seconds between asking and killing


def main(command: list[str]) -> int:
    """Run the command in a process group of its own.

    Returns:
        Its exit code; 128 and the signal's number if a signal ended it, as a shell says it.
    """
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Not here, where it would hold up the waiting for what it waits for itself.
        threading.Thread(target=end, args=[child], daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    threading.Thread(target=end_with_input, args=[child], daemon=True).start()
    code = child.wait()
    signal_group(child.pid, signal.SIGKILL)  # whatever the command left behind
    return code if code >= 0 else 128 - code


def end_with_input(child: subprocess.Popen[bytes]) -> None:
    """Wait until nobody holds the other end of standard input, then end the command."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask the command's process group to end; kill it if it does not."""

    def ended(patience: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)

    end_group(child.pid, ended)


def end_group(group: int, wait: Callable[[float], object]) -> None:
    """Ask a process group to end; kill what is left of it.

    Args:
        group: its number, which is its first process's.
        wait: returns when that process has ended, or after so many seconds.
    """
    signal_group(group, signal.SIGTERM)
    wait(PATIENCE)
    signal_group(group, signal.SIGKILL)


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to all processes of a group that are left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
