"""How much may run at once on this machine: jobs, cores and GPUs."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.graph import Stage


class Slots:
    """Jobs, cores and GPUs, given to stages as they come free.

    Any stage takes a job. One that trains also takes the cores that its recipe's ``threads`` say
    and the GPUs of its ``meta:``, as far as the machine has them.

    Args:
        jobs: stages at once.
        cores: for training.
        gpus: names of the GPUs.
    """

    def __init__(self, jobs: int, cores: int, gpus: list[str]) -> None:
        self._jobs, self._cores, self._gpus = jobs, cores, list(gpus)
        self._all_cores, self._all_gpus = cores, len(gpus)
        self._changed = threading.Condition()

    @contextmanager
    def take(self, stage: Stage, stop: threading.Event) -> Iterator[list[str]]:
        """Wait for what a stage needs and hold it.

        Args:
            stage: what will run.
            stop: ends the waiting.

        Yields:
            The names of its GPUs, as in CUDA_VISIBLE_DEVICES.
        """
        cores = min(threads_of(stage), self._all_cores)
        gpus = min(int(stage.meta.get("gpu", 0)), self._all_gpus)
        with self._changed:
            while not stop.is_set() and not (
                self._jobs >= 1 and self._cores >= cores and len(self._gpus) >= gpus
            ):
                self._changed.wait(0.5)
            self._jobs -= 1
            self._cores -= cores
            mine, self._gpus = self._gpus[:gpus], self._gpus[gpus:]
        try:
            yield mine
        finally:
            with self._changed:
                self._jobs += 1
                self._cores += cores
                self._gpus = sorted(self._gpus + mine)
                self._changed.notify_all()


def threads_of(stage: Stage) -> int:
    """Return the threads that a training stage computes with; 0 for the others."""
    return int(stage.params.get(f"recipes.{stage.recipe}.threads") or 0)


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
