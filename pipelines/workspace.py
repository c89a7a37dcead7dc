"""A temporary copy of the project with other parameters, sharing DVC's cache."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.places import WORKSPACES
from stages.recipe import read_recipes
from thaw.core.errors import UserError
from thaw.core.files import remove
from thaw.params.base import did_you_mean

# DVC, Hydra and the reading of params.yaml keep state of their own in a process.
PREPARING = threading.Lock()


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
    with PREPARING:
        check_overrides(root / "params.yaml", overrides)
    name = hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:12]
    folder = root / WORKSPACES / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another flow is running with {' '.join(overrides)}.") from None
    with lock:
        with PREPARING:
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
        # Links where the disk can: a copy of the data for each of many workspaces would fill it.
        local["cache"] = {"dir": cache, "type": "reflink,hardlink,copy"}
        local["core"] = {"no_scm": True}


def check_overrides(params: Path, overrides: Sequence[str]) -> None:
    """Refuse overrides before anything is copied for them.

    Raises:
        UserError: with the override, and a key that comes near to a wrong one.
    """
    recipes = read_recipes(params)
    for override in overrides:
        key, equals, _ = override.partition("=")
        first, *path = key.removeprefix("+").split(".")
        if key.startswith("+"):
            path = path[:-1]  # the last is to be added
        if not equals or first != "recipes" or key.count(".") < 2:
            raise UserError(
                f"override {override}: write recipes.RECIPE.KEY=VALUE, as in "
                f"recipes.{next(iter(recipes))}.seed=1."
            )
        node: Any = recipes
        for part in path:
            if isinstance(node, Mapping) and part not in node:
                raise UserError(
                    f"override {override}: params.yaml has no {part!r} there; "
                    f"{did_you_mean(part, list(node))}"
                )
            node = node[part] if isinstance(node, Mapping) else None
    with tempfile.TemporaryDirectory() as folder:
        _apply(Path(shutil.copy(params, folder)), overrides)


def _apply(params: Path, overrides: Sequence[str]) -> None:
    """Change parameters as `dvc exp run -S` does."""
    from dvc.utils.hydra import apply_overrides

    for override in overrides:
        try:
            apply_overrides(params, [override])
        except Exception as error:  # hydra's and omegaconf's have no common class of their own
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(
                f"override {override}: {reason}. A list is written [a, b], a text with odd "
                "characters in quotes."
            ) from error
