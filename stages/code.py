"""Note the code of each stage: `python -m stages.code`.

A stage depends on what is noted for it: on every module that it imports, directly or by another,
and on nothing else. All is read from the source; nothing is imported.
"""

import ast
import functools
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from stages.check import STAGES
from thaw.core.errors import UserError
from thaw.core.files import file_sha256

FOLDER = Path(".thaw", "code")
PACKAGES = ("thaw", "stages")
# They show, and are told apart by, what all the others made.
ALL_CODE = ("report", "record")
# Draws the sample archives: params.yaml pins what it draws.
LEFT_OUT = Path("thaw", "samples")
# Python 3.11 counts how deep a tree is for all threads together, and fails if two parse at once.
PARSING = threading.Lock()


def main() -> None:
    """Write a file for each stage: the SHA-256 and path of every file of its code."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    FOLDER.mkdir(parents=True)
    for stage in (*STAGES, "record"):
        noted(stage).write_text(code_text(Path(), stage), encoding="utf-8")


def noted(stage: str) -> Path:
    """Return where the code of a stage is noted."""
    return FOLDER / f"{stage}.txt"


def module_of(stage: str) -> Path:
    """Return where the code of a stage begins."""
    return Path("stages", f"{stage}.py")


def code_text(root: Path, stage: str) -> str:
    """List a stage's code as it is now, a line `SHA-256 path` for each file, by path.

    Args:
        root: of the project.
        stage: its name.
    """
    files = all_code(root) if stage in ALL_CODE else imported_files(root, module_of(stage))
    wanted = sorted(file.as_posix() for file in files if LEFT_OUT not in file.parents)
    return "".join(f"{file_sha256(root / file)}  {file}\n" for file in wanted)


def refuse_edited(stage: str) -> None:
    """Refuse to run code that is not what was noted: DVC would keep the results under the other.

    Raises:
        UserError: with the files that were edited since.
    """
    lines = noted(stage).read_text(encoding="utf-8").splitlines()
    edited = [path for told, path in map(str.split, lines) if _sha256(Path(path)) != told]
    if edited:
        raise UserError(
            f"{', '.join(edited)} changed since the code was noted. Run it again: dvc repro"
        )


def _sha256(file: Path) -> str | None:
    return file_sha256(file) if file.exists() else None


def all_code(root: Path) -> Iterable[Path]:
    """List the files of the packages, templates and styles included."""
    for package in PACKAGES:
        for file in (root / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(root)


def imported_files(root: Path, file: Path) -> set[Path]:
    """Return the project's files that one of them imports, directly or not, and itself.

    Packages' `__init__.py` hold a docstring alone (a test sees to it) and are left out.

    Args:
        root: of the project.
        file: relative to it.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            status = (root / current).stat()
            waiting += _imports(root, current, status.st_mtime_ns, status.st_size)
    return found


def direct_imports(file: Path) -> set[str]:
    """Name every module that a file imports at any place, type-checking blocks aside."""
    names = set()
    with PARSING:
        waiting: list[ast.AST] = [ast.parse(file.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.stmt | ast.Module | ast.ExceptHandler | ast.match_case):
            waiting += ast.iter_child_nodes(node)
    return names


@functools.cache
def _imports(root: Path, file: Path, changed: int, length: int) -> list[Path]:
    """List the project's files that a file imports."""
    modules = [name for name in direct_imports(root / file) if name.split(".")[0] in PACKAGES]
    candidates = [Path(*name.split(".")).with_suffix(".py") for name in sorted(modules)]
    return [path for path in candidates if (root / path).is_file()]


if __name__ == "__main__":
    main()
