"""A project to run real commands in, and a recipe that takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
FITS = ("fit_frozen", "fit_unfrozen")


def environment() -> dict[str, str]:
    """The environment of a user who has activated the project's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"DO_NOT_TRACK": "true", "DVC_NO_ANALYTICS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    own = {
        k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL")
    }
    return own | quiet | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull}


class Project:
    """A copy of this project in a folder of its own, with its own git and DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; by default it must succeed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment() | env,
            capture_output=True,
            text=True,
            check=False,
        )
        if ok:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def stage(self, stage: str, recipe: str, ok: bool = True, **env: str):
        """Run one stage."""
        return self.run(sys.executable, "-m", "stages", stage, recipe, ok=ok, **env)

    def write_recipes(self, images: dict, ratings: dict | None = None) -> None:
        """Replace params.yaml."""
        ratings = ratings or {}
        content = {"images": images, "ratings": ratings, "recipes": images | ratings}
        with (self.folder / "params.yaml").open("w") as file:
            YAML().dump(content, file)

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message)


def tiny_recipe(archive: Path) -> dict:
    """A recipe that runs in seconds: 48 images of 32 px, from random weights."""
    return {
        "seed": 1,
        "threads": 1,
        "precision": "fp32",
        "data": {"folder": "shapes", "presize": 36, "max_bad": 0.0},
        "model": {"arch": "shufflenet_v2_x0_5", "train_bn": False, "hidden": [16]},
        "augment": {"image_side": 32, "views": 2},
        "download": {"url": str(archive)},
        "untar": {},
        "weights": {"source": "none", "after": "stages/weights.py"},
        "split": {
            "label": {"rule": "folder"},
            "by": {"rule": "random", "valid": 0.25, "stratify": True},
        },
        "lr_frozen": {"steps": 30, "batch_size": 8},
        "fit_frozen": {"epochs": 3, "lr": 1e-3, "batch_size": 8},
        "lr_unfrozen": {"steps": 20, "batch_size": 8},
        "fit_unfrozen": {"epochs": 3, "lr": [1e-4, 1e-3], "batch_size": 8},
        "threshold": {},
        "interpret": {},
    }


def quick_recipe(archive: Path) -> dict:
    """The tiny recipe without LR tests and with two epochs a phase."""
    fits = {phase: {"epochs": 2, "lr": 1e-3, "batch_size": 8} for phase in FITS}
    return tiny_recipe(archive) | {"lr_frozen": {"steps": 0}, "lr_unfrozen": {"steps": 0}} | fits


def archives_folder() -> Path | None:
    """Where the real archives are: THAW_ARCHIVES, else ../shared/archives, else nowhere."""
    named = os.environ.get("THAW_ARCHIVES")
    folder = Path(named) if named else SHARED / "archives"
    return folder if folder.is_dir() else None
