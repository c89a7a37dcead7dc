"""What a flow has to do: found by another process while this one imports Prefect."""

import contextlib
import multiprocessing
import signal
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from pipelines.graph import Graph, Pipeline, of_recipes
from pipelines.run_key import is_unpinned
from thaw.core.errors import UserError

READ = ("params.yaml", "dvc.yaml", "dvc.lock")


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


def find_changes(root: Path, recipes: Collection[str] = (), refresh: bool = False) -> Changes:
    """Ask DVC what changed.

    Args:
        root: where dvc.yaml is.
        recipes: none means all.
        refresh: whether what no checksum pins is to be fetched again.

    Raises:
        UserError: no DVC project, or a dvc.yaml that does not fit params.yaml.
    """
    pipeline = Pipeline(root)
    graph = of_recipes(pipeline.graph, recipes) if recipes else pipeline.graph
    forced = {address for address in graph if refresh and is_unpinned(graph[address])}
    stale = pipeline.changed(graph, forced)
    pipeline.close()
    return Changes(graph, stale, forced, list(pipeline.graph))


class Ahead:
    """The changes of a whole project, looked for by another process. To be begun before any thread.

    Args:
        root: where dvc.yaml is.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._files = root, _files(root)
        self._found, tells = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(
            target=_tell, args=(root, tells), daemon=True
        )
        process.start()
        tells.close()

    def changes(self, root: Path) -> Changes | None:
        """Wait for what was found.

        Returns:
            None for another folder; if files were edited since; or if it cannot be told: find the
            changes here, which says why.
        """
        if root != self._root:
            return None
        try:
            found: Changes = self._found.recv()
        except EOFError:
            return None
        return found if _files(root) == self._files else None


def _tell(root: Path, tells: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(UserError, BrokenPipeError):
        tells.send(find_changes(root))


def _files(root: Path) -> list[tuple[int, int] | None]:
    """Tell when the files that say what there is to do were written, and how long they are."""
    stats = [(root / name).stat() if (root / name).exists() else None for name in READ]
    return [stat and (stat.st_mtime_ns, stat.st_size) for stat in stats]
