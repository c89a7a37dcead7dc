"""A flow as a command: its last words, and its exit code."""

import sys
from collections.abc import Callable

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
