"""Items of several bands: found, decoded, packed, augmented and shown."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bands_data import png_of, ramps, save_files, save_pages, tiff_of_samples
from PIL import Image

from thaw.bands import displayable, files_of, first_files, list_items, read_bands, reader
from thaw.core.errors import UserError
from thaw.images import BadImageError, Decoded, decode, read_image
from thaw.pack import open_packed, pack_images, pack_in_memory
from thaw.params.base import parse
from thaw.params.training.data import Data

LARGE = 1000  # a presize that shrinks nothing here
ENDINGS = ("_rgb.png", "_nir.png", "_swir.png")


def read(path: Path, channels: int, *bands: str, presize: int = LARGE) -> Decoded:
    return read_bands(path, presize, channels=channels, bands=bands)


def test_pages_of_a_tiff_are_channels(tmp_path: Path) -> None:
    bands = ramps(5)
    path = save_pages(tmp_path / "a.tif", bands, compression="tiff_lzw")
    found = read(path, 5)
    assert np.array_equal(found.pixels, bands)
    assert found[1:] == (12, 20)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("samples", [2, 4, 5])
def test_samples_of_a_tiff_are_channels(
    tmp_path: Path, order: str, planes: bool, deflate: bool, samples: int
) -> None:
    path = tmp_path / "a.tif"
    small = ramps(samples, 7, 9)
    for values in (small, small.astype(np.uint16) * 257):  # 16 bits: 0..65535 become 0..255
        path.write_bytes(tiff_of_samples(values, planes=planes, order=order, deflate=deflate))
        assert np.array_equal(read(path, samples).pixels, small)


def test_samples_of_floating_point_are_scaled_as_grey_ones_are(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    small = ramps(5)
    path.write_bytes(tiff_of_samples((small / 255).astype(np.float32)))
    for i in range(5):
        Image.fromarray((small[:, :, i] / 255).astype(np.float32)).save(tmp_path / f"{i}.tif")
        grey = decode(tmp_path / f"{i}.tif", LARGE)[:, :, 0]
        assert np.array_equal(read(path, 5).pixels[:, :, i], grey)


def test_what_cannot_be_read_right_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = ramps(5).astype(np.float32)
    path.write_bytes(tiff_of_samples(values, order=">", deflate=True))
    with pytest.raises(BadImageError, match="save it without compression"):
        read(path, 5)


def test_smaller_copies_among_the_pages_are_no_channels(tmp_path: Path) -> None:
    bands = ramps(4)
    pages = [Image.fromarray(band) for band in np.moveaxis(bands, 2, 0)]
    small = pages[0].resize((10, 6))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[small, *pages[1:]])
    assert np.array_equal(read(tmp_path / "a.tif", 4).pixels, bands)


def test_pages_of_other_sizes_are_refused(tmp_path: Path) -> None:
    first, second = Image.new("L", (9, 7)), Image.new("L", (7, 9))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with pytest.raises(BadImageError, match="pages of 9 x 7 and of 7 x 9 pixels"):
        read(tmp_path / "a.tif", 2)


def test_other_numbers_of_channels_are_refused(tmp_path: Path) -> None:
    path = save_pages(tmp_path / "a.tif", ramps(5))
    with pytest.raises(BadImageError, match=r"5 channels, not 4 \(data.channels\)"):
        read(path, 4)
    (tmp_path / "b.png").write_bytes(png_of(ramps(3)))
    with pytest.raises(BadImageError, match="3 channels, not 5"):
        read(tmp_path / "b.png", 5)


def test_a_file_cut_short_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    content = tiff_of_samples(ramps(5))
    for length in (0, 4, 9, 400, len(content) - 200):
        path.write_bytes(content[:length])
        with pytest.raises(BadImageError):
            read(path, 5)


def test_several_files_are_one_item(tmp_path: Path) -> None:
    bands = ramps(5)
    path = save_files(tmp_path, "one", bands, ENDINGS)
    assert np.array_equal(read(path, 5, *ENDINGS).pixels, bands)
    turned = ("_swir.png", "_rgb.png")  # in the order of the endings, not of the names
    found = read(tmp_path / "one_swir.png", 4, *turned).pixels
    assert np.array_equal(found, bands[:, :, [4, 0, 1, 2]])


def test_bands_of_16_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 128, 256, 32896, 65535]], np.uint16)
    for name in ("a_1.png", "a_2.png"):
        (tmp_path / name).write_bytes(png_of(values))
    found = read(tmp_path / "a_1.png", 2, "_1.png", "_2.png").pixels
    assert found[0].tolist() == [[v, v] for v in (0, 0, 1, 128, 255)]


def test_a_missing_file_of_an_item_is_named(tmp_path: Path) -> None:
    path = save_files(tmp_path, "one", ramps(5), ENDINGS)
    (tmp_path / "one_nir.png").unlink()
    with pytest.raises(BadImageError, match=r"^one_nir\.png: No such file or directory$"):
        read(path, 5, *ENDINGS)


def test_files_of_other_sizes_are_refused(tmp_path: Path) -> None:
    path = save_files(tmp_path, "one", ramps(5), ENDINGS)
    (tmp_path / "one_swir.png").write_bytes(png_of(ramps(1, 6, 10)[:, :, 0]))
    with pytest.raises(BadImageError, match=r"one_swir\.png is 10 x 6 pixels, one_rgb\.png 20 x"):
        read(path, 5, *ENDINGS)


def test_images_of_bands_are_shrunk_as_others_are(tmp_path: Path) -> None:
    bands = np.random.default_rng(1).integers(0, 256, (40, 60, 5), dtype=np.uint8)
    path = save_files(tmp_path, "one", bands, ENDINGS)
    found = read(path, 5, *ENDINGS, presize=16)
    assert found.pixels.shape == (16, 24, 5)
    assert found[1:] == (40, 60)
    assert np.array_equal(found.pixels[:, :, :3], decode(path, 16))
    for i, name in enumerate(ENDINGS[1:], start=3):
        assert np.array_equal(found.pixels[:, :, i], decode(tmp_path / f"one{name}", 16)[:, :, 0])


def test_bands_are_turned_upright(tmp_path: Path) -> None:
    bands = ramps(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(bands).save(tmp_path / "a_1.png", exif=exif)
    Image.fromarray(np.rot90(bands[:, :, 0], 3)).save(tmp_path / "a_2.png")
    found = read(tmp_path / "a_1.png", 4, "_1.png", "_2.png").pixels
    assert np.array_equal(found[:, :, :3], np.rot90(bands, 3))
    assert np.array_equal(found[:, :, 3], found[:, :, 0])


def test_three_channels_of_one_file_are_read_as_ever() -> None:
    assert reader(3, []) is read_image
    assert reader(3, ["_r.png", "_g.png", "_b.png"]) is not read_image
    assert reader(5, []) is not read_image


def test_an_item_is_listed_once_also_without_its_first_file(tmp_path: Path) -> None:
    paths = ["a_nir.png", "a_rgb.png", "a_swir.png", "b_nir.png", "deep/c_rgb.png", "legend.png"]
    assert first_files(paths, ENDINGS) == ["a_rgb.png", "b_rgb.png", "deep/c_rgb.png"]
    assert first_files(paths, []) == paths
    assert files_of(Path("x/a_rgb.png"), ENDINGS) == [Path(f"x/a{band}") for band in ENDINGS]
    with pytest.raises(BadImageError, match=r"does not end in _rgb\.png"):
        files_of(Path("x/a_nir.png"), ENDINGS)
    (tmp_path / "a.png").write_bytes(png_of(ramps(3)))
    with pytest.raises(UserError, match=r"data\.bands: no image below .* ends in _rgb\.png, _nir"):
        list_items(tmp_path, Data(bands=list(ENDINGS)))


@pytest.mark.parametrize(
    ("bands", "problem"),
    [
        (["_B2.png", "2.png"], "ends in '_B2.png' ends in '2.png' as well"),
        (["_1.png", "_1.png"], "as well"),
        (["B2/x.png"], "no path"),
    ],
)
def test_endings_that_tell_no_bands_apart_are_refused(bands: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parse(Data, {"bands": bands}, "recipes.a.data")


def pack(folder: Path, out: Path, **data: object) -> dict[str, int]:
    values = Data(**({"presize": 16, "max_bad": 0.0} | data))  # type: ignore[arg-type]
    return pack_images(folder, values, out / "packed", out / "bad.csv")


def test_five_bands_are_packed_as_decoded(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(3)
    for i in range(6):
        bands = rng.integers(0, 256, (20 + i, 30 - i, 5), dtype=np.uint8)
        save_files(raw, f"{i}", bands, ENDINGS)
    metrics = pack(raw, tmp_path, channels=5, bands=list(ENDINGS))
    packed = open_packed(tmp_path / "packed")
    assert metrics["images"] == len(packed) == 6
    assert packed.channels == 5
    assert packed.paths == [f"{i}_rgb.png" for i in range(6)]
    decoded = [read(raw / path, 5, *ENDINGS, presize=16) for path in packed.paths]
    for i, image in enumerate(decoded):
        assert np.array_equal(packed.image(i), image.pixels)
    in_memory = pack_in_memory(decoded)
    assert in_memory.channels == 5
    assert np.array_equal(in_memory.pixels, packed.pixels)
    with (tmp_path / "packed/pixels.bin").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="Run the stage pack again"):
        open_packed(tmp_path / "packed")


def test_images_of_three_channels_have_an_index_as_ever(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.png").write_bytes(png_of(ramps(3)))
    pack(raw, tmp_path)
    columns = ["path", "offset", "height", "width", "source_height", "source_width"]
    assert list(pd.read_parquet(tmp_path / "packed/index.parquet")) == columns


def test_items_that_lack_a_file_are_listed_as_bad(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("a", "b", "c"):
        save_files(raw, name, ramps(5), ENDINGS)
    (raw / "a_rgb.png").unlink()
    (raw / "b_swir.png").unlink()
    assert pack(raw, tmp_path, channels=5, bands=list(ENDINGS), max_bad=0.7)["images"] == 1
    bad = pd.read_csv(tmp_path / "bad.csv")
    assert bad.to_dict("list") == {
        "path": ["a_rgb.png", "b_rgb.png"],
        "error": ["No such file or directory", "b_swir.png: No such file or directory"],
    }
    with pytest.raises(UserError, match=r"2 of 3 images cannot be decoded.*b_swir\.png: No such"):
        pack(raw, tmp_path, channels=5, bands=list(ENDINGS), max_bad=0.5)


def test_what_is_shown_of_many_channels_are_the_first_three() -> None:
    bands = ramps(5)
    assert np.array_equal(displayable(bands), bands[:, :, :3])
    assert displayable(bands[:, :, :3]).shape == (12, 20, 3)
    assert np.array_equal(displayable(bands[:, :, :2]), np.stack([bands[:, :, 0]] * 3, 2))
