"""How much may run at once on this machine: jobs, cores and GPUs."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.graph import Stage


@dataclass(eq=False)
class Wish:
    """What a stage waits for.

    Attributes:
        cores: for training.
        gpus: likewise.
        urgency: the largest comes first.
    """

    cores: int
    gpus: int
    urgency: tuple[int, ...]


class Slots:
    """Jobs, cores and GPUs, given to stages as they come free, to the most urgent first.

    Any stage takes a job. One that trains also takes the cores that its recipe's ``threads`` say
    and the GPUs of its ``meta:``, as far as the machine has them. While the most urgent one waits
    for cores, none that is less urgent gets any.

    Args:
        jobs: stages at once.
        cores: for training.
        gpus: names of the GPUs.
    """

    def __init__(self, jobs: int, cores: int, gpus: list[str]) -> None:
        self._jobs, self._cores, self._gpus = jobs, cores, list(gpus)
        self._all_cores, self._all_gpus = cores, len(gpus)
        self._waiting: list[Wish] = []
        self._changed = threading.Condition()

    @contextmanager
    def take(
        self, stage: Stage, stop: threading.Event, urgency: tuple[int, ...] = ()
    ) -> Iterator[list[str]]:
        """Wait for what a stage needs and hold it.

        Args:
            stage: what will run.
            stop: ends the waiting.
            urgency: among the stages that wait, the largest comes first.

        Yields:
            The names of its GPUs, as in CUDA_VISIBLE_DEVICES.
        """
        cores = min(threads_of(stage), self._all_cores)
        gpus = min(int(stage.meta.get("gpu", 0)), self._all_gpus)
        wish = Wish(cores, gpus, urgency)
        with self._changed:
            self._waiting.append(wish)
            while not stop.is_set() and self._next() is not wish:
                self._changed.wait(0.5)
            self._waiting.remove(wish)
            self._jobs -= 1
            self._cores -= cores
            mine, self._gpus = self._gpus[:gpus], self._gpus[gpus:]
            self._changed.notify_all()  # there may be something left for another
        try:
            yield mine
        finally:
            with self._changed:
                self._jobs += 1
                self._cores += cores
                self._gpus = sorted(self._gpus + mine)
                self._changed.notify_all()

    def _next(self) -> Wish | None:
        """Return the most urgent wish that can be granted now, of equals the oldest.

        What a more urgent one waits for is kept for it, or those that need less would always
        come first.
        """
        cores, gpus = self._cores, len(self._gpus)
        for wish in sorted(self._waiting, key=lambda wish: wish.urgency, reverse=True):
            if self._jobs >= 1 and cores >= wish.cores and gpus >= wish.gpus:
                return wish
            cores, gpus = max(0, cores - wish.cores), max(0, gpus - wish.gpus)
        return None


def threads_of(stage: Stage) -> int:
    """Return the threads that a training stage computes with; 0 for the others, which are short.

    Those that train are those that a GPU would help.
    """
    trains = stage.meta.get("gpu")
    return int(stage.params.get(f"recipes.{stage.recipe}.threads") or 0) if trains else 0


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """Name the visible NVIDIA GPUs, by index or UUID; without torch, so quickly."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return [name for name in names if name and name != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    there = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(there))]
