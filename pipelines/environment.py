"""Settings of the tools that a run uses, where the user has none."""

import os

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
    """Set them, before the tools are imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
