"""Recorded runs: copies of a recipe's results under their run key, waiting for MLflow or sent.

A run is a folder ``.thaw/runs/<key>/`` with ``run.json`` and the result files as they lie in the
project. It holds all that MLflow is told, so that a store that was down, or was deleted, can be
filled at any later time.
"""

import filecmp
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pipelines.places import runs_folder, without_password
from stages.common.paths import Paths
from stages.timing import NAME as TIMING
from stages.timing import timing_is_current
from thaw.core.files import read_json, replacing, write_json

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
RUN, SENT, LOCK = "run.json", "sent.json", "lock"
ALIVE = "alive.lock"  # held by the flow that works on the run


@dataclass
class Run:
    """What is known of a run apart from its files.

    Attributes:
        key: the run key.
        recipe: its recipe.
        status: in MLflow's words.
        params: flattened parameters as text.
        tags: text about the run.
        began: when it was first heard of, in milliseconds since 1970.
        ended: when it ended last, None while it runs.
    """

    key: str
    recipe: str
    status: Status
    params: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    began: int | None = None
    ended: int | None = None


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

    def write(self, run: Run, without: Sequence[str] = ()) -> None:
        """Write ``run.json``, keeping the tags that it has and `run` lacks, but for some.

        A run keeps its beginning, and its end for as long as it stays as it ended.
        """
        before = self.read() if (self.path / RUN).exists() else None
        now = int(time.time() * 1000)
        kept = before.tags if before else {}
        run.tags = {k: v for k, v in (kept | run.tags).items() if k not in without}
        run.began = before.began if before and before.began else now
        run.ended = None if run.status == "RUNNING" else now
        if before and asdict(before) == asdict(run) | {"ended": before.ended}:
            return
        write_json(self.path / RUN, asdict(run))

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags to a run, which began and ended when it did."""
        run = self.read()
        if not tags.items() <= run.tags.items():
            run.tags |= tags
            write_json(self.path / RUN, asdict(run))

    def is_finished_with(self, files: Iterable[Path], root: Path) -> bool:
        """Say whether these very results were recorded already; timings do not count."""
        if not (self.path / RUN).exists() or self.read().status != "FINISHED":
            return False
        results = [file for file in files if file.name != TIMING]
        copies = [self.path / "files" / file for file in results]
        return all(
            copy.exists() and filecmp.cmp(copy, root / file, shallow=False)
            for copy, file in zip(copies, results, strict=True)
        )

    def read(self) -> Run:
        """Read ``run.json``."""
        return Run(**read_json(self.path / RUN))

    def copy(self, files: Iterable[Path], root: Path) -> None:
        """Copy files of the project, as they are now, under their names relative to its root.

        What a run has told already stays: a fit that begins anew is the same one, step by step.
        """
        for file in files:
            if self._goes_further(file, root):
                continue
            with replacing(self.path / "files" / file) as part:
                shutil.copyfile(root / file, part)

    def _goes_further(self, file: Path, root: Path) -> bool:
        """Say whether the copy begins with all that the file holds now."""
        copy = self.path / "files" / file
        if file.suffix != ".csv" or not copy.exists():
            return False
        return copy.read_bytes().startswith((root / file).read_bytes())

    def files(self) -> list[Path]:
        """List the copied files, relative to ``files/``."""
        base = self.path / "files"
        found = (Path(folder, name) for folder, _, names in os.walk(base) for name in names)
        return sorted(file.relative_to(base) for file in found if file.suffix != ".part")

    def digest(self) -> str:
        """Hash all of it, to tell whether a store has it as it is now."""
        digest = hashlib.sha256((self.path / RUN).read_bytes())
        for file in self.files():
            digest.update(f"{file}\n".encode())
            digest.update((self.path / "files" / file).read_bytes())
        return digest.hexdigest()[:32]

    def state(self) -> str:
        """Hash when its files were written and how long they are: `digest` reads them all."""
        files = [Path(RUN), *(Path("files", file) for file in self.files())]
        states = [(file, (self.path / file).stat()) for file in files]
        lines = [f"{file} {status.st_mtime_ns} {status.st_size}" for file, status in states]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]

    def sent_to(self, uri: str) -> bool:
        """Say whether a store was sent the run as it is now. The store may have lost it since."""
        if not (self.path / SENT).exists():
            return False
        return bool(read_json(self.path / SENT).get(without_password(uri)) == self.state())

    def note_sent(self, uri: str, state: str) -> None:
        """Note that a store has the run as it was in a state."""
        sent = read_json(self.path / SENT) if (self.path / SENT).exists() else {}
        write_json(self.path / SENT, sent | {without_password(uri): state})


def run_folders(folder: Path) -> list[RunFolder]:
    """List the recorded runs, oldest first."""
    found = [path.parent for path in folder.glob(f"*/{RUN}")]
    return [RunFolder(path) for path in sorted(found, key=lambda path: path.stat().st_ctime_ns)]


def ended_runs(root: Path) -> list[RunFolder]:
    """List the recorded runs that no flow is at. Those whose flow was killed are marked so."""
    return [folder for folder in run_folders(runs_folder(root)) if _has_ended(folder)]


def _has_ended(folder: RunFolder) -> bool:
    run = folder.read()
    if run.status != "RUNNING":
        return True
    try:
        with FileLock(folder.path / ALIVE, timeout=0):
            run.status = "KILLED"
            folder.write(run)
            return True
    except Timeout:
        return False


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
