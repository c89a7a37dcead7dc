"""A flow as a command: its last words, and its exit code."""

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn

from prefect.client.schemas.objects import State
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from pipelines import guard
from thaw.core.errors import UserError

# It records how tasks go one by one, and would be ended with most of them still to do. So it takes
# in many together, and what is left when it is told to end.
OF_RECORDER = "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_"
RECORDER = {
    f"{OF_RECORDER}READ_BATCH_SIZE": "100",
    f"{OF_RECORDER}BATCH_SIZE": "1000",
    f"{OF_RECORDER}FLUSH_INTERVAL": "60",
}


def run_flow(run: Callable[[], State], interrupted: str = "interrupted.") -> int:
    """Run a flow; print how it ended, to standard error if it did not end well.

    Args:
        run: calls the flow and returns its state.
        interrupted: what is said after Ctrl-C.

    Returns:
        0, 1 if anything failed, 130 when interrupted.
    """
    try:
        with temporary_server():
            state = run()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 1


@contextmanager
def temporary_server() -> Iterator[None]:
    """Mind the server that Prefect starts for a flow where the user runs none.

    Ctrl-C is to reach the flow and not its server, which is to be told how it ended: a terminal
    sends it to all processes of a group. And nobody asks such a server for a flow's heartbeat,
    whose end takes Prefect up to a second.
    """
    if PREFECT_API_URL.value():
        yield
        return
    # Takes a second to import; with a server of one's own nobody needs it.
    from prefect.server.api import server

    vars(server)["subprocess"] = SimpleNamespace(
        Popen=TemporaryServer, TimeoutExpired=subprocess.TimeoutExpired
    )
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


class TemporaryServer(subprocess.Popen[bytes]):
    """A process in a group of its own that ends with this one, however that ends."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], **settings: Any) -> None:
        super().__init__(
            [sys.executable, "-I", "-S", guard.__file__, *args],
            stdin=subprocess.PIPE, process_group=0, env={**env, **RECORDER}, **settings,
        )  # fmt: skip


def leave(code: int) -> NoReturn:
    """End this process as the interpreter does, but for taking all packages apart: that is slow."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
