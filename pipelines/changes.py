"""What a flow has to do: found by another process while this one imports Prefect.

If that is enough, the warm worker is started meanwhile as well: its imports take longer still.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn, Self

from pipelines.graph import Graph, Pipeline, of_recipes
from pipelines.run_key import is_unpinned
from pipelines.warm_worker import attached_worker
from stages.recipe import PARAMS_FILE, read_recipes
from stages.warm import ADDRESS, DEFAULT_ADDRESS, LOG, is_served

READ = ("params.yaml", "dvc.yaml", "dvc.lock", "stages", "thaw")
SECONDS_NEW = 10.0
LONGEST_SOCKET = 103  # bytes of a path, on any system
WORTH_A_WORKER = 3  # stages: its imports take as long as those of two


@dataclass(frozen=True)
class Changes:
    """What is there to do.

    Attributes:
        graph: the stages to look at, each after those that it needs.
        stale: addresses of those that DVC may not skip.
        forced: of those to run in any case.
        order: addresses of all stages of the pipeline, as a plain `dvc repro` comes to them.
        refusals: what some stage would refuse of a recipe with stale stages, by recipe.
    """

    graph: Graph
    stale: set[str]
    forced: set[str]
    order: list[str]
    refusals: dict[str, str] = field(default_factory=dict)

    def of(self, recipes: Collection[str]) -> Self:
        """Return what concerns some recipes; none means all."""
        graph = of_recipes(self.graph, recipes) if recipes else self.graph
        return replace(
            self, graph=graph, stale=self.stale & graph.keys(), forced=self.forced & graph.keys()
        )

    @property
    def recipes(self) -> set[str]:
        """Name the recipes with stale stages."""
        return {self.graph[address].recipe for address in self.stale}


def find_changes(root: Path, recipes: Collection[str] = (), *, refresh: bool = False) -> Changes:
    """Ask DVC what changed, and stages what they would refuse.

    Args:
        root: where dvc.yaml is.
        recipes: none means all.
        refresh: whether what no checksum pins is to be fetched again.

    Raises:
        UserError: no DVC project, or a dvc.yaml that does not fit params.yaml.
    """
    found = ask_dvc(root, recipes, refresh=refresh)
    return replace(found, refusals=refusals(root, found.recipes))


def ask_dvc(
    root: Path, recipes: Collection[str] = (), *, refresh: bool = False, guarded: bool = True
) -> Changes:
    """Do the first half of `find_changes`.

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


def refusals(root: Path, recipes: Collection[str]) -> dict[str, str]:
    """Find what any stage of these recipes would refuse, before the first of them runs."""
    if not recipes:
        return {}
    from stages.check import check_recipe

    known = read_recipes(root / PARAMS_FILE)
    problems = {name: check_recipe(name, known[name]) for name in known if name in recipes}
    return {recipe: "\n".join(those) for recipe, those in problems.items() if those}


class Ahead:
    """The changes of a whole project, looked for by another process. To be begun before any thread.

    That process writes nothing, and ends with this one, however that ends. Where it finds enough to
    do, a warm worker is started, which ends with the block of `worker`, or with this process.

    Args:
        root: where dvc.yaml is.
        recipes: those that the flow is for; none means all.
    """

    def __init__(self, root: Path, recipes: Collection[str] = ()) -> None:
        self._root, self._files, self._since = root, _files(root), time.monotonic()
        found, tells = multiprocessing.Pipe(duplex=False)
        lives, self._held = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            found.close()
            os.close(self._held)
            _tell(root, recipes, tells, lives)
        tells.close()
        os.close(lives)
        self._found: Changes | None = None
        self._worker: Path | None = None
        self._open = ExitStack()
        self._waiting = threading.Thread(target=self._wait, args=[found, recipes], daemon=True)
        self._waiting.start()

    def _wait(self, found: Connection, recipes: Collection[str]) -> None:
        with contextlib.suppress(EOFError, OSError):  # it ended with no answer, or with half of one
            changes: Changes = found.recv()
            with contextlib.suppress(OSError):  # `worker_for` tries again, and says why
                stages = len(changes.of(recipes).stale)
                self._worker = self._open.enter_context(some_worker(self._root, stages))
            self._found = replace(changes, refusals=found.recv())
        os.waitpid(self._process, 0)  # it has ended, or is about to

    def changes(self, root: Path) -> Changes | None:
        """Wait for what was found.

        Returns:
            None for another folder; if it is no longer new, or files were edited since; or if it
            cannot be told: find the changes here, which says why.
        """
        if root != self._root or time.monotonic() > self._since + SECONDS_NEW:
            return None
        self._waiting.join()
        return self._found if _files(root) == self._files else None

    @contextmanager
    def worker(self) -> Iterator[Path | None]:
        """Yield the address of the worker that was started, if one was; it ends with the block."""
        self._waiting.join()
        with self._open:
            yield self._worker


@contextmanager
def worker_for(root: Path, stages: float, ahead: Ahead | None) -> Iterator[Path | None]:
    """Yield the address of a warm worker that ends with the block; None if it is not worth it.

    Args:
        root: where the stages run.
        stages: how many may run.
        ahead: has started one perhaps.
    """
    with (
        ahead.worker() if ahead else nullcontext() as found,
        nullcontext(found) if found else some_worker(root, stages) as address,
    ):
        yield address


@contextmanager
def some_worker(root: Path, stages: float) -> Iterator[Path | None]:
    """Yield the address of a worker that serves stages in any folder; None if there is none.

    The one that was started by hand in this process's folder, the project's; else one that ends
    with the block. If the environment names a worker (``THAW_WORKER``), that one or none.

    Args:
        root: where the stages run, and the log is to be of a worker that is started.
        stages: how many may run; for a few, none is started.
    """
    named = os.environ.get(ADDRESS)
    there = Path(named) if named else by_hand()
    if stages and is_served(there):
        yield there
    elif named or stages < WORTH_A_WORKER:
        yield None
    else:
        with attached_worker(root / LOG) as address:
            yield address


def by_hand() -> Path:
    """Return where a worker is that was started by hand, from whatever folder it is looked for.

    A socket's path is short. That of this process's folder is another word for a longer one.
    """
    plain = DEFAULT_ADDRESS.absolute()
    if len(os.fsencode(plain)) <= LONGEST_SOCKET:
        return plain
    return Path(f"/proc/{os.getpid()}/cwd") / DEFAULT_ADDRESS


def _tell(root: Path, recipes: Collection[str], tells: Connection, lives: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=[lives], daemon=True).start()
    with contextlib.suppress(Exception):  # who asked finds it as well, and says it
        found = ask_dvc(root, guarded=False)
        tells.send(found)
        tells.send(refusals(root, found.of(recipes).recipes))
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
