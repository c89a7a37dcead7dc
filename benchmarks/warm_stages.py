"""Run stages in folders of their own as a flow runs them: forked off a warm worker."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.warm_worker import attached_worker
from stages import warm

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def warm_stages() -> Iterator[Callable[[Path, str, str], None]]:
    """Yield a function that runs a stage: of a folder with a params.yaml, by stage and recipe."""
    os.environ["PYTHONPATH"] = str(ROOT)  # forks import from their folder first
    environment = dict(os.environ)  # as the worker has it: what is imported later may add to it

    def run(folder: Path, stage: str, recipe: str) -> None:
        with Path(os.devnull).open("w") as null:
            remote = warm.start(
                worker, "stages.command", [stage, recipe], cwd=folder,
                environment=environment, streams=(null.fileno(), null.fileno(), 2),
            )  # fmt: skip
        if remote is None:
            raise RuntimeError("The warm worker refuses.")
        with remote:
            if code := remote.wait():
                raise RuntimeError(f"{stage} {recipe} ended with {code}.")

    with tempfile.TemporaryDirectory() as name, attached_worker(Path(name, "log")) as worker:
        yield run
