"""Fork stages off a process that has imported what they need: `python -m pipelines.warm_worker`.

Importing torch, torchvision and DVC takes seconds, every time. The worker does it once, before any
tensor work, and forks for each request (stages/warm.py asks). It holds no line of this project:
a fork reads the project's modules from the folder that it was asked from, as they are then.

    worker ── keeper ── the module, in a process group of its own
                 └ ends the group when the one who asked is gone (guard.py does it for others)

A flow starts a worker for itself. `python -m pipelines.warm_worker dvc repro` runs DVC with one; a
worker that is started without a command serves every `dvc repro` in its folder until it is ended.
"""

import argparse
import atexit
import contextlib
import gc
import importlib
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from filelock import FileLock

from pipelines import guard
from stages.warm import (
    ADDRESS,
    CODE,
    DEFAULT_ADDRESS,
    REFUSED,
    STARTED,
    read_by_imports,
    receive_request,
    set_environment,
)
from thaw.core.errors import UserError

BACKLOG = 128
LOG = Path(".thaw", "logs", "warm_worker.log")
OURS = ("pipelines", "stages", "thaw")
# All that stages and `dvc repro` import from elsewhere; a test compares.
PACKAGES = (
    "dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce",
    "matplotlib.backends.backend_agg", "matplotlib.figure",
    "pandas.core.arrays.arrow.extension_types", "pandas.io.formats.csvs",
    "PIL.Image", "PIL.ImageDraw", "PIL.ImageFont",
    "pyarrow.dataset", "pyarrow.pandas_compat", "pyarrow.parquet",
    "pydantic.dataclasses", "pydantic.plugin._loader", "pydantic.type_adapter",
    "ruamel.yaml", "safetensors.numpy", "safetensors.torch", "sklearn.metrics", "tenacity",
    "torch", "torch._dynamo", "torchvision.models", "tqdm",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> NoReturn:
    """Serve a command until it ends; without one until interrupted.

    An attached worker serves until nobody holds the other end of its standard input.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.warm_worker", description=__doc__)
    parser.add_argument(
        "--attached", type=int, metavar="N",
        help="a listening socket's file descriptor: serve it until standard input closes",
    )  # fmt: skip
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="to run with a worker, which ends with it"
    )
    chosen = parser.parse_args(arguments)
    attached = chosen.attached
    set_environment()
    if chosen.command:
        sys.exit(run_with_worker(chosen.command))
    try:  # before the imports: who comes meanwhile waits
        listener = listen(DEFAULT_ADDRESS) if attached is None else socket.socket(fileno=attached)
    except UserError as error:
        sys.exit(str(error))
    before = dict(os.environ)
    import_packages()
    if attached is None:
        print(f"Stages that are run in {Path.cwd()} are forked from here now.", flush=True)
        serve(listener, before, [listener])
        DEFAULT_ADDRESS.unlink(missing_ok=True)
    else:
        serve(listener, before, [listener, sys.stdin])
    os._exit(0)  # it has nothing to tidy up, and taking packages apart is slow


def run_with_worker(command: Sequence[str]) -> int:
    """Run a command whose stages are forked off a worker of its own; return its exit code."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with attached_worker(LOG) as address:
        try:
            process = subprocess.Popen(command, env=os.environ | {ADDRESS: str(address)})
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            return 127
        with process:
            while True:
                try:
                    code = process.wait()
                    break
                except KeyboardInterrupt:  # it got the signal as well, and ends as it likes
                    continue
    return code if code >= 0 else 128 - code


@contextmanager
def attached_worker(log: Path) -> Iterator[Path]:
    """Yield the address of a worker that ends with the block, or with this process.

    It can be asked at once, and answers when it has imported all packages.

    Args:
        log: gets what the worker says.
    """
    with (
        tempfile.TemporaryDirectory(prefix="thaw-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        log.open("w") as said,
    ):
        address = Path(folder, "worker")
        listener.bind(str(address))
        listener.listen(BACKLOG)
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.warm_worker", "--attached", str(listener.fileno())],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()  # so that nobody waits in vain should the worker fail
        try:
            yield address
        finally:
            process.kill()  # it may still be importing; what it forked has ended by now
            process.communicate()


def listen(address: Path) -> socket.socket:
    """Open the socket, for this user alone.

    Raises:
        UserError: another worker has it.
    """
    address.parent.mkdir(exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with FileLock(address.with_suffix(".lock")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            if other.connect_ex(str(address)) == 0:
                raise UserError(f"{address}: a warm worker is at it already. One is enough.")
        address.unlink(missing_ok=True)  # a killed worker left it
        mask = os.umask(0o177)
        listener.bind(str(address))
        os.umask(mask)
        listener.listen(BACKLOG)
    return listener


def import_packages() -> None:
    """Import what forks will need, and let the garbage collector leave it alone."""
    for package in PACKAGES:
        importlib.import_module(package)
    importlib.import_module("PIL.Image").init()  # all formats
    gc.collect()
    gc.freeze()


def serve(listener: socket.socket, environment: Mapping[str, str], waiting: Sequence[Any]) -> None:
    """Fork a keeper for each connection, until interrupted.

    Args:
        listener: where they come.
        environment: in which the packages were imported.
        waiting: the listener, and what else to end at as soon as it can be read.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    try:
        while True:
            ready, _, _ = select.select(waiting, [], [])
            if listener not in ready:
                return
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                keep(line, environment)
            line.close()
    except KeyboardInterrupt:
        return


def keep(line: socket.socket, environment: Mapping[str, str]) -> NoReturn:
    """Fork the module of a request, and stay to tell its end and to hand on signals."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    received = receive_request(line)
    if received is None:
        os._exit(0)
    request, streams = received
    if not fits(request, environment):
        line.sendall(REFUSED)
        os._exit(0)
    module = os.fork()
    if module == 0:
        os.setpgid(0, 0)
        line.close()
        become(request, streams)
    with contextlib.suppress(PermissionError):  # it did so itself, and is on its way
        os.setpgid(module, module)
    for stream in streams:
        os.close(stream)
    line.sendall(STARTED)
    ended = threading.Event()
    threading.Thread(target=obey, args=[line, module, ended], daemon=True).start()
    _, status = os.waitpid(module, 0)
    ended.set()
    guard.signal_group(module, signal.SIGKILL)  # whatever the module left behind
    with contextlib.suppress(BrokenPipeError):
        line.sendall(CODE.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def obey(line: socket.socket, module: int, ended: threading.Event) -> None:
    """Hand on the signals that come; when the other end closes, end the module."""
    while number := line.recv(1):
        guard.signal_group(module, signal.Signals(number[0]))
    guard.end_group(module, ended.wait)


def fits(request: Mapping[str, Any], environment: Mapping[str, str]) -> bool:
    """Say whether a fork would be what a new process would be."""
    wanted = read_by_imports(request["environment"])
    return request["prefix"] == sys.prefix and wanted == read_by_imports(environment)


def become(request: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    """Run the module as `python -m` would, in this process, and end it."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    for name, limit in request["limits"].items():
        resource.setrlimit(getattr(resource, name), tuple(limit))
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path[0] = request["cwd"]
    sys.argv = ["", *request["arguments"]]
    finish(run_module(request["module"]))


def run_module(name: str) -> int:
    """Run a module's main part; return its exit code."""
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def finish(code: int) -> NoReturn:
    """End this process as the interpreter does, but for taking all packages apart: that is slow."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


def open_streams() -> tuple[TextIO, TextIO, TextIO]:
    """Open standard input, output and error as the interpreter does when it starts."""
    whole = bool(os.environ.get("PYTHONUNBUFFERED"))
    return (
        open(0, encoding="utf-8", closefd=False),
        open(1, "w", encoding="utf-8", buffering=1 if whole or os.isatty(1) else -1, closefd=False),
        open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False),
    )


if __name__ == "__main__":
    main()
