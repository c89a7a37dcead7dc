"""A flow as a command: its last words, and its exit code."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from prefect.client.schemas.objects import State

from thaw.core.errors import UserError


def run_flow(run: Callable[[], State], interrupted: str = "interrupted.") -> int:
    """Run a flow; print how it ended, to standard error if it did not end well.

    Args:
        run: calls the flow and returns its state.
        interrupted: what is said after Ctrl-C.

    Returns:
        0, 1 if anything failed, 130 when interrupted.
    """
    try:
        state = run()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 1


def leave(code: int) -> NoReturn:
    """End this process as the interpreter does, but for taking all packages apart: that is slow."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
