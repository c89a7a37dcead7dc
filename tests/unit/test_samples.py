"""The rendered sample archives: layout, labels, and the very same bytes every time."""

import io
import random
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from thaw.errors import UserError
from thaw.files import file_sha256
from thaw.samples import kinds
from thaw.samples.archives import NAMES, PHOTOS, Photo, draw, file_name
from thaw.samples.photo import SHAPES

SHA256 = {
    "source": "",
    "pets": "",
    "dogscats": "",
    "bears": "",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three smaller archives."""
    folder = tmp_path_factory.mktemp("samples")
    for name in ("pets", "dogscats", "bears"):
        draw(name, folder)
    return folder
