"""Time all recipes of params.yaml by `dvc repro` and by the flow: first and unchanged.

`python -m benchmarks.flow --rounds 1` makes two clones, runs one by each, then both again with
nothing to do, and `dvc status` beside them, in turn, under a running Prefect server. Prints
seconds.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
PORT = 4299


def seconds(command: list[str], folder: Path, env: dict[str, str]) -> float:
    """Run a command that must succeed; return its wall time."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def wait_for(health: str) -> None:
    """Wait until a server answers."""
    for _ in range(600):
        try:
            if httpx.get(health, timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise TimeoutError(health)


@contextmanager
def served(scratch: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of commands that use a Prefect server of their own, with no history.

    Args:
        scratch: for its files.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    api = f"http://127.0.0.1:{PORT}/api"
    env = os.environ | {
        "PATH": path, "DO_NOT_TRACK": "true", "PREFECT_HOME": str(scratch / "prefect"),
        "PREFECT_API_URL": api,
    }  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(PORT)],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(f"{api}/health")
        yield env
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of the unchanged runs")
    parser.add_argument("--done", type=Path, help="a clone that is up to date: only unchanged runs")
    chosen = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="thaw-flow-"))
    try:
        with served(scratch) as env:
            compare(scratch, env, chosen.done, chosen.rounds)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def compare(scratch: Path, env: dict[str, str], done: Path | None, rounds: int) -> None:
    """Run everything by both, unless there is a finished clone; then unchanged, in turn."""
    by = {
        "dvc repro": ["dvc", "repro"],
        "flow": [sys.executable, "-m", "pipelines.train"],
    }
    folders = dict.fromkeys(by, done)
    if done is None:
        for name, command in by.items():
            folders[name] = scratch / name.replace(" ", "-")
            subprocess.run(["git", "clone", "-q", ROOT, folders[name]], check=True)
            print(f"first, {name}: {seconds(command, folders[name], env):.0f} s", flush=True)
    by = by | {"dvc status": ["dvc", "status"]}
    folders["dvc status"] = folders["dvc repro"]
    times: dict[str, list[float]] = {name: [] for name in by}
    for _ in range(rounds):
        for name, command in by.items():
            times[name].append(seconds(command, folders[name], env))
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"unchanged, {name}: median {middle:.1f} s, least {min(found):.1f} s")


if __name__ == "__main__":
    main()
