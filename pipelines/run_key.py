"""The run key: one hash for all that a recipe's results depend on, known before training."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.graph import CODE, RECORD, REPORT, Graph, Stage, with_ancestors
from stages.code import code_text, module_of
from thaw.core.files import known_sha256

NOT_CONTENT = {"__pycache__"}  # as .dvcignore has it


def run_key(root: Path, graph: Graph, recipe: str) -> str:
    """Hash commands, code, parameter values and leaf files of a recipe's stages and ancestors.

    Reporting and recording are left out: they change no result. Outputs count by what they are
    made of.

    What was fetched from where its parameters do not pin it counts by its content, once it is here.

    Returns:
        32 hexadecimal digits.
    """
    needed = with_ancestors(graph, [f"{RECORD}@{recipe}"])
    stages = [stage for stage in needed.values() if stage.name not in (CODE, REPORT, RECORD)]
    parts = {
        stage.address: {
            "command": stage.command,
            "code": code_text(root, stage.name) if (root / module_of(stage.name)).exists() else "",
            "params": stage.params,
            "leaves": {leaf: _content(root / leaf) for leaf in stage.leaves},
            "fetched": {out: _content(root / out) for out in stage.outs if is_unpinned(stage)},
        }
        for stage in stages
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_unpinned(stage: Stage) -> bool:
    """Say whether a stage may fetch another thing tomorrow with the same parameters."""
    plan = stage.params.get(f"recipes.{stage.recipe}.{stage.name}")
    if not isinstance(plan, Mapping):
        return False
    if stage.name == "download":
        return "sha256" not in plan
    # Torchvision's weights have their hash in their names, another recipe's model is in the graph.
    fixed = plan.get("source") == "none" or str(plan.get("source")).startswith("torchvision:")
    return stage.name == "weights" and stage.needs <= {CODE} and not fixed


def _content(path: Path) -> str | None:
    """Hash a file, or the files of a folder; None where there is nothing, or not yet."""
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.name not in NOT_CONTENT]
        found = [f"{file.name} {_content(file)}" for file in files]
        return hashlib.sha256("\n".join(found).encode()).hexdigest()
    if not path.is_file():
        return None
    return known_sha256(path)
