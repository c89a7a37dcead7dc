"""A temporary copy of the project with other parameters, sharing DVC's cache."""

import functools
import hashlib
import json
import operator
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
from stages.recipe import PARAMS_FILE, parse_yaml, read_recipes
from thaw.core.errors import UserError
from thaw.core.files import file_sha256, remove, replacing
from thaw.images import EXTENSIONS
from thaw.params.base import did_you_mean

# DVC, Hydra and the reading of params.yaml keep state of their own in a process.
PREPARING = threading.Lock()
SECONDS_BETWEEN_TRIES = 0.5  # while another flow is at the same workspace
EDITED = (
    "params.yaml, dvc.yaml or code was edited since this began. Run it again: what is done already "
    "is not done twice."
)
LARGE = 2**20  # bytes; larger files are linked, and so are images
WRITTEN = (".yaml", ".lock")  # files of these names are written in a workspace, so never linked


@contextmanager
def workspace(
    root: Path,
    overrides: Sequence[str],
    values: Mapping[str, Any] | None = None,
    stop: threading.Event | None = None,
    state: str | None = None,
) -> Iterator[Path]:
    """Yield a folder in which the project has some other parameters; params.yaml stays as it is.

    Stages that the overrides do not touch are restored from DVC's cache. The folder is named
    after the overrides, so that a killed run goes on where it stopped; it is deleted when all
    went well.

    Args:
        root: the project.
        overrides: such as ``recipes.pets_sample.seed=1``, in the words of `dvc exp run -S`.
        values: other parameters as they are, by path: ``recipes.pets_sample.seed``.
        stop: ends the waiting for another flow that runs with the same. Without it, that is an
            error.
        state: `project_state` as it is to be; None for whatever it is.

    Raises:
        UserError: an override that fits no parameter, a project without git, or in another state.
    """
    values = values or {}
    with PREPARING:
        check_overrides(root / PARAMS_FILE, overrides)
    name = json.dumps([sorted(overrides), values] if values else sorted(overrides))
    folder = root / WORKSPACES / hashlib.sha256(name.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with _mine(folder.with_suffix(".lock"), stop, " ".join(overrides) or str(values)):
        with PREPARING:
            _copy_project(root, folder)
            if state not in (None, project_state(root)):
                remove(folder)
                raise UserError(EDITED)
            _share_cache(root, folder)
            _apply(folder / PARAMS_FILE, overrides)
            set_values(folder / PARAMS_FILE, values)
        yield folder
        remove(folder)


def project_state(root: Path) -> str:
    """Hash what people edit and results depend on: parameters, the pipeline and code."""
    code = (file for folder in ("stages", "thaw") for file in (root / folder).rglob("*.py"))
    files = [root / PARAMS_FILE, root / "dvc.yaml", *sorted(code)]
    hashes = [f"{file.relative_to(root)} {file_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@contextmanager
def _mine(file: Path, stop: threading.Event | None, told: str) -> Iterator[None]:
    """Hold a workspace's lock."""
    lock = FileLock(file, timeout=0)
    while True:
        try:
            lock.acquire()
            break
        except Timeout:
            if stop is None or stop.wait(SECONDS_BETWEEN_TRIES):
                raise UserError(f"another flow is running with {told}.") from None
    try:
        yield
    finally:
        lock.release()


def set_values(file: Path, values: Mapping[str, Any]) -> None:
    """Write other values into a params.yaml, for one recipe each, whatever sections are shared."""
    if not values:
        return
    # A copy in which nothing is shared; dates, which JSON lacks, are no recipe's.
    content = json.loads(json.dumps(parse_yaml(file.read_text(encoding="utf-8")), default=str))
    for path, value in values.items():
        _, recipe, *sections, last = path.split(".")
        for group in ("images", "ratings", "recipes"):
            if group == "recipes" or recipe in (content.get(group) or {}):
                functools.reduce(operator.getitem, sections, content[group][recipe])[last] = value
    # As JSON, which is YAML that all parsers read alike: DVC's stumbles over `{a: b:c}`.
    with replacing(file) as part:
        part.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


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
            _copy(root / name, folder / name)
    for raw in sorted(root.glob("data/*/raw")):
        there = folder / raw.relative_to(root)
        if not there.exists():
            shutil.copytree(raw, there, copy_function=os.link)
    (folder / ".thaw").mkdir(exist_ok=True)
    (root / ".thaw" / "features").mkdir(parents=True, exist_ok=True)
    features = folder / ".thaw" / "features"
    if not features.is_symlink():
        features.symlink_to(root / ".thaw" / "features")


def _copy(file: Path, to: Path) -> None:
    """Copy a file that may be changed there; what is large is data, and linked."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.unlink(missing_ok=True)  # a link would be written through
    image = file.suffix.lower() in EXTENSIONS
    if (file.stat().st_size < LARGE and not image) or file.suffix in WRITTEN:
        shutil.copyfile(file, to)
    else:
        os.link(file, to)


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
        check_path(recipes, path, f"override {override}")
    with tempfile.TemporaryDirectory() as folder:
        _apply(Path(shutil.copy(params, folder)), overrides)


def check_path(recipes: Mapping[str, Any], path: Sequence[str], told: str) -> None:
    """Refuse a path that leads nowhere.

    Raises:
        UserError: with a key that comes near to a wrong one, after `told`.
    """
    node: Any = recipes
    for part in path:
        if isinstance(node, Mapping) and part not in node:
            raise UserError(
                f"{told}: params.yaml has no {part!r} there; {did_you_mean(part, list(node))}"
            )
        if not isinstance(node, Mapping):
            raise UserError(f"{told}: there is no {part!r} in {node!r}, which is a value.")
        node = node[part]


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
