"""Fork stages off a process that has imported what they need: `python -m pipelines.warm_worker`.

Importing torch, torchvision and DVC takes seconds, every time. The worker does it once, before any
tensor work, and forks for each request (stages/warm.py asks). It holds no line of this project:
a fork reads the project's modules from the folder that it was asked from, as they are then.

    worker ── keeper ── the module, in a process group of its own
                 └ ends the group when the one who asked is gone (guard.py does it for others)

A flow starts a worker for itself, and so does the first stage of a `dvc repro`; each ends with the
one that it was started for. One that is started by hand serves its folder until it is ended.
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
import time
import traceback
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from filelock import FileLock

from pipelines import guard
from stages.warm import (
    CODE,
    DEFAULT_ADDRESS,
    REFUSED,
    STARTED,
    kind_of_process,
    receive_request,
    set_environment,
)
from thaw.core.errors import UserError

BACKLOG = 128
LONGEST_FOLDER = 70  # bytes of a path to which a socket's name can be added: all of it has 103
# What a process does at a signal that it was not told to ignore.
USUAL: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGQUIT: signal.SIG_DFL,
}
# Found before there are forks: to look at thousands of names takes each of them ten milliseconds.
OURS = [name for name in sys.modules if name.partition(".")[0] in {"pipelines", "stages", "thaw"}]
# All that stages and `dvc repro` import from elsewhere; a test compares.
PACKAGES = (
    "configobj", "dulwich.ignore", "dulwich.index", "dulwich.trailers", "dulwich.worktree",
    "dvc._debug", "dvc.analytics", "dvc.cachemgr", "dvc.cli.parser", "dvc.data_cloud", "dvc.dirs",
    "dvc.lock", "dvc.repo.artifacts", "dvc.repo.datasets", "dvc.repo.metrics", "dvc.repo.open_repo",
    "dvc.repo.params", "dvc.repo.plots", "dvc.repo.reproduce", "dvc.repo.stage", "dvc.rwlock",
    "dvc.utils.strictyaml", "dvc_data.hashfile._progress", "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status", "fsspec.implementations.memory", "matplotlib.backends.backend_agg",
    "matplotlib.figure", "pandas.core.arrays.arrow.extension_types", "pandas.io.formats.csvs",
    "PIL.Image", "PIL.ImageDraw", "PIL.ImageFont", "pyarrow.dataset", "pyarrow.pandas_compat",
    "pyarrow.parquet", "pydantic.dataclasses", "pydantic.plugin._loader", "pydantic.type_adapter",
    "ruamel.yaml.mergevalue", "safetensors.numpy", "safetensors.torch", "sklearn.metrics",
    "tabulate", "tenacity", "torch", "torch._dynamo", "torchvision.models", "tqdm",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> NoReturn:
    """Serve until interrupted, or until the one that it was started for has ended."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.warm_worker",
        description="Serve every flow, sweep and `dvc repro` that is started in this folder, until "
        "Ctrl-C: their stages start at once.",
    )
    parser.add_argument(
        "--attached", type=int, metavar="N",
        help="a listening socket's file descriptor: serve it until standard input closes",
    )  # fmt: skip
    parser.add_argument("--until", type=int, metavar="PID", help="serve until this process ends")
    chosen = parser.parse_args(arguments)
    set_environment()
    kind = kind_of_process(os.environ)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:  # before the imports: who comes meanwhile waits
        listener, ends = open_listener(chosen.attached, chosen.until)
    except UserError as error:
        sys.exit(str(error))
    with contextlib.suppress(KeyboardInterrupt):
        import_packages()
        if not ends:
            print(f"Stages that are run in {Path.cwd()} are forked from here now.", flush=True)
        serve(listener, kind, ends)
    if chosen.attached is None:
        DEFAULT_ADDRESS.unlink(missing_ok=True)
    os._exit(0)  # it has nothing to tidy up, and taking packages apart is slow


def open_listener(attached: int | None, until: int | None) -> tuple[socket.socket, list[Any]]:
    """Return the socket to serve, and what can be read as soon as the service is to end.

    Raises:
        UserError: another worker has the address; the process to serve for has ended; or this
            folder is no project.
    """
    if attached is not None:
        return socket.socket(fileno=attached), [sys.stdin]
    if not Path("dvc.yaml").exists():
        raise UserError("There is no dvc.yaml here. Start the worker in the project's folder.")
    if until is None:
        return listen(DEFAULT_ADDRESS), []
    try:
        end = os.pidfd_open(until)
    except ProcessLookupError as error:
        raise UserError(f"process {until}, which the worker was for, has ended.") from error
    return listen(DEFAULT_ADDRESS), [end]


@contextmanager
def attached_worker(log: Path) -> Iterator[Path]:
    """Yield the address of a worker that ends with the block, or with this process.

    It can be asked at once, and answers when it has imported all packages.

    Args:
        log: gets what the worker says.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    usual = tempfile.gettempdir()
    short = usual if len(os.fsencode(usual)) < LONGEST_FOLDER else "/tmp"  # noqa: S108
    with (
        tempfile.TemporaryDirectory(prefix="thaw-", dir=short) as folder,
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
            process.kill()  # it may still be importing; what it forked has keepers of its own
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
    """Import what forks will need.

    They look for their modules anew, leave the finalizers of packages alone at their end, and their
    garbage collector leaves alone what is here.
    """
    for package in PACKAGES:
        importlib.import_module(package)
    importlib.import_module("PIL.Image").init()  # all formats
    sys.path_importer_cache.clear()
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    gc.collect()
    gc.freeze()


def serve(listener: socket.socket, kind: Mapping[str, Any], ends: Sequence[Any]) -> None:
    """Fork a keeper for each connection.

    Args:
        listener: where they come.
        kind: of the process that imported the packages.
        ends: to end at as soon as it can be read; nothing for a worker that lasts.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        ready, _, _ = select.select([listener, *ends], [], [])
        if listener not in ready:
            return
        line, _ = listener.accept()
        if os.fork() == 0:
            try:
                listener.close()
                keep(line, kind, lasting=not ends)
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(1)  # never back into the worker's own loop
        line.close()


def keep(line: socket.socket, kind: Mapping[str, Any], *, lasting: bool) -> NoReturn:
    """Fork the module of a request, and stay to tell its end and to hand on signals.

    Args:
        line: to who asked.
        kind: as for `serve`.
        lasting: whether the worker ends with no other process.
    """
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    received = receive_request(line)
    if received is None:
        os._exit(0)
    request, streams = received
    wanted = request.get("kind", {})  # a client of other code has none
    differing = [name for name in kind if wanted.get(name) != kind[name]]
    if differing or (request["lasting"] and not lasting) or not take_place(request):
        line.sendall(REFUSED)
        with contextlib.suppress(OSError):  # nobody reads what it says
            tell_of_refusal(differing)
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
    with contextlib.suppress(ConnectionError):  # who asked is gone: `obey` sees it
        line.sendall(STARTED)
    ended = threading.Event()
    threading.Thread(target=obey, args=[line, module, ended], daemon=True).start()
    _, status = os.waitpid(module, 0)
    ended.set()
    guard.signal_group(module, signal.SIGKILL)  # whatever the module left behind
    with contextlib.suppress(OSError):  # who asked is gone
        line.sendall(CODE.pack(os.waitstatus_to_exitcode(status)))
        line.shutdown(socket.SHUT_WR)  # to wait for this is not to wait for this process's end
    os._exit(0)


def tell_of_refusal(differing: Sequence[str]) -> None:
    """Say what a process had that is not the worker's, if anything."""
    if differing:
        print(
            f"Not served: a process with other {' and other '.join(differing)} than this worker. "
            "To serve such, start it anew.",
            flush=True,
        )


def obey(line: socket.socket, module: int, ended: threading.Event) -> None:
    """Hand on the signals that come; when the other end closes, end the module."""
    with contextlib.suppress(ConnectionError):  # it was killed before it read the answer
        while number := line.recv(1):
            guard.signal_group(module, signal.Signals(number[0]))
    guard.end_group(module, ended.wait)


def take_place(request: Mapping[str, Any]) -> bool:
    """Take folder, umask and limits of who asked; return whether that could be."""
    try:
        os.chdir(request["cwd"])
        for name, limit in request["limits"].items():
            resource.setrlimit(getattr(resource, name), tuple(limit))
    except (OSError, ValueError):  # ValueError: more than the worker may have
        return False
    os.umask(request["umask"])
    return True


def become(request: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    """Run the module as `python -m` would, in this process, and end it."""
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open_streams()
    for number, usual in USUAL.items():
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else usual)
    for name in OURS:
        del sys.modules[name]
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
