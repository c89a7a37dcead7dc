"""What a server does with a file that the machine cannot read."""

import errno
from pathlib import Path

import pandas as pd
import pytest

from thaw.images import BadImageError
from thaw.serving.columns import cells_of
from thaw.serving.images import never_failing


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ELOOP, errno.EACCES])
def test_a_file_that_cannot_be_read_is_its_own_trouble(number: int) -> None:
    def read(file: Path, presize: int) -> None:
        raise OSError(number, "secret", "/a/path")

    with pytest.raises(BadImageError) as error:
        never_failing(read)(Path("x.png"), 32)
    assert str(error.value) == "path: no file there that can be read"


def test_ids_are_text_whatever_a_table_makes_of_them() -> None:
    # Where a row has no item, pandas turns the others' 12 into 12.0.
    rows = [{"user": "36", "item": 12}, {"user": 36}, {"user": "", "item": None}, {"user": [1, 2]}]
    found = cells_of(pd.DataFrame(rows))
    assert found == [{"user": "36", "item": "12"}, {"user": "36"}, {}, {"user": "[1, 2]"}]
    assert cells_of(pd.DataFrame({"user": [1.5, float("nan")]})) == [{"user": "1.5"}, {}]
