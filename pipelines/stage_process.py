"""Run one stage through DVC in a process group of its own, and say what became of it."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from pipelines import guard
from stages.warm import ADDRESS, Remote, start
from thaw.errors import UserError

LOGS = Path(".thaw", "logs")
TAIL = 20  # lines of a log in a message
OUTCOMES = {
    "Running stage": "Ran",
    "is cached - skipping run": "Restored",
    "didn't change, skipping": "Unchanged",
}
# Ends after which another try can help.
PASSING = (f"exit code {os.EX_TEMPFAIL}", "SIGKILL", "SIGTERM")
SECONDS_BETWEEN_LOOKS = 0.25
# What DVC says after every stage, for people who run it by hand.
ADVICE = (
    "To track the changes with git", "git add ", "To enable auto staging",
    "dvc config core.autostage", "Use `dvc push`", "Updating lock file", "Generating lock file",
)  # fmt: skip


class StageFailedError(Exception):
    """A stage ended badly.

    Attributes:
        passing: whether another try can help.
    """

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


class StoppedError(StageFailedError):
    """The flow ended before the stage did."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address}: stopped with the flow", passing=False)


class TooLongError(StageFailedError):
    """The stage took longer than its `meta:` allows."""

    def __init__(self, address: str, timeout: float) -> None:
        super().__init__(
            f"{address} was ended after {timeout:g} seconds: dvc.yaml, `meta: timeout` of "
            f"{address.partition('@')[0]}. Allow it more, or give it less to do.",
            passing=False,
        )


def run_stage(
    root: Path,
    address: str,
    *,
    force: bool = False,
    environment: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    timeout: float = math.inf,
    worker: Path | None = None,
    on_line: Callable[[str], None] = print,
    on_look: Callable[[], None] = lambda: None,
) -> str:
    """Let DVC reproduce a single stage; wait for other processes' locks instead of failing.

    Args:
        root: the project's folder.
        address: such as ``fit_frozen@pets_sample``.
        force: run it even if nothing changed.
        environment: on top of this process's.
        stop: ends the stage and all its processes when set.
        timeout: seconds after which they are ended as well.
        worker: a warm worker's address.
        on_line: gets each line that the stage prints.
        on_look: called a few times a second.

    Returns:
        ``Ran``, ``Restored`` from DVC's cache, or ``Unchanged``.

    Raises:
        StageFailedError: with the address, the exit code, where the log is and how it ends.
    """
    dvc = ["--wait-for-lock", "repro", "--single-item", address, *(["--force"] if force else [])]
    log = root / LOGS / f"{address}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    all_of_it = os.environ | dict(environment or {}) | _for_stages()
    deadline = time.monotonic() + timeout
    with (
        log.open("w", encoding="utf-8") as output,
        log.open(encoding="utf-8", errors="replace") as written,
        _start_dvc(dvc, root, all_of_it, output, worker) as process,
    ):
        rest = ""
        while (code := process.wait(SECONDS_BETWEEN_LOOKS)) is None:
            rest = _forward(rest + written.read(), on_line)
            on_look()
            if stop is not None and stop.is_set():
                raise StoppedError(address)
            if time.monotonic() > deadline:
                raise TooLongError(address, timeout)
        _forward(rest + written.read() + "\n", on_line)
        on_look()
    text = log.read_text(encoding="utf-8", errors="replace")
    if code:
        raise _failure(address, code, text, log.relative_to(root))
    return outcome(text)


def outcome(text: str) -> str:
    """Read from DVC's output what it did.

    Raises:
        UserError: it says nothing of what is known here; another version of DVC might.
    """
    for phrase, name in OUTCOMES.items():
        if phrase in text:
            return name
    raise UserError(f"DVC says nothing of what it did with the stage: {text[-500:]}")


def _for_stages() -> dict[str, str]:
    """Let `python` in dvc.yaml be this one, and let lines come as they are printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"PATH": path, "PYTHONUNBUFFERED": "1"}


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


def _start_dvc(
    arguments: Sequence[str],
    root: Path,
    environment: Mapping[str, str],
    output: TextIO,
    worker: Path | None,
) -> Remote | Guarded:
    """Start DVC in a fork of the worker or, if that cannot be, in a process of its own."""
    if worker is not None:
        told = {**environment, ADDRESS: str(worker)}
        with Path(os.devnull).open() as nothing:
            streams = (nothing.fileno(), output.fileno(), output.fileno())
            remote = start(worker, "dvc", arguments, cwd=root, environment=told, streams=streams)
        if remote is not None:
            return remote
    dvc = [sys.executable, "-m", "dvc", *arguments]
    return Guarded(dvc, cwd=root, env=environment, stdout=output)


def _forward(text: str, on_line: Callable[[str], None]) -> str:
    """Hand on the whole lines; return what is left, a line that is still being written."""
    *lines, rest = text.split("\n")
    for line in lines:
        if line.strip() and not line.strip().startswith(ADVICE):
            on_line(line.rstrip())
    return rest


def _failure(address: str, code: int, text: str, log: Path) -> StageFailedError:
    told = re.findall(r"exited with (-?\d+)", text)
    end = ending(int(told[-1]) if told else code)
    locked = "Unable to acquire lock" in text or "is busy, it is being blocked" in text
    tail = "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-TAIL:])
    return StageFailedError(
        f"{address} failed with {end}. {log} ends:\n{tail}", passing=locked or end in PASSING
    )


def ending(code: int) -> str:
    """Say how a process ended; a shell that waited for it says a signal as 128 and its number."""
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return signal.Signals(number).name
    return f"exit code {code}"
