"""Freed memory that the process keeps for its next allocation."""

import ctypes
import sys

# Of glibc's malloc.h: what may be freed at the heap's end before it is given back, and how many
# blocks may lie outside of the heap, each given back as soon as it is freed.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1


def keep_freed_memory() -> None:
    """Keep what is freed, instead of giving it back to the system (glibc alone; else nothing).

    A step of training allocates and frees hundreds of megabytes, and so does the next. What was
    given back in between comes back as pages that the system has to fill with zeros first.

    Memory that other threads than the first allocate is given back as before.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(M_TRIM_THRESHOLD, NEVER)
        mallopt(M_MMAP_MAX, 0)
