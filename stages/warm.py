"""Run a module in a fork of a warm worker, which has imported what takes long to import.

The worker is pipelines/warm_worker.py. This side needs nothing but Python's own library: it starts
in milliseconds. What it promises: `python -m MODULE`, with this process's folder, environment,
limits, standard streams and signals, as if no worker were there; and an end when this process ends.

A flow has a worker. `dvc repro` gets one of its first stage, for the stages that follow; it ends
with DVC.
"""

import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self

ADDRESS = "THAW_WORKER"  # of the worker's socket, in the environment
DEFAULT_ADDRESS = Path(".thaw", "worker")  # of DVC's worker, or of one that was started by hand
LOG = Path(".thaw", "logs", "warm_worker.log")
# OpenMP reads its part when torch is loaded. A thread that waits looks 10,000 times, which takes
# about a tenth of a millisecond, as torch's next operation is often near, and then sleeps: others
# may need the core. Runtimes other than GNU's know the policy alone: there it sleeps at once.
ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "10000",
}
# Read once: to read it is to change it for a moment, for all threads.
UMASK = os.umask(0o077)
os.umask(UMASK)
LENGTH = struct.Struct("!I")
CODE = struct.Struct("!i")
STARTED, REFUSED = b"S", b"R"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
IGNORABLE = (*FORWARDED, signal.SIGQUIT)
PATIENCE = 60.0  # seconds for an answer; a worker that still imports takes a few
# What packages read while they are imported: a worker with other values cannot stand in.
READ_BY_IMPORTS = (
    "ARROW_", "ATEN_", "DYLD_", "GLIBC_", "GOMP_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_",
    "MPL", "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PILLOW_", "PYTHON", "PYTORCH_", "THP_",
    "TORCH",
)  # fmt: skip
READ_LATER = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")


class Remote:
    """A module that runs in a fork of the worker.

    Args:
        line: to the process that keeps it.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end.

        Returns:
            The exit code, minus a signal's number if one ended it, as subprocess says it; None
            after `timeout` seconds.
        """
        if not select.select([self._line], [], [], timeout)[0]:
            return None
        told = _receive(self._line, CODE.size)
        # A keeper that is gone without a word was killed. That alone does not end what it kept.
        return int(CODE.unpack(told)[0]) if told else -signal.SIGKILL

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the module."""
        self._line.sendall(bytes([number]))

    def end(self) -> None:
        """End whatever of it is left, and wait for that."""
        self._line.shutdown(socket.SHUT_WR)
        while self._line.recv(1024):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._line:
            self.end()


def run_warm(module: str, arguments: Sequence[str]) -> int | None:
    """Run a module in place of this process, and set what it needs in the environment.

    Returns:
        Its exit code; None if no worker can: run it here. A signal that ends it ends this process.
    """
    set_environment()
    open_standard_streams()
    named = os.environ.get(ADDRESS)
    remote = start(Path(named or DEFAULT_ADDRESS), module, arguments)
    if remote is None:
        if not (named or is_taken(DEFAULT_ADDRESS)) and (dvc := dvc_above()):
            start_worker(dvc)
        return None
    with forwarded_signals(remote):
        code = remote.wait()
    assert code is not None
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def set_environment() -> None:
    """Set what stages need in the environment and a user has not set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def open_standard_streams() -> None:
    """Let /dev/null stand where a standard stream is closed.

    The line to the worker would take its number, and be handed to the stage as that stream: the
    worker would not see when this process is gone.
    """
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, this one


def dvc_above() -> int | None:
    """Return the id of the `dvc` process that runs this one, where it can be told (on Linux)."""
    if "DVC_STAGE" not in os.environ:
        return None
    process = os.getpid()
    for _ in range(2):  # DVC's shell may stand between, or have become this process
        try:
            above = Path(f"/proc/{process}/stat").read_text()
            process = int(above.rpartition(")")[2].split()[1])
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
        except OSError:
            return None
        if any(Path(word).name == "dvc" for word in words[:3]):
            return process
    return None


def start_worker(until: int) -> None:
    """Start a worker for the stages to come in this folder; wait for nothing.

    Args:
        until: id of the process that it ends with.
    """
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("w") as said:
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.warm_worker", "--until", str(until)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def start(
    address: Path,
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    streams: Sequence[int] = (0, 1, 2),
    lasting: bool = False,
) -> Remote | None:
    """Ask a worker to run `python -m module`.

    Args:
        address: of its socket.
        module: with a main part.
        arguments: its command line.
        cwd: the folder that it runs in and imports from (default: this process's).
        environment: instead of this process's.
        streams: file descriptors for its standard input, output and error.
        lasting: whether to ask only a worker that ends with no other process.

    Returns:
        None if there is no worker, or none that would do the same as a new process.
    """
    variables = ENVIRONMENT | dict(os.environ if environment is None else environment)
    request = {
        "module": module,
        "arguments": list(arguments),
        "cwd": str(cwd or Path.cwd()),
        "environment": variables,
        "kind": kind_of_process(variables),
        "lasting": lasting,
        "umask": UMASK,
        "limits": limits(),
        "ignored": [n for n in IGNORABLE if signal.getsignal(n) is signal.SIG_IGN],
    }
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(PATIENCE)
    try:
        line.connect(str(address))
        text = json.dumps(request).encode()
        socket.send_fds(line, [LENGTH.pack(len(text))], list(streams))
        line.sendall(text)
        answer = _receive(line, 1)
    except OSError:  # no worker, or one that just ended, or is stopped
        answer = b""
    if answer == STARTED:
        line.settimeout(None)
        return Remote(line)
    line.close()
    return None


def is_taken(address: Path) -> bool:
    """Say whether a worker listens there, whomever it serves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(PATIENCE)
        try:
            line.connect(str(address))
        except OSError:
            return False
    return True


def is_served(address: Path) -> bool:
    """Say whether a worker is there that lasts, and does what this process's children would do."""
    with Path(os.devnull).open() as nothing:
        streams = [nothing.fileno()] * 3
        # A module that does nothing.
        asked = start(address, "stages.warm", [], streams=streams, lasting=True)
    if asked is None:
        return False
    with asked:
        return asked.wait() == 0


def receive_request(line: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Read what `start` sent: the request, and the file descriptors. None if it gave up."""
    head, streams, _, _ = socket.recv_fds(line, LENGTH.size, 3)
    text = _receive(line, LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
    return (json.loads(text), streams) if text else None


def kind_of_process(environment: Mapping[str, str]) -> dict[str, Any]:
    """Tell what a process is from its start on, and what it then imports depends on.

    Args:
        environment: that it starts with.
    """
    folders = [Path(path) for path in sys.path if path.endswith("-packages")]
    installed = sorted(found.name for path in folders for found in path.glob("*.dist-info"))
    return {
        "environment": read_by_imports(environment),
        "interpreter": sys.prefix,
        "packages": zlib.crc32("\n".join(installed).encode()),  # with their versions
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
    }


def read_by_imports(environment: Mapping[str, str]) -> dict[str, str]:
    """Pick the variables that matter while packages are imported."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_BY_IMPORTS) and name not in READ_LATER
    }


def limits() -> dict[str, tuple[int, int]]:
    """Read this process's resource limits."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}


@contextmanager
def forwarded_signals(remote: Remote) -> Iterator[None]:
    """Hand on the signals that this process gets."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):  # it has just ended
            remote.signal(number)

    before = {number: signal.signal(number, hand_on) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _receive(line: socket.socket, length: int) -> bytes:
    """Receive so many bytes, or nothing if the other end closes first."""
    parts = b""
    while len(parts) < length:
        part = line.recv(length - len(parts))
        if not part:
            return b""
        parts += part
    return parts
