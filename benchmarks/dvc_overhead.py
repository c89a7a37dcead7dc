"""Time what DVC does around a stage, as it comes and as the flow has it.

`python -m benchmarks.dvc_overhead` uses this project's own dvc.yaml, params.yaml and dvc.lock, and
changes none of them: it writes one stage's entry into a copy of dvc.lock, and looks for stages that
changed. Prints CPU seconds (least of the rounds, the two ways in turn) and their ratio.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

from dvc.repo import Repo
from dvc.utils.serialize import _yaml

from pipelines import dvc_command
from pipelines.graph import params_read_once

ROOT = Path(__file__).parents[1]


def cpu_seconds(work: Callable[[], object]) -> float:
    """Run something once; return the CPU time that it took."""
    began = time.process_time()
    work()
    return time.process_time() - began


def write_lock(lock: Path) -> None:
    """Do to dvc.lock what DVC does after a stage that ran."""
    with _yaml.modify_yaml(lock) as data:
        address, stage = next(iter(data["stages"].items()))
        data["stages"].update({address: {**stage}})


def our_lock() -> AbstractContextManager[object]:
    """Read and write dvc.lock as the flow's worker does."""
    return mock.patch.multiple(
        _yaml, parse_yaml_for_update=dvc_command.read_lock, _dump=dvc_command.write_lock
    )


def compare(
    name: str, work: Callable[[], object], ours: Callable[[], AbstractContextManager], rounds: int
) -> None:
    """Print the least times of both ways and their ratio."""
    times: dict[str, list[float]] = {"DVC": [], "flow": []}
    for _ in range(rounds):
        for way, setting in (("DVC", nullcontext), ("flow", ours)):
            with setting():
                times[way].append(cpu_seconds(work))
    theirs, own = (min(times[way]) for way in ("DVC", "flow"))
    print(f"{name}: {theirs:.2f} s by DVC, {own:.2f} s in a flow, ratio {theirs / own:.1f}")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(shutil.copy(ROOT / "dvc.lock", folder))
        compare("writing dvc.lock", lambda: write_lock(lock), our_lock, rounds)
        assert lock.read_bytes() == (ROOT / "dvc.lock").read_bytes()
    stages = Repo(str(ROOT)).index.stages

    def look() -> None:
        for stage in stages:
            stage.changed_deps()

    with stages[0].repo.lock:
        compare(f"looking at {len(stages)} stages", look, params_read_once, rounds)


if __name__ == "__main__":
    main()
