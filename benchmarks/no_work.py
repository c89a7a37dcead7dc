"""Seven stages without work, each of which imports torch and torchvision: what starting them costs.

`python -m benchmarks.no_work` makes a clone of this project with a pipeline of seven stages, one
after the other, that write a file each, and runs it in turn: by `dvc repro` with each stage a new
process; by `dvc repro` with a warm worker that its first stage starts, and with one that was
started by hand before; and by the flow, under a running Prefect server, with the two latter workers
as well. Prints the seconds of the whole commands, and of six stages: from the end of the first to
that of the last.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.flow import ROOT, served

RECIPE = "movielens_sample"  # some recipe of params.yaml: the flow checks it first
STAGES = [f"stage{number}" for number in range(1, 8)]
# In place of stages/command.py, which `python -m stages` runs, cold or in a fork of a worker.
WORK = """
import sys, time
from pathlib import Path
import torch, torchvision

def main():
    Path("out").mkdir(exist_ok=True)
    Path("out", sys.argv[1]).write_text(str(time.time()))
    return 0

if __name__ == "__main__":
    sys.exit(main())
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    scratch = Path(tempfile.mkdtemp(prefix="thaw-no-work-"))
    try:
        folder = scratch / "project"
        write_project(folder)
        with served(scratch) as env:
            compare(folder, env, rounds)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_project(folder: Path) -> None:
    """Write the pipeline into a clone."""
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    (folder / "dvc.lock").unlink()
    (folder / "stages" / "command.py").write_text(WORK)
    lines = ["stages:"]
    for before, stage in zip([None, *STAGES], STAGES, strict=False):
        deps = f"deps: [out/{before}], " if before else ""
        lines += [
            f"  {stage}:",
            f"    foreach: [{RECIPE}]",
            f"    do: {{cmd: python -m stages {stage}, {deps}outs: [{{out/{stage}: "
            "{cache: false}}]}",
        ]
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")


def compare(folder: Path, env: dict[str, str], rounds: int) -> None:
    """Run all ways in turn; print what each took."""
    dvc, flow = ["dvc", "repro"], [sys.executable, "-m", "pipelines.train"]
    ways = {
        "dvc repro, new processes": (dvc, {"THAW_WORKER": "none"}, False),
        "dvc repro, its worker": (dvc, {}, False),
        "dvc repro, a worker by hand": (dvc, {}, True),
        "flow, its worker": (flow, {}, False),
        "flow, a worker by hand": (flow, {}, True),
    }
    whole: dict[str, list[float]] = {way: [] for way in ways}
    six: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (command, more, by_hand) in ways.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "dvc.lock").unlink(missing_ok=True)
            with worker(folder, env) if by_hand else nullcontext():
                began = time.perf_counter()
                subprocess.run(
                    command, cwd=folder, env=env | more, check=True,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                whole[way].append(time.perf_counter() - began)
            first, *_, last = (float((folder / "out" / name).read_text()) for name in STAGES)
            six[way].append(last - first)
    for way in ways:
        print(
            f"{way:28} all of it: median {statistics.median(whole[way]):.1f} s, least "
            f"{min(whole[way]):.1f} s; six stages: median {statistics.median(six[way]):.1f} s, "
            f"least {min(six[way]):.1f} s"
        )


@contextmanager
def worker(folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Have a worker in the folder, started as by hand."""
    command = [sys.executable, "-m", "pipelines.warm_worker"]
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE)
    with process:
        try:
            if not process.stdout.readline():  # it says when it is ready
                raise RuntimeError("The worker does not start.")
            yield
        finally:
            process.terminate()  # SIGINT is ignored where a shell began this in the background


if __name__ == "__main__":
    main()
