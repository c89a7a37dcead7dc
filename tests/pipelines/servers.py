"""Real servers on loopback, stopped when a test is through with them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
from project import environment

STARTUP = 240.0  # seconds; the first start makes a database

T = TypeVar("T")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(look: Callable[[], T], what: str, seconds: float = STARTUP) -> T:
    """Look until there is something to see."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.2)
    return seen


@contextmanager
def server(
    command: list[str], health: str, log: Path, folder: Path | None = None, **env: str
) -> Iterator[subprocess.Popen]:
    """Start a server in a folder, wait until it answers, end its process group afterwards."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: answers(process, health, log), health)
        yield process
    finally:
        stop(process)


def answers(process: subprocess.Popen, health: str, log: Path) -> bool:
    """Whether a server is up."""
    assert process.poll() is None, log.read_text()
    try:
        return httpx.get(health, timeout=5).is_success
    except httpx.HTTPError:
        return False


def stop(process: subprocess.Popen) -> None:
    """End a server and all its workers, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect server with a database of its own; yields the settings of its clients."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    home.mkdir(parents=True, exist_ok=True)
    client = {"PREFECT_HOME": str(home), "PREFECT_API_URL": api}
    with server(command, f"{api}/health", home / "server.log", **client):
        yield client


@contextmanager
def model_server(model: str, store: str, folder: Path) -> Iterator[str]:
    """A server of a registered model, started in an empty folder; yields where it is asked."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{model}",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    address, log = f"http://127.0.0.1:{port}", folder.with_suffix(".log")
    with server(command, f"{address}/ping", log, folder, MLFLOW_TRACKING_URI=store):
        yield f"{address}/invocations"


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """An MLflow server over a database and files in a folder; yields its address."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db",
        "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    with server(command, f"{address}/health", folder / "mlflow.log"):
        yield address
