"""What a command sets before it imports the tools that it uses."""

import os
import sys
from types import TracebackType

DEFAULTS = {
    # No telemetry: all three take this word, and only this one.
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # DVC keeps what was made; a second cache would be a second truth.
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    # The first start makes Prefect's database.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A bar for each file that MLflow copies.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def set_defaults() -> None:
    """Set what the tools read when they are imported, where the user has set nothing."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def be_brief_when_interrupted() -> None:
    """Let Ctrl-C end this process with a word where nothing else minds it: in the imports."""
    usual = sys.excepthook

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted.", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = say
