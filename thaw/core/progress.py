"""Show how far a loop is: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

SECONDS_BETWEEN_LINES = 10.0

T = TypeVar("T")


def track(items: Iterable[T], total: int, label: str, *, brief: bool = False) -> Iterator[T]:
    """Yield `items` and show how many of them are done.

    Args:
        items: what to go through.
        total: how many they are.
        label: a word or two in front of the numbers.
        brief: leave nothing behind at the end, for loops whose result is told in other words.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=label, leave=not brief)
        return
    done = told = 0
    started = last = time.monotonic()
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            told, last = done, now
            print(f"{label}: {done} of {total}, {now - started:.0f} s", flush=True)
    if told != done and not brief:
        print(f"{label}: {done} of {total}, {time.monotonic() - started:.0f} s", flush=True)
