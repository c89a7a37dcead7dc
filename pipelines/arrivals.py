"""Which stages are about to come: their tasks begin in any order once what they need is done."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipelines.graph import Graph

PATIENCE = 2.0  # seconds; Prefect begins a task within tenths of one


class Arrivals:
    """Has less urgent stages let more urgent ones pass that can begin as well, but come later.

    Args:
        graph: the stages.
        stale: the addresses of those that have something to do. The others wait for nobody.
        urgencies: the largest should begin first.
    """

    def __init__(
        self, graph: Graph, stale: set[str], urgencies: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._needs = {address: graph[address].needs & graph.keys() for address in stale}
        self._urgencies = urgencies
        self._here: set[str] = set()
        self._done: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, address: str) -> Iterator[None]:
        """Wait until all are here that can begin and are more urgent than a stage; have its turn.

        Args:
            address: of the stage, which is done at the block's end.
        """
        with self._changed:
            if address in self._needs:
                self._here.add(address)
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._are_coming(address), PATIENCE)
        yield
        with self._changed:
            self._done.add(address)

    def _are_coming(self, address: str) -> bool:
        return any(
            self._urgencies[other] > self._urgencies[address] and needs <= self._done
            for other, needs in self._needs.items()
            if other not in self._here
        )
