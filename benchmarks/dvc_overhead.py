"""Time what DVC does around a stage, as it comes and as the flow has it.

`python -m benchmarks.dvc_overhead`, after `make demo`, uses this project's dvc.yaml, params.yaml
and dvc.lock and changes none of them: it reads a copy of dvc.lock and writes a stage's entry into
it, looks for stages that changed, reads one's parameters, and makes the command line's options.
Prints CPU seconds (least of the rounds, the two ways in turn) and their ratio.
"""

import argparse
import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

from dvc.cli import parser
from dvc.commands import repro
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml

from pipelines import dvc_command
from pipelines.dvc_params import params_read_once

ROOT = Path(__file__).parents[1]
STAGE = "evaluate@bears_sample"


def cpu_seconds(work: Callable[[], object]) -> float:
    """Run something once; return the CPU time that it took."""
    began = time.process_time()
    work()
    return time.process_time() - began


def use_lock(lock: Path, address: str) -> None:
    """Do to dvc.lock what DVC does around a stage that ran: read it, and write its entry."""
    strictyaml.load(str(lock))
    with _yaml.modify_yaml(lock) as data:
        data["stages"].update({address: {**data["stages"][address]}})


def read_parameters(stage: PipelineStage) -> None:
    """Read a stage's parameters as often as DVC does once it has run."""
    for dep in stage.deps * 3:
        if isinstance(dep, ParamsDependency):
            dep.read_params()


@contextmanager
def quickened(address: str) -> Iterator[None]:
    """Read and write dvc.lock as the flow's worker does."""
    with (
        mock.patch.object(strictyaml, "parse_yaml"),
        mock.patch.multiple(_yaml, parse_yaml_for_update=None, _dump=None),
    ):
        dvc_command.quicken(address)
        yield


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
    print(f"{name}: {theirs:.3f} s by DVC, {own:.3f} s in a flow, ratio {theirs / own:.1f}")


def main() -> None:
    """Measure and print."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--rounds", type=int, default=3)
    rounds = command.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(shutil.copy(ROOT / "dvc.lock", folder))
        compare(
            "dvc.lock around a stage",
            functools.partial(use_lock, lock, STAGE), functools.partial(quickened, STAGE), rounds,
        )  # fmt: skip
        assert lock.read_bytes() == (ROOT / "dvc.lock").read_bytes()
    stages = Repo(str(ROOT)).index.stages

    def look() -> None:
        for stage in stages:
            stage.changed_deps()

    with stages[0].repo.lock:
        compare(f"looking at {len(stages)} stages", look, params_read_once, rounds)
    read = functools.partial(read_parameters, next(s for s in stages if s.name == STAGE))
    compare("parameters of a stage that ran", read, params_read_once, rounds)
    of_repro = functools.partial(mock.patch.object, parser, "COMMANDS", [repro])
    compare("options", parser.get_main_parser.__wrapped__, of_repro, rounds)


if __name__ == "__main__":
    main()
