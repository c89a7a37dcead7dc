"""Set torch up so that a run can be repeated to the bit."""

import os

import torch

from thaw.core.memory import keep_freed_memory


def set_up_torch(threads: int) -> None:
    """Make sums come out the same each time: fixed threads, deterministic algorithms.

    Also keeps freed memory, which makes training quicker and changes no result.
    """
    keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    # As use_deterministic_algorithms does, which imports torch's compiler: two seconds and more.
    torch.set_deterministic_debug_mode("warn")
    # Would write NaN into every new tensor before it is filled: a sixth of the time of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def training_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
