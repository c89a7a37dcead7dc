"""fastai in an environment of its own: it is no dependency of this project."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ("fastai==2.8.12", "torch==2.15.0", "torchvision==0.29.2", "pyarrow")


def install(folder: Path) -> Path:
    """Return the Python of an environment with fastai, made if there is none."""
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "-q", folder], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "-p", python, *PACKAGES], check=True)
    return python


def run(python: Path, script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run one of the scripts beside this file; return the JSON object that it prints."""
    done = subprocess.run(
        [python, HERE / script, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout[done.stdout.index("{") :])
