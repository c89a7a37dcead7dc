"""What a flow has to do: found by another process while this one imports Prefect."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn, Self

from pipelines.graph import Graph, Pipeline, of_recipes
from pipelines.run_key import is_unpinned

READ = ("params.yaml", "dvc.yaml", "dvc.lock", "stages", "thaw")
SECONDS_NEW = 10.0


@dataclass(frozen=True)
class Changes:
    """What is there to do.

    Attributes:
        graph: the stages to look at, each after those that it needs.
        stale: addresses of those that DVC may not skip.
        forced: of those to run in any case.
        order: addresses of all stages of the pipeline, as a plain `dvc repro` comes to them.
    """

    graph: Graph
    stale: set[str]
    forced: set[str]
    order: list[str]

    def of(self, recipes: Collection[str]) -> Self:
        """Return what concerns some recipes; none means all."""
        graph = of_recipes(self.graph, recipes) if recipes else self.graph
        return type(self)(graph, self.stale & graph.keys(), self.forced & graph.keys(), self.order)


def find_changes(
    root: Path, recipes: Collection[str] = (), *, refresh: bool = False, guarded: bool = True
) -> Changes:
    """Ask DVC what changed.

    Args:
        root: where dvc.yaml is.
        recipes: none means all.
        refresh: whether what no checksum pins is to be fetched again.
        guarded: as for `Pipeline.changed`.

    Raises:
        GuardedError: likewise.
        UserError: no DVC project, or a dvc.yaml that does not fit params.yaml.
    """
    pipeline = Pipeline(root)
    graph = of_recipes(pipeline.graph, recipes) if recipes else pipeline.graph
    forced = {address for address in graph if refresh and is_unpinned(graph[address])}
    stale = pipeline.changed(graph, forced, guarded=guarded)
    pipeline.close()
    return Changes(graph, stale, forced, list(pipeline.graph))


class Ahead:
    """The changes of a whole project, looked for by another process. To be begun before any thread.

    That process writes nothing, and ends with this one, however that ends.

    Args:
        root: where dvc.yaml is.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._files, self._since = root, _files(root), time.monotonic()
        self._found, tells = multiprocessing.Pipe(duplex=False)
        lives, self._held = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            self._found.close()
            os.close(self._held)
            _tell(root, tells, lives)
        tells.close()
        os.close(lives)

    def changes(self, root: Path) -> Changes | None:
        """Wait for what was found.

        Returns:
            None for another folder; if it is no longer new, or files were edited since; or if it
            cannot be told: find the changes here, which says why.
        """
        if root != self._root or time.monotonic() > self._since + SECONDS_NEW:
            return None
        try:
            found: Changes = self._found.recv()
        except EOFError:
            return None
        finally:
            os.waitpid(self._process, 0)  # it has ended, or is about to
        return found if _files(root) == self._files else None


def _tell(root: Path, tells: Connection, lives: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=[lives], daemon=True).start()
    with contextlib.suppress(Exception):  # who asked finds it as well, and says it
        tells.send(find_changes(root, guarded=False))
    os._exit(0)


def _end_with(lives: int) -> NoReturn:
    """Wait until nobody holds the other end, which only the process does that asked."""
    os.read(lives, 1)
    os._exit(0)


def _files(root: Path) -> dict[str, tuple[int, int]]:
    """Tell when the files that people edit were written, and how long they are."""
    files = [file for name in READ for file in [root / name, *(root / name).rglob("*.*")]]
    stats = {str(file): file.stat() for file in files if file.is_file()}
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}
