"""Does time grow with the data, and memory not? Rendered images, and rendered ratings.

    python -m benchmarks.growth images
    python -m benchmarks.growth ratings
    python -m benchmarks.growth limited      # as root: makes a memory cgroup

`images`: packing 1,000, 4,000 and 16,000 images, and an unfrozen epoch over each. `ratings`:
reading and splitting 100,000, 1 and 10 million of them, and fitting one epoch at a batch of 1,024
with the same users and items. `limited`: the epoch over packed images larger than all memory that
its process may have, page cache included, with and without reading ahead, beside one without a
limit; the file is read from the disk each time. Each is a stage in a process of its own; prints its
seconds by its own watch, per item, and the most memory it had: anonymous, and with the mapped pages
of the packed file, which the system may take back at any time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES, RATINGS = (1_000, 4_000, 16_000), (100_000, 1_000_000, 10_000_000)
ROUNDS = 3  # of images; to be compared by the least, as other work only ever adds
DISTINCT = 500  # images; further ones are links to these
CLASSES, HEIGHT, WIDTH, SIDE = 10, 120, 160, 64
USERS, ITEMS = 8_000, 4_000
LIMITED_IMAGES, LIMIT = 24_000, 1_000 * 2**20
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
COMMAND = "from stages.command import main; main()"
NOT_AHEAD = "thaw.pack.Packed.read_ahead = lambda packed, rows: None"
EVERY = 0.02  # seconds between two looks at a process' memory
MB = 2**20


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["images", "ratings", "limited"])
    what = parser.parse_args().what
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        if what == "images":
            images({count: Path(name, str(count)) for count in IMAGES})
        elif what == "ratings":
            for count in RATINGS:
                ratings(Path(name, str(count)), count)
        else:
            limited(Path(name))


def images(folders: dict[int, Path]) -> None:
    """Pack so many and train an epoch on them, each number in turn, several times."""
    for count, folder in folders.items():
        prepare_images(folder, count)
        for stage in ("pack", "lr_frozen", "fit_frozen", "lr_unfrozen"):
            run(folder, stage)
    for _ in range(ROUNDS):
        for stage in ("pack", "fit_unfrozen"):
            for count, folder in folders.items():
                tell(folder, stage, count)


def prepare_images(folder: Path, count: int) -> None:
    """Write a recipe and its images, unpacked and split."""
    raw = folder / "data/grown/raw"
    for number in range(count):
        file = raw / f"class{number % CLASSES}" / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < DISTINCT:
            Image.fromarray(picture(number)).save(file, quality=90)
        else:
            first = number % DISTINCT
            os.link(raw / f"class{first % CLASSES}" / f"{first:05}.jpg", file)
    write_recipe(folder, {
        "data": {"folder": ".", "presize": HEIGHT, "max_bad": 0.0},
        "model": {"arch": "shufflenet_v2_x0_5"},
        "augment": {"image_side": SIDE, "views": 0},
        "weights": {"source": "none"},
        "split": {"label": {"rule": "folder"}, "by": {"rule": "random", "valid": 0.1}},
        "lr_frozen": {"steps": 0},
        "fit_frozen": {"epochs": 0, "lr": 1e-3, "batch_size": 64},
        "lr_unfrozen": {"steps": 0},
        "fit_unfrozen": {"epochs": 1, "lr": 1e-3, "batch_size": 64},
    })  # fmt: skip
    for stage in ("weights", "split"):
        run(folder, stage)


def picture(number: int) -> np.ndarray:
    """Return smooth colours with some noise, uint8 [h, w, 3]."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).resize((WIDTH, HEIGHT))
    noise = rng.integers(-10, 11, (HEIGHT, WIDTH, 3))
    return np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)


def ratings(folder: Path, count: int) -> None:
    """Split so many and fit an epoch on them."""
    file = folder / "data/grown/raw/u.data"
    file.parent.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pairs = rng.choice(USERS * ITEMS, count, replace=False, shuffle=False)
    stars = rng.integers(1, 6, count)
    with file.open("w") as lines:
        for pair, rating in zip(pairs.tolist(), stars.tolist(), strict=True):
            lines.write(f"{pair // ITEMS + 1}\t{pair % ITEMS + 1}\t{rating}\t{pair}\n")
    write_recipe(folder, {
        "data": {"folder": "."},
        "model": {"factors": 50, "bias": True, "y_range": [0.0, 5.5]},
        "split": {
            "label": {"rule": "ratings", "items": None},
            "by": {"rule": "random", "valid": 0.1},
        },
        "lr_find": {"steps": 0},
        "fit": {"epochs": 1, "lr": 5e-3, "batch_size": 1024, "weight_decay": 0.1},
    })  # fmt: skip
    tell(folder, "split", count)
    run(folder, "lr_find")
    tell(folder, "fit", count)


def limited(folder: Path) -> None:
    """Train on packed images in less memory than they take."""
    prepare_images(folder, LIMITED_IMAGES)
    for stage in ("pack", "lr_frozen", "fit_frozen", "lr_unfrozen"):
        run(folder, stage)
    pixels = (folder / "data/grown/packed/pixels.bin").stat().st_size
    print(f"packed: {pixels / MB:.0f} MB", flush=True)
    forget(folder / "data/grown/packed/pixels.bin")
    tell(folder, "fit_unfrozen", LIMITED_IMAGES)
    for code in (COMMAND, f"import thaw.pack; {NOT_AHEAD}; {COMMAND}"):
        print(f"with {LIMIT / MB:.0f} MB for the process, its page cache included: {code}")
        forget(folder / "data/grown/packed/pixels.bin")
        with memory_group() as group:
            tell(folder, "fit_unfrozen", LIMITED_IMAGES, group, code)
            most = int((group / "memory.max_usage_in_bytes").read_text())
            print(f"the group's most: {most / MB:.0f} MB")


def forget(file: Path) -> None:
    """Drop a file from the page cache, where it would cost its next reader nothing."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def memory_group() -> Iterator[Path]:
    """Yield a cgroup (version 1) whose processes have little memory together, and no swap."""
    group = MEMORY_GROUPS / f"thaw-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
        yield group
    finally:
        group.rmdir()


def write_recipe(folder: Path, sections: dict[str, Any]) -> None:
    """Write a params.yaml with these sections, and what all recipes have."""
    shared = {"seed": 1, "threads": os.cpu_count(), "precision": "fp32"}
    archive = {"download": {"url": "unused"}, "untar": {}}
    (folder / "params.yaml").write_text(
        json.dumps({"recipes": {"grown": shared | archive | sections}})
    )


def tell(
    folder: Path, stage: str, count: int, group: Path | None = None, code: str = COMMAND
) -> None:
    """Run a stage and print its seconds and its memory."""
    anonymous, whole = run(folder, stage, group, code)
    seconds = json.loads((folder / f"results/grown/{stage}/timing.json").read_text())
    taken = seconds.get("fit_seconds", seconds.get("seconds_per_epoch", seconds["seconds"]))
    print(
        f"{stage:12} {count:>10,}: {taken:7.2f} s, {1e6 * taken / count:8.2f} us each, "
        f"{anonymous / MB:.0f} MB, {whole / MB:.0f} MB with mapped files",
        flush=True,
    )


def run(
    folder: Path, stage: str, group: Path | None = None, code: str = COMMAND
) -> tuple[int, int]:
    """Run a stage in a process of its own; return its most anonymous and resident bytes."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, stage, "grown"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"},
        stdout=subprocess.DEVNULL,
    )
    if group is not None:  # while it still imports
        (group / "cgroup.procs").write_text(str(process.pid))
    most = [0, 0]
    watcher = threading.Thread(target=watch, args=[process, most])
    watcher.start()
    if process.wait():
        raise RuntimeError(f"{stage} ended with {process.returncode}.")
    watcher.join()
    return most[0], most[1]


def watch(process: subprocess.Popen[bytes], most: list[int]) -> None:
    """Keep the most anonymous and resident bytes of a process while it runs."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (ProcessLookupError, FileNotFoundError):
            return
        for place, name in enumerate(("RssAnon", "VmHWM")):
            if name in fields:
                most[place] = max(most[place], 1024 * int(fields[name].split()[0]))
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
