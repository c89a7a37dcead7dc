"""A temporary copy of the project with other parameters, sharing DVC's cache."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.places import WORKSPACES
from thaw.errors import UserError
from thaw.files import remove


@contextmanager
def workspace(root: Path, overrides: Sequence[str]) -> Iterator[Path]:
    """Yield a folder in which the project has some other parameters; params.yaml stays as it is.

    Stages that the overrides do not touch are restored from DVC's cache. The folder is named
    after the overrides, so that a killed run goes on where it stopped; it is deleted when all
    went well.

    Args:
        root: the project.
        overrides: such as ``recipes.pets_sample.seed=1``, in the words of `dvc exp run -S`.

    Raises:
        UserError: an override that fits no parameter, or a project without git.
    """
    name = hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:12]
    folder = root / WORKSPACES / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another flow is running with {' '.join(overrides)}.") from None
    with lock:
        _copy_project(root, folder)
        _share_cache(root, folder)
        _apply(folder / "params.yaml", overrides)
        yield folder
        remove(folder)


def _copy_project(root: Path, folder: Path) -> None:
    """Copy what git tracks or would track; link what was unpacked and computed already."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        raise UserError(f"{root} is not under git, which overrides need. First: git init")
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    for raw in sorted(root.glob("data/*/raw")):
        there = folder / raw.relative_to(root)
        if not there.exists():
            shutil.copytree(raw, there, copy_function=os.link)
    (folder / ".thaw").mkdir(exist_ok=True)
    (root / ".thaw" / "features").mkdir(parents=True, exist_ok=True)
    features = folder / ".thaw" / "features"
    if not features.is_symlink():
        features.symlink_to(root / ".thaw" / "features")


def _share_cache(root: Path, folder: Path) -> None:
    """Point DVC at the project's cache. Git ignores the folder, so DVC must not ask it."""
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        cache = repo.cache.local_cache_dir
    with Config(str(folder / ".dvc"), validate=False).edit("local") as local:
        local["cache"] = {"dir": cache}
        local["core"] = {"no_scm": True}


def _apply(params: Path, overrides: Sequence[str]) -> None:
    """Change parameters as `dvc exp run -S` does; unlike it, refuse keys that do not exist."""
    from dvc.utils.hydra import apply_overrides

    from stages.recipe import read_recipes

    recipes = read_recipes(params)
    for override in overrides:
        key, equals, _ = override.partition("=")
        first, _, rest = key.partition(".")
        recipe, _, section = rest.partition(".")
        if not equals or first != "recipes" or not section or recipe not in recipes:
            raise UserError(
                f"override {override}: write recipes.RECIPE.KEY=VALUE, as in "
                f"recipes.{next(iter(recipes))}.seed=1, with a recipe of params.yaml."
            )
    try:
        apply_overrides(params, list(overrides))
    except Exception as error:  # hydra's and omegaconf's have no common class of their own
        raise UserError(f"overrides {' '.join(overrides)}: {error}") from error
