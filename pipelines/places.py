"""Where runs are kept and sent: absolute, and the same from a temporary workspace."""

import os
import re
from pathlib import Path

WORKSPACES = Path(".thaw", "workspaces")
SQLITE = "sqlite:///"
SCRATCH_FOLDERS = (".dvc", ".thaw")


def project_root(folder: Path) -> Path:
    """Return the project that a folder belongs to.

    DVC's temporary experiments lie below ``.dvc/``, a flow's workspaces below ``.thaw/``; both
    would take what is written there with them.
    """
    folder = folder.absolute()
    for parent in reversed(folder.parents):  # from the outside in
        if parent.name in SCRATCH_FOLDERS:
            return parent.parent
    return folder


def runs_folder(root: Path) -> Path:
    """The folder with one recorded run per run key."""
    return project_root(root) / ".thaw" / "runs"


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, else a SQLite file in the project.

    A path in it counts from the project, wherever a stage runs.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if given.startswith(SQLITE):
        return f"{SQLITE}{project_root(root) / given.removeprefix(SQLITE)}"
    return given if ":" in given else str(project_root(root) / given)


def without_password(text: str) -> str:
    """Take user and password out of the addresses in a text: they belong in no message or file."""
    return re.sub(r"://[^/@\s]*@", "://", text)
