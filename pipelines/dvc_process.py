"""DVC in a process group of its own, which ends with this process, however that ends."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from pipelines import guard
from stages.warm import ADDRESS, DEFAULT_ADDRESS, Remote, start

QUICK = "pipelines.dvc_command"


class Guarded:
    """A command behind guard.py, which ends with this object, or with this process.

    Args:
        command: to run.
        settings: for Popen.
    """

    def __init__(self, command: Sequence[str], **settings: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *command],
            stdin=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **settings,
        )

    def wait(self, timeout: float) -> int | None:
        """Return the exit code, or None after so many seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()  # closes its input, which ends it if it has not


def start_dvc(
    arguments: Sequence[str],
    root: Path,
    environment: Mapping[str, str],
    output: TextIO,
    worker: Path | None,
) -> Remote | Guarded:
    """Start DVC in a fork of the worker or, if that cannot be, in a process of its own.

    Args:
        arguments: its command line.
        root: where it runs.
        environment: on top of this process's.
        output: gets what DVC and the stage print.
        worker: a warm worker's address.
    """
    environment = os.environ | dict(environment) | _for_stages()
    if worker is not None:
        told = {**environment, ADDRESS: str(worker)}
        with Path(os.devnull).open() as nothing:
            streams = (nothing.fileno(), output.fileno(), output.fileno())
            remote = start(worker, QUICK, arguments, cwd=root, environment=told, streams=streams)
        if remote is not None:
            return remote
    dvc = [sys.executable, "-m", "dvc", *arguments]
    # The address where one would be anyway: named, so that no stage starts one for itself alone.
    environment.setdefault(ADDRESS, str(DEFAULT_ADDRESS))
    return Guarded(dvc, cwd=root, env=environment, stdout=output)


def _for_stages() -> dict[str, str]:
    """Let `python` in dvc.yaml be this one, and let lines come as they are printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"PATH": path, "PYTHONUNBUFFERED": "1"}
