"""What a server does with a file that the machine cannot read."""

import errno
from pathlib import Path

import pytest

from thaw.images import BadImageError
from thaw.serving.images import never_failing


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ELOOP, errno.EACCES])
def test_a_file_that_cannot_be_read_is_its_own_trouble(number: int) -> None:
    def read(file: Path, presize: int) -> None:
        raise OSError(number, "secret", "/a/path")

    with pytest.raises(BadImageError) as error:
        never_failing(read)(Path("x.png"), 32)
    assert str(error.value) == "path: no file there that can be read"
