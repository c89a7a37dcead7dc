"""Limits on what an archive may unpack to."""

from typing import Annotated

from pydantic import Field

from thaw.params.base import params


@params
class Untar:
    """How much an archive may become on the disk before it is refused.

    Attributes:
        max_bytes: unpacked bytes, a tar archive's own headers and padding included.
        max_files: files, links and folders together.
    """

    max_bytes: Annotated[int, Field(gt=0)] = 4_000_000_000
    max_files: Annotated[int, Field(gt=0)] = 100_000
