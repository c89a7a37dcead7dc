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
    "source": "052c558c705f4f050198aaa1029e764407e704d250df9a3adf4007914767b91f",
    "pets": "68714caf1a6bf58de14213db681d693ea2bd5ce6227dbfab37b27ae81400ec23",
    "dogscats": "ada3d6a20c95920940066efd57d695aa5ad580b79a740e601fa13c60eb0a11c1",
    "bears": "716a247d293ffa7869de2f1e341aa38055ad6f29e96dc40670db967dd4585b70",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three smaller archives."""
    folder = tmp_path_factory.mktemp("samples")
    for name in ("pets", "dogscats", "bears"):
        draw(name, folder)
    return folder


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return [member.name for member in tar if member.isfile()]


def read(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


@pytest.mark.parametrize("name", ["pets", "dogscats", "bears"])
def test_archive_has_the_pinned_sha256(drawn: Path, name: str) -> None:
    assert file_sha256(drawn / file_name(name)) == SHA256[name]


@pytest.mark.slow
def test_source_archive_has_the_pinned_sha256(tmp_path: Path) -> None:
    draw("source", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["creatures.tgz"]
    assert file_sha256(tmp_path / "creatures.tgz") == SHA256["source"]


def test_drawing_again_gives_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    draw("bears", tmp_path)
    assert (tmp_path / "bears.tgz").read_bytes() == (drawn / "bears.tgz").read_bytes()


def test_pets_layout_is_breed_and_number_in_the_name(drawn: Path) -> None:
    names = names_in(drawn / "oxford-iiit-pet.tgz")
    images = [name for name in names if name.startswith("oxford-iiit-pet/images/")]
    counts = Counter(name.rsplit("/", 1)[1].rsplit("_", 1)[0] for name in images)
    assert counts == dict.fromkeys(kinds.CATS | kinds.DOGS, 30)
    assert all(breed[0].isupper() for breed in kinds.CATS)
    assert all(breed[0].islower() for breed in kinds.DOGS)
    assert set(names) - set(images) == {"oxford-iiit-pet/annotations/list.txt"}


def test_pets_list_names_every_image_with_its_species(drawn: Path) -> None:
    archive = drawn / "oxford-iiit-pet.tgz"
    text = read(archive, "oxford-iiit-pet/annotations/list.txt").decode()
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    images = {Path(name).stem for name in names_in(archive) if name.endswith(".jpg")}
    assert {row[0] for row in rows} == images
    assert all((row[2] == "1") == row[0][0].isupper() for row in rows)
    assert {int(row[1]) for row in rows} == set(range(1, 13))


def test_dogscats_layout_is_train_and_valid_folders(drawn: Path) -> None:
    names = names_in(drawn / "dogscats.tgz")
    counts = Counter(name.rsplit("/", 1)[0] for name in names)
    assert counts == {
        "dogscats/train/cats": 60,
        "dogscats/train/dogs": 60,
        "dogscats/valid/cats": 50,
        "dogscats/valid/dogs": 50,
    }
    assert {"dogscats/train/cats/cat.0.jpg", "dogscats/valid/dogs/dog.49.jpg"} <= set(names)


def test_bears_layout_is_a_folder_for_each_kind(drawn: Path) -> None:
    names = names_in(drawn / "bears.tgz")
    assert names == [
        f"bears/{kind}/{i:08d}.jpg" for kind in ("black", "grizzly", "teddy") for i in range(1, 41)
    ]


def test_source_layout_is_a_folder_for_each_kind() -> None:
    counts = Counter(photo.path.rsplit("/", 1)[0] for photo in PHOTOS["source"]())
    assert counts == {f"creatures/{kind}": 100 for kind in kinds.SOURCE}


def test_members_are_sorted_and_carry_neither_time_nor_owner(drawn: Path) -> None:
    for archive in sorted(drawn.iterdir()):
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
        assert [m.name for m in members] == sorted(m.name for m in members)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
        assert any(m.isdir() for m in members)


def test_archive_holds_each_picture_under_the_name_it_was_drawn_for(drawn: Path) -> None:
    for name in ("pets", "dogscats", "bears"):
        photos = PHOTOS[name]()
        for photo in random.Random(name).sample(photos, 3):
            assert read(drawn / file_name(name), photo.path) == photo.content()


def test_no_two_pictures_are_the_same(drawn: Path) -> None:
    for archive in sorted(drawn.iterdir()):
        with tarfile.open(archive) as tar:
            contents = [tar.extractfile(m).read() for m in tar if m.isfile()]  # type: ignore[union-attr]
        assert len(set(contents)) == len(contents)


def test_labels_in_the_paths_are_what_is_drawn() -> None:
    breeds = kinds.CATS | kinds.DOGS
    for photo in PHOTOS["pets"]():
        assert photo.look == breeds[photo.path.rsplit("/", 1)[1].rsplit("_", 1)[0]]
    for photo in PHOTOS["source"]():
        assert photo.look == kinds.SOURCE[photo.path.split("/")[1]]
    for photo in PHOTOS["bears"]():
        assert photo.look == kinds.BEARS.get(photo.path.split("/")[1])
    for photo in PHOTOS["dogscats"]():
        assert photo.look is not None
        cat = "/cats/cat." in photo.path
        assert (photo.look.ears in kinds.CAT_EARS) == cat
        assert (photo.look.snout in kinds.CAT_SNOUTS) == cat
        assert (photo.look.ears in kinds.DOG_EARS) == (photo.look.snout in kinds.DOG_SNOUTS)


def test_cats_and_dogs_share_every_pattern_build_tail_and_colour() -> None:
    looks = {True: [], False: []}  # type: ignore[var-annotated]
    for photo in PHOTOS["dogscats"]():
        looks["/cats/" in photo.path].append(photo.look)
    for factor in ("pattern", "build", "tail", "coats"):
        values = [{getattr(look, factor) for look in looks[cat]} for cat in (True, False)]
        assert values[0] == values[1]


def test_no_kind_of_the_source_occurs_in_another_sample() -> None:
    source = {look.shape for look in kinds.SOURCE.values()}
    source_heads = {(look.ears, look.snout) for look in kinds.SOURCE.values()}
    assert len(source) == len(kinds.SOURCE)
    for name in ("pets", "dogscats"):
        looks = [photo.look for photo in PHOTOS[name]() if photo.look]
        assert not source & {look.shape for look in looks}
        assert not source_heads & {(look.ears, look.snout) for look in looks}
    assert not source & {look.shape for look in kinds.BEARS.values()}


def test_every_factor_of_the_samples_occurs_in_the_source() -> None:
    def values(looks: dict[str, kinds.Look], factor: str) -> set[str]:
        return {getattr(look, factor) for look in looks.values()}

    for factor in ("pattern", "ears", "snout", "tail", "build"):
        assert values(kinds.CATS | kinds.DOGS, factor) <= values(kinds.SOURCE, factor)


def test_no_pet_breed_is_told_by_colour_or_one_factor_alone() -> None:
    breeds = kinds.CATS | kinds.DOGS
    assert len({look.shape for look in breeds.values()}) == len(breeds)
    for factor in ("pattern", "ears", "snout", "tail", "build"):
        assert len({getattr(look, factor) for look in breeds.values()}) < len(breeds)


def test_pictures_are_landscape_and_portrait_jpegs(drawn: Path) -> None:
    shapes = Counter()  # type: ignore[var-annotated]
    for photo in PHOTOS["bears"]():
        with Image.open(io.BytesIO(read(drawn / "bears.tgz", photo.path))) as picture:
            assert picture.format == "JPEG"
            assert picture.mode == "RGB"
            assert picture.size in SHAPES
            shapes[picture.width > picture.height] += 1
    assert min(shapes[True], shapes[False]) >= 20


def test_a_few_pets_are_stored_oddly(drawn: Path) -> None:
    odd = {photo.stored: photo for photo in PHOTOS["pets"]() if photo.stored != "jpeg"}
    assert sorted(odd) == ["grey", "png", "turned"]
    pictures = {
        stored: Image.open(io.BytesIO(read(drawn / "oxford-iiit-pet.tgz", photo.path)))
        for stored, photo in odd.items()
    }
    assert (pictures["grey"].format, pictures["grey"].mode) == ("JPEG", "L")
    assert (pictures["png"].format, pictures["png"].mode) == ("PNG", "RGBA")
    turned = pictures["turned"]
    assert turned.getexif()[0x0112] == 6
    upright = Image.open(io.BytesIO(Photo(odd["turned"].path, odd["turned"].look).content()))
    assert turned.size == upright.size[::-1]
    assert ImageOps.exif_transpose(turned).size == upright.size
    # The same picture, but for what JPEG loses.
    pairs = zip(
        ImageOps.exif_transpose(turned).reduce(8).tobytes(),
        upright.reduce(8).tobytes(),
        strict=True,
    )
    assert max(abs(a - b) for a, b in pairs) <= 12


def test_an_unknown_sample_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'pets'"):
        draw("petz", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert sorted(file_name(name) for name in NAMES) == [
        "bears.tgz", "creatures.tgz", "dogscats.tgz", "oxford-iiit-pet.tgz",
    ]  # fmt: skip
