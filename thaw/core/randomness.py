"""Random generators derived from (seed, stage, epoch, purpose), never global."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and every word of `purpose`."""
    words = "/".join(str(word) for word in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator of its own for one purpose, such as (42, "fit_frozen", 3, "shuffle").

    Draws are made on the CPU on every kind of device, so that a GPU sees the same ones.
    """
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """Seed torch's default generators inside the block and put them back after it.

    For what takes no generator: initialisation and dropout inside torch's and torchvision's
    modules.
    """
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield
