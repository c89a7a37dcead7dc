"""Run a stage and kill this process, as `kill -9` would, at the n-th call of a function.

    python kill_at.py pathlib.Path.replace 3 fit_frozen tiny

The function is named by module and attribute; the process dies just before the call is made.
"""

import functools
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any


def find(name: str) -> tuple[Any, str]:
    """Return the holder of a function and the function's name in it."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            holder = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:-1]:
            holder = getattr(holder, part)
        return holder, parts[-1]
    raise ModuleNotFoundError(name)


def kill_at(name: str, call: int) -> None:
    """Arrange for the kill."""
    holder, attribute = find(name)
    original = getattr(holder, attribute)
    calls = 0

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(holder, attribute, wrapped)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    kill_at(sys.argv[1], int(sys.argv[2]))
    from stages.command import main

    sys.exit(main(sys.argv[3:]))
