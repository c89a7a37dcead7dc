"""Recorded runs: copies of a recipe's results under their run key, waiting for MLflow or sent.

A run is a folder ``.thaw/runs/<key>/`` with ``run.json`` and the result files as they lie in the
project. It holds all that MLflow is told, so that a store that was down, or was deleted, can be
filled at any later time.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.places import without_password
from stages.paths import Paths
from stages.timing import NAME as TIMING
from stages.timing import timing_is_current
from thaw.files import read_json, replacing, write_json

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
RUN, SENT, LOCK = "run.json", "sent.json", "lock"


@dataclass
class Run:
    """What is known of a run apart from its files.

    Attributes:
        key: the run key.
        recipe: its recipe.
        status: in MLflow's words.
        params: flattened parameters as text.
        tags: text about the run.
    """

    key: str
    recipe: str
    status: Status
    params: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)


class RunFolder:
    """The folder of one run.

    Args:
        folder: ``.thaw/runs/<key>``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder

    @property
    def lock(self) -> Path:
        """Held by whoever sends the run: two senders would log points twice."""
        return self.path / LOCK

    def write(self, run: Run) -> None:
        """Write ``run.json``, keeping the tags that it has and `run` lacks."""
        run.tags = self.tags() | run.tags
        write_json(self.path / RUN, asdict(run))

    def tags(self) -> dict[str, str]:
        """Return the tags of the run as it was written last, if it was."""
        return self.read().tags if (self.path / RUN).exists() else {}

    def read(self) -> Run:
        """Read ``run.json``."""
        return Run(**read_json(self.path / RUN))

    def copy(self, files: Iterable[Path], root: Path) -> None:
        """Copy files of the project, as they are now, under their names relative to its root."""
        for file in files:
            with replacing(self.path / "files" / file) as part:
                shutil.copyfile(root / file, part)

    def files(self) -> list[Path]:
        """List the copied files, relative to ``files/``."""
        base = self.path / "files"
        return sorted(
            file.relative_to(base)
            for file in base.rglob("*")
            if file.is_file() and not file.name.endswith(".part")
        )

    def digest(self) -> str:
        """Hash all of it, to tell whether a store has it as it is now."""
        digest = hashlib.sha256((self.path / RUN).read_bytes())
        for file in self.files():
            digest.update(f"{file}\n".encode())
            digest.update((self.path / "files" / file).read_bytes())
        return digest.hexdigest()[:32]

    def sent_to(self, uri: str) -> bool:
        """Say whether a store was sent the run as it is now. The store may have lost it since."""
        if not (self.path / SENT).exists():
            return False
        return bool(read_json(self.path / SENT).get(without_password(uri)) == self.digest())

    def note_sent(self, uri: str, digest: str) -> None:
        """Note that a store has the run."""
        sent = read_json(self.path / SENT) if (self.path / SENT).exists() else {}
        write_json(self.path / SENT, sent | {without_password(uri): digest})


def run_folders(folder: Path) -> list[RunFolder]:
    """List the recorded runs, oldest first."""
    found = [path.parent for path in folder.glob(f"*/{RUN}")]
    return [RunFolder(path) for path in sorted(found, key=lambda path: path.stat().st_ctime_ns)]


def result_files(recipe: str) -> list[Path]:
    """List what a recipe shows: its results, and the model's description and threshold.

    Timings count only while they belong to the results. Weights and data stay with DVC.
    """
    paths = Paths(recipe)
    results = sorted(Path("results", recipe).rglob("*"))
    return [
        file
        for file in [*results, paths.model_json, paths.threshold]
        if file.is_file()
        and not file.name.endswith(".part")
        and (file.name != TIMING or timing_is_current(file.parent.name, recipe))
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested parameters to text by dotted path; lists as JSON."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
