"""Which of this project's modules a module imports, read from the source."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("thaw", "stages", "pipelines")


def source_of(module: str) -> Path | None:
    """Return the file of one of this project's modules, relative to its root."""
    base = Path(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


def direct_imports(file: Path) -> set[str]:
    """Name every module that a file imports at any place, type-checking blocks aside."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def project_files(file: Path, leave_out: tuple[str, ...] = ()) -> set[Path]:
    """Return the project's files that `file` imports, directly or not, and itself.

    Packages' `__init__.py` hold a docstring alone (a test sees to it) and are left out.
    """
    found, waiting = set(), [file]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        for name in direct_imports(current):
            if name.split(".")[0] in PACKAGES and not name.startswith(leave_out or ("-",)):
                source = source_of(name)
                if source is not None and source.name != "__init__.py":
                    waiting.append(source)
    return found
