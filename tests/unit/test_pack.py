"""The packed file: complete, in order, the same bytes from any number of workers."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thaw.core.errors import UserError
from thaw.images import decode
from thaw.pack import open_packed, pack_images
from thaw.params.training.data import Data


class Out:
    """The files that pack writes, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "packed"
        self.packed = self.folder / "pixels.bin"
        self.index = self.folder / "index.parquet"
        self.bad = folder / "bad.csv"

    def pack(self, raw: Path, workers: int | None = None, **data: float) -> dict[str, int]:
        values = Data(**({"presize": 16, "max_bad": 0.0} | data))
        return pack_images(raw, values, self.folder, self.bad, workers)

    def hashes(self) -> list[str]:
        files = (self.packed, self.index, self.bad)
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Thirty images of different shapes and formats."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "raw"
    (folder / "deep").mkdir(parents=True)
    for i in range(30):
        shape = (*rng.integers(5, 60, 2), 3)
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        image.save(folder / f"{'deep/' if i % 2 else ''}{i:02}.jpg", ("JPEG", "PNG", "GIF")[i % 3])
    return folder


def test_every_image_is_there_in_order(raw: Path, tmp_path: Path) -> None:
    out = Out(tmp_path)
    metrics = out.pack(raw)
    packed = open_packed(out.folder)
    assert len(packed) == metrics["images"] == 30
    assert packed.paths == sorted(packed.paths)
    for i, path in enumerate(packed.paths):
        assert np.array_equal(packed.image(i), decode(raw / path, 16))
        with Image.open(raw / path) as image:
            assert (packed.source_widths[i], packed.source_heights[i]) == image.size
    assert metrics["bytes"] == out.packed.stat().st_size
    assert metrics["source_width/max"] == packed.source_widths.max()
    assert metrics["source_height/min"] == packed.source_heights.min()


def test_images_are_read_only_views_of_the_file(raw: Path, tmp_path: Path) -> None:
    out = Out(tmp_path)
    out.pack(raw)
    out.packed.chmod(0o444)  # as a link into DVC's cache is
    packed = open_packed(out.folder)
    image = packed.image(3)
    assert np.shares_memory(image, packed.pixels)
    assert type(image) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0, 0] = 1


def test_the_number_of_workers_changes_no_byte(raw: Path, tmp_path: Path) -> None:
    hashes = []
    for workers in (1, 2, 7):
        out = Out(tmp_path / str(workers))
        out.pack(raw, workers=workers)
        hashes.append(out.hashes())
    assert hashes[0] == hashes[1] == hashes[2]


def test_packing_again_does_not_write_into_a_linked_file(raw: Path, tmp_path: Path) -> None:
    out = Out(tmp_path)
    out.pack(raw)
    cached = tmp_path / "cached"
    os.link(out.packed, cached)
    cached.chmod(0o444)
    before = cached.read_bytes()
    out.pack(raw, presize=8)
    assert cached.read_bytes() == before
    assert out.packed.stat().st_size < len(before)


def spoil(raw: Path, *names: str) -> None:
    for name in names:
        (raw / name).write_bytes((raw / name).read_bytes()[:40])


def test_bad_files_within_the_limit_are_listed_and_left_out(raw: Path, tmp_path: Path) -> None:
    spoil(raw, "00.jpg", "deep/05.jpg")
    out = Out(tmp_path)
    metrics = out.pack(raw, max_bad=0.07)  # 2 of 30 are 0.067
    assert (metrics["images"], metrics["bad"]) == (28, 2)
    bad = pd.read_csv(out.bad)
    assert bad["path"].tolist() == ["00.jpg", "deep/05.jpg"]
    assert not bad["error"].str.contains(str(tmp_path), regex=False).any()
    packed = open_packed(out.folder)
    assert "00.jpg" not in packed.paths
    assert packed.bad == ["00.jpg", "deep/05.jpg"]
    assert packed.rows(["02.jpg", "00.jpg", packed.paths[5]]).tolist() == [0, -1, 5]
    for i, path in enumerate(packed.paths):
        assert np.array_equal(packed.image(i), decode(raw / path, 16))


def test_bad_csv_has_a_header_when_nothing_is_bad(raw: Path, tmp_path: Path) -> None:
    out = Out(tmp_path)
    out.pack(raw)
    assert out.bad.read_text() == "path,error\n"


@pytest.mark.parametrize("max_bad", [0.0, 0.06])
def test_more_bad_files_are_refused_and_nothing_is_packed(
    raw: Path, tmp_path: Path, max_bad: float
) -> None:
    spoil(raw, "00.jpg", "deep/05.jpg")
    out = Out(tmp_path)
    with pytest.raises(UserError, match=r"2 of 30 images cannot be decoded.*00\.jpg \(.*max_bad"):
        out.pack(raw, max_bad=max_bad)
    assert len(pd.read_csv(out.bad)) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv", "raw"]


def test_nothing_but_bad_files_is_refused_at_any_limit(raw: Path, tmp_path: Path) -> None:
    for path in raw.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="30 of 30"):
        Out(tmp_path).pack(raw, max_bad=1.0)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_does_not_fit_on_the_disk_is_refused_beforehand(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "0.ppm").write_bytes(b"P6 20000 8192 255\n")  # 491 MB, says the header
    count = 1 + int(shutil.disk_usage(tmp_path).free / (20_000 * 8192 * 3))
    for i in range(1, count):
        os.link(raw / "0.ppm", raw / f"{i}.ppm")
    with pytest.raises(UserError, match=f"packing {count} images needs .* MB"):
        Out(tmp_path).pack(raw, presize=8192)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_files_that_do_not_belong_together_are_refused(raw: Path, tmp_path: Path) -> None:
    out = Out(tmp_path)
    out.pack(raw)
    with out.packed.open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="Run the stage pack again"):
        open_packed(out.folder)
    out.index.unlink()
    with pytest.raises(UserError, match=r"index\.parquet is missing"):
        open_packed(out.folder)
