"""Refuse to start on a machine that cannot finish: `python pipelines/preflight.py --gigabytes 9`.

Runs before there is an environment, so it needs nothing but Python's own library.
"""

import argparse
import shutil
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)


def problems(folder: Path, gigabytes: float) -> list[str]:
    """List what is missing: a Python that is new enough, git, free space in GB below `folder`."""
    found = []
    if sys.version_info < OLDEST_PYTHON:
        found.append(
            f"Python {sys.version_info.major}.{sys.version_info.minor} is too old: 3.11 or newer "
            "is needed. Name one: make demo PYTHON=python3.12"
        )
    if shutil.which("git") is None:
        found.append("git is missing: DVC needs it. Install it with your system's packages.")
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        found.append(
            f"{free:.1f} GB are free below {folder.name or folder}, {gigabytes:g} GB are needed. "
            "Free some space or clone the project onto a larger disk."
        )
    return found


def main() -> int:
    """Print the problems and return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, required=True)
    found = problems(Path.cwd(), parser.parse_args().gigabytes)
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
