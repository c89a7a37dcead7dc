"""The pipeline's graph: what DVC makes of dvc.yaml, as plain data.

dvc.yaml is the only place that says which stage needs which; nothing here adds to it.
"""

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx

from pipelines.dvc_params import params_read_once
from pipelines.lock_text import in_order
from stages.recipe import read_recipes
from thaw.core.errors import UserError
from thaw.core.files import replacing
from thaw.params.base import did_you_mean

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

CODE, REPORT, RECORD = "code", "report", "record"
META = ("gpu", "retries", "timeout")


@dataclass(frozen=True)
class Stage:
    """One stage of one recipe.

    Attributes:
        address: DVC's name of it, such as ``fit_frozen@pets_sample``.
        command: what DVC runs.
        needs: addresses of the stages whose outputs it reads.
        params: the values that it reads from params.yaml, by key path.
        ran_with: those that it ran with last, as in dvc.lock; None before it ran.
        leaves: files that it reads and no stage makes: code, above all.
        outs: its outputs, with their MD5 in dvc.lock, None before they are made.
        meta: dvc.yaml's ``meta:`` (``retries``, ``gpu``, ``timeout``).
    """

    address: str
    command: str
    needs: frozenset[str]
    params: Mapping[str, Any]
    ran_with: Mapping[str, Any] | None
    leaves: tuple[str, ...]
    outs: Mapping[str, str | None]
    meta: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The stage without its recipe: ``fit_frozen``."""
        return self.address.partition("@")[0]

    @property
    def recipe(self) -> str:
        """The recipe: ``pets_sample``; none for ``code``, which is all recipes'."""
        return self.address.partition("@")[2]


Graph = dict[str, Stage]


class GuardedError(Exception):
    """Other processes have noted files that they are working on."""


class Pipeline:
    """dvc.yaml of a project folder, opened once.

    Attributes:
        graph: every stage by its address, each after those that it needs.

    Raises:
        UserError: no DVC project, or a dvc.yaml that does not fit params.yaml.
    """

    def __init__(self, root: Path) -> None:
        from dvc.exceptions import DvcException, NotDvcRepoError
        from dvc.repo import Repo
        from dvc.scm import SCMError

        self.root = root
        try:
            # Waits, as `dvc --wait-for-lock` does. Without the lock dvc.lock could be read while
            # another process of DVC has written half of it, which is valid YAML.
            self._repo = Repo(str(root), _wait_for_lock=True)
            with self._repo.lock:
                found = self._repo.index.graph
        except NotDvcRepoError:
            raise UserError(f"{root} is no project with DVC. First: dvc init") from None
        except SCMError:
            raise UserError(f"{root} is not under git, which DVC needs. First: git init") from None
        except DvcException as error:
            raise UserError(f"DVC cannot read the pipeline: {error}") from error
        recipes = read_recipes(root / "params.yaml")
        made = {Path(out.fs_path) for stage in found for out in stage.outs}
        holders = {parent for out in made for parent in out.parents}
        order = list(nx.dfs_postorder_nodes(found))
        self._stages: dict[str, PipelineStage] = {stage.name: stage for stage in order}
        self.graph: Graph = {
            address: _plain(stage, found, recipes, _leaves(stage, made, holders))
            for address, stage in self._stages.items()
        }

    def changed(
        self, graph: Graph, forced: Iterable[str] = (), *, guarded: bool = True
    ) -> set[str]:
        """Return those stages of a part of the graph that DVC may not skip.

        A stage after a changed one may turn out to be unchanged once that one has run.

        Args:
            graph: the part.
            forced: stages of it that are not to be skipped in any case.
            guarded: whether to note the files that are looked at, as DVC does, while other
                processes have noted some.

        Raises:
            GuardedError: they have, and nothing is to be noted.
        """
        stale = set(forced)
        with self._repo.lock, params_read_once(), self._files_unguarded(guarded):
            for address, stage in graph.items():
                if stale & stage.needs or self._is_changed(address):
                    stale.add(address)
        return stale

    def _is_changed(self, address: str) -> bool:
        """Ask DVC; a stage whose files another process is working on has changed."""
        from dvc.lock import LockError

        try:
            return bool(self._stages[address].changed())
        except LockError:
            return True

    @contextmanager
    def _files_unguarded(self, guarded: bool) -> Iterator[None]:
        """Spare DVC to note each file that it looks at, where no other process has noted any.

        None can come before the lock of the whole project is let go.
        """
        if are_files_guarded(Path(self._repo.tmp_dir or "", "rwlock")):
            if not guarded:
                raise GuardedError
            yield
            return
        rwlock: Any = importlib.import_module("dvc.rwlock")
        guard, rwlock.rwlock = rwlock.rwlock, lambda *_: nullcontext()
        try:
            yield
        finally:
            rwlock.rwlock = guard

    def close(self) -> None:
        """Let go of DVC's files."""
        self._repo.close()


def sort_lock(root: Path, addresses: Sequence[str]) -> None:
    """Put dvc.lock into the order of a plain `dvc repro`, whichever stage was through first.

    DVC appends a new stage when it is done; side by side, that would be by chance.

    A file in which someone wrote comments is left as it is.

    Args:
        root: where it is.
        addresses: all stages, in order.
    """
    lock = root / "dvc.lock"
    if not lock.exists():
        return
    text = lock.read_text(encoding="utf-8")
    if in_order(text, addresses) == text:
        return
    from dvc.repo import Repo  # takes long to import

    with closing(Repo(str(root), _wait_for_lock=True)) as repo, repo.lock:
        text = lock.read_text(encoding="utf-8")  # all of it: nobody is writing
        if (wanted := in_order(text, addresses)) not in (None, text):
            with replacing(lock) as part:
                part.write_text(wanted, encoding="utf-8")


def are_files_guarded(noted: Path) -> bool:
    """Say whether a process has noted files that it is working on, or nobody can tell."""
    try:
        return any(json.loads(noted.read_text(encoding="utf-8")).values())
    except FileNotFoundError:
        return False
    except ValueError:  # broken: DVC says so
        return True


def with_ancestors(graph: Graph, addresses: Iterable[str]) -> Graph:
    """Return the part of a graph that is needed for some stages, in the same order."""
    wanted = set(addresses)
    for address in reversed(graph):
        if address in wanted:
            wanted |= graph[address].needs
    return {address: stage for address, stage in graph.items() if address in wanted}


def urgencies(graph: Graph, recipes: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Rank the stages of a graph; what has the largest rank should begin first.

    First what most stages of other recipes wait for; else one recipe after the other, so that the
    first is ready early, and the short stages at its end run beside the next one's training.

    Args:
        graph: the stages.
        recipes: names, in the order of params.yaml.

    Returns:
        By address: stages of other recipes that need this one, directly or through others; the
        place of its recipe, from the end; stages of its own recipe that need it.
    """
    places = {recipe: -place for place, recipe in enumerate(recipes)}
    ranks = {}
    for address, after in followers(graph).items():
        recipe = graph[address].recipe
        own = sum(graph[other].recipe == recipe for other in after)
        ranks[address] = (len(after) - own, places.get(recipe, 0), own)
    return ranks


def followers(graph: Graph) -> dict[str, set[str]]:
    """Name for each stage of a graph those that need it, directly or through others."""
    after: dict[str, set[str]] = {address: set() for address in graph}
    for address in reversed(graph):
        for other in graph[address].needs & graph.keys():
            after[other] |= {address} | after[address]
    return after


def of_recipes(graph: Graph, recipes: Iterable[str]) -> Graph:
    """Return the stages of some recipes and all that these need, other recipes' included."""
    chosen = set(recipes)
    return with_ancestors(graph, (a for a, stage in graph.items() if stage.recipe in chosen))


def _plain(
    stage: "PipelineStage",
    graph: "nx.DiGraph",
    recipes: Mapping[str, Mapping[str, Any]],
    leaves: list[str],
) -> Stage:
    of_params = [dep for dep in stage.deps if hasattr(dep, "params")]
    params = [key for dep in of_params for key in dep.params]
    return Stage(
        address=stage.name,
        command=stage.cmd,
        needs=frozenset(other.name for other in graph.successors(stage)),
        params={key: look_up(recipes, key) for key in sorted(params)},
        ran_with=next((dep.hash_info.value for dep in of_params if dep.hash_info), None),
        leaves=tuple(leaves),
        outs={
            str(Path(out.fs_path).relative_to(stage.repo.root_dir)): (
                out.hash_info.value if out.hash_info else None
            )
            for out in stage.outs
        },
        meta=_meta(stage),
    )


def _meta(stage: "PipelineStage") -> dict[str, float]:
    """Read a stage's ``meta:``.

    Raises:
        UserError: a key or a value that nothing here understands.
    """
    meta = dict(stage.meta or {})
    name = stage.name.partition("@")[0]
    for key, value in meta.items():
        if key not in META:
            raise UserError(f"dvc.yaml: {name}: meta.{key}: unknown; {did_you_mean(key, META)}")
        if not isinstance(value, int | float) or value < 0:
            raise UserError(f"dvc.yaml: {name}: meta.{key}: {value!r} is no number of 0 or more.")
    return meta


def _leaves(stage: "PipelineStage", made: set[Path], holders: set[Path]) -> list[str]:
    """List what a stage reads that is no output, in no output, and holds none."""
    read = [Path(dep.fs_path) for dep in stage.deps if not hasattr(dep, "params")]
    root = Path(stage.repo.root_dir)
    return sorted(
        str(path.relative_to(root))
        for path in read
        if path not in holders and not made & {path, *path.parents}
    )


def look_up(recipes: Mapping[str, Mapping[str, Any]], key: str) -> Any:
    """Find ``recipes.pets.fit_frozen``, or the whole of ``recipes.pets``."""
    _, recipe, *section = key.split(".", 2)
    values = recipes.get(recipe, {})
    return values.get(section[0]) if section else values
