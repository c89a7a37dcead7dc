"""Seven stages without work, each of which imports torch and torchvision: what starting them costs.

`python -m benchmarks.no_work` makes a clone of this project with a pipeline of seven stages, one
after the other, that write a file each, and runs it by `dvc repro` with each stage a new process,
by `dvc repro` with its warm worker, and by the flow under a running Prefect server, in turn.
Prints the seconds of the whole commands, and of the flow's stages alone: from the beginning of the
first to the end of the last.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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
    ways = {
        "dvc repro, new processes": (["dvc", "repro"], {"THAW_WORKER": "none"}),
        "dvc repro, warm worker": (["dvc", "repro"], {}),
        "flow": ([sys.executable, "-m", "pipelines.train"], {}),
    }
    whole: dict[str, list[float]] = {way: [] for way in ways}
    stages: list[float] = []
    for _ in range(rounds):
        for way, (command, more) in ways.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "dvc.lock").unlink(missing_ok=True)
            began = time.perf_counter()
            subprocess.run(
                command, cwd=folder, env=env | more, check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            whole[way].append(time.perf_counter() - began)
        first, *_, last = (float((folder / "out" / stage).read_text()) for stage in STAGES)
        stages.append((last - first) * len(STAGES) / (len(STAGES) - 1))
    for way, found in whole.items():
        print(f"{way:26} median {statistics.median(found):.1f} s, least {min(found):.1f} s")
    print(f"{'the stages of the flow':26} median {statistics.median(stages):.1f} s")


if __name__ == "__main__":
    main()
