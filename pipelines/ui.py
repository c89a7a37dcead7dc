"""Open MLflow's UI on the project's runs: `make ui`, or `python -m pipelines.ui --port 5001`.

Runs that the store lacks are sent first. A store that is a server has a UI of its own: then its
address is all that is needed.
"""

import argparse
import os
import socket
import sys
from pathlib import Path

from pipelines import record
from pipelines.places import tracking_uri, without_password

HOST = "127.0.0.1"  # nobody else's business
PORT = 5000
SETTINGS = {
    # Jobs are for language models; each kind would bring a process of its own.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",  # those of MLflow about its own code
}


def refusal(port: int) -> str:
    """Say why the server cannot listen at a port; nothing if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return f"{HOST}:{port}: {error.strerror}. Another port: make ui PORT={port + 1}"
    return ""


def runs_page(server: str, experiment: str) -> str:
    """Return the address of the table of runs. MLflow's first page is about language models."""
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning"


def become_server(uri: str, port: int) -> None:
    """Replace this process by MLflow's server, with one worker: it serves one person."""
    command = [
        sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port),
        "--workers", "1", "--uvicorn-opts", "--log-level warning",
    ]  # fmt: skip
    # Not as arguments: everybody on the machine can read those, and a password may be among them.
    stores = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_REGISTRY_STORE_URI": uri}
    os.execve(command[0], command, os.environ | SETTINGS | stores)  # noqa: S606


def open_ui(uri: str, port: int) -> None:
    """Send what the store lacks, say where the UI is, and serve it if nobody else does.

    Raises:
        StoreError: the store cannot be opened.
    """
    from pipelines.store import Store

    failed = record.main([])  # it has said why; what was sent before can be looked at
    if failed and is_server(uri):
        print(f"MLflow's UI: {without_password(uri)}")
        return
    experiment = Store(uri, Path.cwd()).experiment.experiment_id
    if is_server(uri):
        print(f"MLflow's UI: {runs_page(without_password(uri), experiment)}")
        return
    page = runs_page(f"http://{HOST}:{port}", experiment)
    print(f"MLflow's UI, in some seconds: {page}\nCtrl-C ends it.", flush=True)
    become_server(uri, port)


def is_server(uri: str) -> bool:
    """Say whether a store is a server, and so has a UI."""
    return uri.startswith(("http://", "https://"))


def main(arguments: list[str] | None = None) -> int:
    """Open the UI; return 1 if that is impossible."""
    from pipelines.store import StoreError

    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT, help=f"on {HOST}; {PORT} by default")
    port = parser.parse_args(arguments).port
    if not 0 < port < 2**16:
        parser.error(f"--port: {port} is no port")
    uri = tracking_uri(Path.cwd())
    if not is_server(uri) and (reason := refusal(port)):
        print(reason, file=sys.stderr)
        return 1
    try:
        open_ui(uri, port)
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    from pipelines.environment import set_defaults

    set_defaults()
    sys.exit(main())
