"""Copies of the project, and a small archive for them."""

import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from project import ROOT, Project, environment

# Where tests run in the background, an ignored Ctrl-C would be inherited by what they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: making one takes seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{file}"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="session")
def new_project(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Callable[[], Project]:
    """Make fresh copies of what git tracks here (and would track), as clones with a commit."""

    def make() -> Project:
        folder = tmp_path_factory.mktemp("project") / "thaw"
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("tests/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        project = Project(folder)
        (folder / "dvc.lock").unlink(missing_ok=True)
        shutil.copyfile(empty_store, folder / "mlflow.db")
        project.run("git", "init", "-q")
        project.commit("Begin")
        return project

    return make


@pytest.fixture(scope="session")
def shapes_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of folders with 16 images each of a disc, a square and a cross, as .tgz."""
    from PIL import Image, ImageDraw

    root = tmp_path_factory.mktemp("shapes")
    for kind in ("cross", "disc", "square"):
        (root / "shapes" / kind).mkdir(parents=True)
        for number in range(16):
            image = Image.new("RGB", (52, 44), (40 + 5 * number, 60, 90))
            pen = ImageDraw.Draw(image)
            x, y = 6 + number % 4 * 4, 4 + number // 4 * 3
            box = (x, y, x + 24, y + 24)
            if kind == "disc":
                pen.ellipse(box, fill="white")
            elif kind == "square":
                pen.rectangle(box, fill="white")
            else:
                pen.line((x, y, x + 24, y + 24), fill="white", width=5)
                pen.line((x + 24, y, x, y + 24), fill="white", width=5)
            image.save(root / "shapes" / kind / f"{number}.png")
    archive = root / "shapes.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "shapes", "shapes")
    return archive
