"""Run one stage through DVC in a process group of its own, and say what became of it."""

import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.dvc_process import Guarded, start_dvc
from stages.warm import Remote
from thaw.core.errors import UserError

LOGS = Path(".thaw", "logs")
TAIL = 20  # lines of a log in a message
OUTCOMES = {
    "Running stage": "Ran",
    "is cached - skipping run": "Restored",
    "didn't change, skipping": "Unchanged",
}
# How DVC's last error begins when the files are another process's.
BUSY = ("Unable to acquire lock", "is busy, it is being blocked")
# Ends after which another try can help.
PASSING = (f"exit code {os.EX_TEMPFAIL}", "SIGKILL", "SIGTERM")
SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_BETWEEN_TRIES = 5.0  # while DVC is at the same files for somebody else
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
    is_forced: Callable[[], bool] = lambda: False,
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
        is_forced: whether to run it even if nothing changed; asked once no other flow is at it.
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
    dvc = ["--wait-for-lock", "repro", "--single-item", address]
    log = root / LOGS / f"{address}.log"
    log.parent.mkdir(parents=True, exist_ok=True)

    def go_on() -> None:
        if stop is not None and stop.is_set():
            raise StoppedError(address)

    def look() -> None:
        go_on()
        on_look()

    with _turn(log.with_suffix(".lock"), go_on):
        if is_forced():
            dvc.insert(-1, "--force")
        while True:
            with log.open("w", encoding="utf-8") as output:
                process = start_dvc(dvc, root, environment or {}, output, worker)
            code = _follow(process, log, address, timeout, on_line, look)
            text = log.read_text(encoding="utf-8", errors="replace")
            if not code or not _is_busy(text):
                break
            on_line(f"{address}: waits for another DVC process.")
            _wait(SECONDS_BETWEEN_TRIES, go_on)
    if code:
        raise _failure(address, code, text, Path(os.path.relpath(log)))
    return outcome(text)


@contextmanager
def _turn(lock: Path, go_on: Callable[[], None]) -> Iterator[None]:
    """Wait until no other flow is at the stage: two would write one log."""
    turn = FileLock(lock)
    while True:
        try:
            turn.acquire(timeout=SECONDS_BETWEEN_LOOKS)
            break
        except Timeout:
            go_on()
    try:
        yield
    finally:
        turn.release()


def _wait(seconds: float, go_on: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        go_on()


def _follow(
    process: Remote | Guarded,
    log: Path,
    address: str,
    timeout: float,
    on_line: Callable[[str], None],
    look: Callable[[], None],
) -> int:
    """Hand on what is written to the log until the process has ended; return its exit code."""
    deadline = time.monotonic() + timeout
    with process, log.open(encoding="utf-8", errors="replace") as written:
        rest = ""
        while (code := process.wait(SECONDS_BETWEEN_LOOKS)) is None:
            rest = _forward(rest + written.read(), on_line)
            look()
            if time.monotonic() > deadline:
                raise TooLongError(address, timeout)
        _forward(rest + written.read() + "\n", on_line)
        look()
    return code


def _is_busy(text: str) -> bool:
    """Say whether DVC ended because another process of it works on the same files."""
    errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
    last = errors[-1] if errors else ""
    return "exited with" not in last and any(phrase in last for phrase in BUSY)


def outcome(text: str) -> str:
    """Read from DVC's output what it did.

    Raises:
        UserError: it says nothing of what is known here; another version of DVC might.
    """
    for phrase, name in OUTCOMES.items():
        if phrase in text:
            return name
    raise UserError(f"DVC says nothing of what it did with the stage: {text[-500:]}")


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
    tail = "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-TAIL:])
    return StageFailedError(
        f"{address} failed with {end}. {log} ends:\n{tail}", passing=end in PASSING
    )


def ending(code: int) -> str:
    """Say how a process ended; a shell that waited for it says a signal as 128 and its number."""
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return signal.Signals(number).name
    return f"exit code {code}"
