"""The run key: one hash for all that a recipe's results depend on, known before training."""

import functools
import hashlib
import json
from pathlib import Path

from pipelines.graph import RECORD, Graph, with_ancestors
from thaw.files import file_sha256


def run_key(root: Path, graph: Graph, recipe: str) -> str:
    """Hash the commands, parameter values and leaf files of a recipe's stages and their ancestors.

    Recording itself is left out: it changes no result. Archives count by the address and checksum
    in the parameters, outputs by what they are made of.

    Returns:
        32 hexadecimal digits.
    """
    last = f"{RECORD}@{recipe}"
    stages = [stage for stage in with_ancestors(graph, [last]).values() if stage.address != last]
    parts = {
        stage.address: {
            "command": stage.command,
            "params": stage.params,
            "leaves": {leaf: _content(root / leaf) for leaf in stage.leaves},
        }
        for stage in stages
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _content(file: Path) -> str | None:
    """Hash a file; None where there is none, which its stage will say itself."""
    if not file.is_file():
        return None
    status = file.stat()
    return _sha256(file, status.st_mtime_ns, status.st_size)


@functools.cache
def _sha256(file: Path, changed: int, length: int) -> str:
    return file_sha256(file)
