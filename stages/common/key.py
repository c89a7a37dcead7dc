"""Keys: hashes of everything that a result depends on."""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from thaw.core.files import file_sha256, known_sha256

PACKAGES = ("thaw", "stages")
COMMAND_LINE = {"stages.__main__", "stages.command", "stages.warm"}


def content_key(values: Mapping[str, Any], files: Iterable[Path], modules: Iterable[str]) -> str:
    """Hash settings, the content of input files and the source of project modules.

    Args:
        values: settings; parameter classes are taken field by field.
        files: existing input files; their names matter as well.
        modules: names of this project's modules.

    Returns:
        32 hexadecimal digits.
    """
    parts = {
        "values": {name: _plain(value) for name, value in values.items()},
        "files": {str(file): known_sha256(file) for file in files},
        "modules": {name: file_sha256(_source(name)) for name in modules},
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def loaded_modules() -> list[str]:
    """Name this project's modules that this process has imported, the command line aside."""
    ours = {name for name in sys.modules if name.split(".")[0] in PACKAGES and "." in name}
    return sorted(ours - COMMAND_LINE)


def _plain(value: Any) -> Any:
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin)
