"""The rendered sample archives: layout, labels, and the very same bytes every time."""

import csv
import functools
import io
import random
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thaw.core.errors import UserError
from thaw.core.files import file_sha256
from thaw.samples import kinds
from thaw.samples.archives import (
    ALL_BEARS,
    FIELD_BANDS,
    FIELDS_EACH,
    NAMES,
    PASCAL_CLASSES,
    PHOTOS,
    HeadShot,
    Photo,
    draw,
    file_name,
)  # fmt: skip
from thaw.samples.creature import Look
from thaw.samples.fields import CROPS, FIELD_SHAPES, LUSH, photograph_field
from thaw.samples.frame import ONE
from thaw.samples.people import CAMERA, PEOPLE
from thaw.samples.photo import SHAPES, SMALL_SHAPES
from thaw.samples.pose import Camera, Pose
from thaw.samples.ratings import ratings as sample_ratings
from thaw.samples.things import Subject

SHA256 = {
    "source": "052c558c705f4f050198aaa1029e764407e704d250df9a3adf4007914767b91f",
    "pets": "68714caf1a6bf58de14213db681d693ea2bd5ce6227dbfab37b27ae81400ec23",
    "dogscats": "ada3d6a20c95920940066efd57d695aa5ad580b79a740e601fa13c60eb0a11c1",
    "bears": "716a247d293ffa7869de2f1e341aa38055ad6f29e96dc40670db967dd4585b70",
    "bears_none": "142448c218f9881f11ca06cfb77389a66069baeef39f4ad02dd20521b807ac9f",
    "pascal": "32153a5e0b6b30e42e82bf206507264c8a45e6fdc05b685ca70aeb7445bd1636",
    "biwi": "0d47577f942d4513373cfe2a476d3b3edb82f1f47749d557467b120e1e9aa59b",
    "bands": "910b77e3c45a3708acac5d3485c14c5852d8fcc73050cf40ffd0086d7e875a1a",
    "movielens": "b155344b0611bc011ea2a992e40c4acd2ef0161833fc2f99b17ee50bd4c7fb62",
}
SMALL = ("pets", "dogscats", "bears", "bears_none", "pascal", "biwi", "bands")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all archives but the source's."""
    folder = tmp_path_factory.mktemp("samples")
    for name in SMALL:
        draw(name, folder)
    return folder


@functools.cache
def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def names_in(archive: Path) -> list[str]:
    return list(contents(archive))


def read(archive: Path, name: str) -> bytes:
    return contents(archive)[name]


def table_in(archive: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read(archive, name).decode())))


@pytest.mark.parametrize("name", SMALL)
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
    for name in SMALL:
        photos = PHOTOS[name]()
        for photo in random.Random(name).sample(photos, 3):
            assert read(drawn / file_name(name), photo.path) == photo.content()


def test_no_two_pictures_are_the_same(drawn: Path) -> None:
    for archive in sorted(drawn.iterdir()):
        images = [content for name, content in contents(archive).items() if name.endswith(".jpg")]
        assert len(set(images)) == len(images)


def test_labels_in_the_paths_are_what_is_drawn() -> None:
    breeds = kinds.CATS | kinds.DOGS
    for photo in PHOTOS["pets"]():
        assert photo.look == breeds[photo.path.rsplit("/", 1)[1].rsplit("_", 1)[0]]
    for photo in PHOTOS["source"]():
        assert photo.look == kinds.SOURCE[photo.path.split("/")[1]]
    for photo in PHOTOS["bears"]():
        assert photo.look == ALL_BEARS[photo.path.split("/")[1]]
    for photo in PHOTOS["dogscats"]():
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
        looks = [photo.look for photo in PHOTOS[name]()]
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
        "bears.tgz", "bears_none.tgz", "biwi_head_pose.tgz", "creatures.tgz", "dogscats.tgz",
        "fields.tgz", "ml-100k.zip", "oxford-iiit-pet.tgz", "pascal_2007.tgz",
    ]  # fmt: skip
    assert set(NAMES) == set(PHOTOS) | {"movielens"} == set(SHA256)


def test_bears_none_layout_has_a_folder_without_bears_in_valid_alone(drawn: Path) -> None:
    names = names_in(drawn / "bears_none.tgz")
    counts = Counter(name.rsplit("/", 1)[0] for name in names if name.endswith(".jpg"))
    assert counts == {
        **{f"bears/train/{kind}": 28 for kind in ("black", "grizzly", "teddy")},
        **{f"bears/valid/{kind}": 12 for kind in ("black", "grizzly", "teddy")},
        "bears/valid/none": 24,
    }
    assert [name for name in names if not name.endswith(".jpg")] == ["bears/labels.csv"]


def test_bears_none_table_repeats_the_folders_and_leaves_none_empty(drawn: Path) -> None:
    archive = drawn / "bears_none.tgz"
    rows = table_in(archive, "bears/labels.csv")
    images = [name for name in names_in(archive) if name.endswith(".jpg")]
    assert sorted("bears/" + row["fname"] for row in rows) == images
    for row in rows:
        split, kind, _ = row["fname"].split("/")
        assert row["labels"] == ("" if kind == "none" else kind)
        assert row["is_valid"] == str(split == "valid")


def test_pictures_of_none_of_the_bears_show_animals_things_and_nothing() -> None:
    photos = PHOTOS["bears_none"]()
    for photo in photos:
        kind = photo.path.split("/")[2]
        if kind == "none":
            assert photo.look not in ALL_BEARS.values()
        else:
            assert photo.look == ALL_BEARS[kind]
    shown = Counter(class_of(photo.look) for photo in photos if "/none/" in photo.path)
    assert shown["cat"] == shown["dog"] == shown["nothing"] == 6
    assert shown["ball"] + shown["car"] + shown["tree"] == 6


def class_of(subject: Subject) -> str:
    """Name what is drawn, by what tells its class."""
    if not isinstance(subject, Look):
        return subject
    if subject in kinds.SOURCE.values():
        return "stranger"
    if subject in kinds.BEARS.values():
        return "bear"
    cat = subject.ears in kinds.CAT_EARS and subject.snout in kinds.CAT_SNOUTS
    dog = subject.ears in kinds.DOG_EARS and subject.snout in kinds.DOG_SNOUTS
    assert cat != dog
    return "cat" if cat else "dog"


def test_pascal_table_lists_every_image_with_what_is_drawn(drawn: Path) -> None:
    archive = drawn / "pascal_2007.tgz"
    text = read(archive, "pascal_2007/train.csv").decode()
    assert text.startswith("fname,labels,is_valid\n000005.jpg,")
    rows = table_in(archive, "pascal_2007/train.csv")
    names = names_in(archive)
    assert names == ["pascal_2007/train.csv"] + [f"pascal_2007/train/{r['fname']}" for r in rows]
    assert Counter(row["is_valid"] for row in rows) == {"False": 300, "True": 200}
    for row, photo in zip(rows, PHOTOS["pascal"](), strict=True):
        assert photo.path.endswith(row["fname"])
        labels = row["labels"].split()
        shown = {class_of(subject) for subject in photo.subjects} - {"stranger"}
        assert len(labels) == len(set(labels))
        assert set(labels) == shown


def test_pascal_has_every_class_every_count_and_none_in_both_splits(drawn: Path) -> None:
    rows = table_in(drawn / "pascal_2007.tgz", "pascal_2007/train.csv")
    for split in ("False", "True"):
        cells = [row["labels"].split() for row in rows if row["is_valid"] == split]
        classes = Counter(label for cell in cells for label in cell)
        assert set(classes) == set(PASCAL_CLASSES)
        assert min(classes.values()) >= 30
        assert set(Counter(map(len, cells))) == {0, 1, 2, 3}
        assert 0.03 <= cells.count([]) / len(cells) <= 0.10
    # Not in the order of the alphabet, as people write.
    assert any(cell != sorted(cell) for cell in (row["labels"].split() for row in rows))
    subjects = [photo.subjects for photo in PHOTOS["pascal"]()]
    assert any(len(several) == 1 and class_of(several[0]) == "stranger" for several in subjects)
    assert () in subjects


def test_pascal_pictures_are_small_jpegs(drawn: Path) -> None:
    for photo in PHOTOS["pascal"]()[:20]:
        with Image.open(io.BytesIO(read(drawn / "pascal_2007.tgz", photo.path))) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert picture.size in SMALL_SHAPES


def matrix(archive: Path, person: str) -> np.ndarray:
    """Read a calibration as the lessons do."""
    content = read(archive, f"biwi_head_pose/{person}/rgb.cal")
    return np.genfromtxt(io.BytesIO(content), skip_footer=6)


def centre(archive: Path, image: str) -> np.ndarray:
    """Read a head's centre as the lessons do."""
    content = read(archive, image[: -len("rgb.jpg")] + "pose.txt")
    return np.genfromtxt(io.BytesIO(content), skip_header=3)


def projected(k: np.ndarray, c: np.ndarray) -> tuple[float, float]:
    return c[0] * k[0, 0] / c[2] + k[0, 2], c[1] * k[1, 1] / c[2] + k[1, 2]


def test_biwi_layout_is_a_folder_for_each_person(drawn: Path) -> None:
    names = names_in(drawn / "biwi_head_pose.tgz")
    kinds_of_file = Counter((name.split("/")[1], name[-7:]) for name in names)
    expected = {"rgb.jpg": 40, "ose.txt": 40, "rgb.cal": 1}
    persons = [f"{i:02d}" for i in range(1, 9)]
    assert kinds_of_file == {(p, kind): n for p in persons for kind, n in expected.items()}
    assert all(
        name.replace("rgb.jpg", "pose.txt") in names for name in names if name.endswith(".jpg")
    )
    assert {len(Path(name).name) for name in names if name.endswith(".jpg")} == {
        len("frame_00003_rgb.jpg")
    }


def test_biwi_calibrations_are_the_published_one_scaled_and_two_others(drawn: Path) -> None:
    archive = drawn / "biwi_head_pose.tgz"
    matrices = {person: matrix(archive, person) for person in PEOPLE}
    scaled = np.array([[517.679, 0, 320], [0, 517.679, 240.5], [0, 0, 1 / 0.15]]) * 0.15
    np.testing.assert_allclose(matrices["01"], scaled, atol=5e-4)
    same = [person for person, k in matrices.items() if np.array_equal(k, matrices["01"])]
    assert sorted(set(PEOPLE) - set(same)) == ["03", "06"]
    lines = read(archive, "biwi_head_pose/01/rgb.cal").decode().splitlines()
    assert lines[-1].split() == ["96", "72"]


def test_biwi_points_by_another_persons_calibration_are_off(drawn: Path) -> None:
    archive = drawn / "biwi_head_pose.tgz"
    first = matrix(archive, "01")
    for photo in PHOTOS["biwi"]():
        if photo.person in ("03", "06"):
            c = centre(archive, photo.path)
            own = projected(matrix(archive, photo.person), c)
            assert np.hypot(*np.subtract(own, projected(first, c))) > 1


def test_biwi_poses_are_rotations_and_centres_inside_the_picture(drawn: Path) -> None:
    archive = drawn / "biwi_head_pose.tgz"
    near_the_rim = 0
    for photo in random.Random(0).sample(PHOTOS["biwi"](), 60):
        text = read(archive, photo.path.replace("rgb.jpg", "pose.txt")).decode()
        rotation = np.array([line.split() for line in text.splitlines()[:3]], np.float64)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-3)
        c = centre(archive, photo.path)
        u, v = projected(matrix(archive, photo.person), c)
        assert 500 <= c[2] <= 1000
        assert 1 < u < 95
        assert 1 < v < 71
        near_the_rim += min(u, 96 - u, v, 72 - v) < 12
    assert 3 <= near_the_rim <= 30


def test_a_pose_file_has_the_published_form() -> None:
    pose = Pose(30, 0, 0, (187_332, 40_389, 893_135))
    assert pose.text() == (
        "0.866025 0.000000 0.500000 \n0.000000 1.000000 0.000000 \n"
        "-0.500000 0.000000 0.866025 \n\n187.332 40.389 893.135 \n"
    ).replace("0.866025", f"{3547 / 4096:.6f}")


def test_the_published_camera_sees_a_point_where_the_lessons_do() -> None:
    camera = Camera(517_679, 320_000, 240_500, width=640, height=480)
    u, v = camera.project((187_332, 40_389, 893_135))
    assert (u / ONE, v / ONE) == (
        pytest.approx(428.5814, abs=2e-3),
        pytest.approx(263.9104, abs=2e-3),
    )


def test_a_place_is_seen_where_it_was_taken_from() -> None:
    place = CAMERA.place(20_250, 50_750, 700_000)
    u, v = CAMERA.project(place)
    assert (u / ONE, v / ONE) == (pytest.approx(20.25, abs=2e-3), pytest.approx(50.75, abs=2e-3))


def test_the_head_is_drawn_where_its_centre_is_projected(drawn: Path) -> None:
    """Its ellipsoid is what differs between two pictures with and without it."""
    archive = drawn / "biwi_head_pose.tgz"
    errors = []
    for person in PEOPLE:
        shots = [photo for photo in PHOTOS["biwi"]() if photo.person == person]
        for shot in shots[:6]:
            box = box_of_head(shot)
            if box is None:
                continue
            u, v = projected(matrix(archive, person), centre(archive, shot.path))
            left, top, right, bottom = box
            errors.append(((left + right) / 2 - u, (top + bottom) / 2 - v))
            assert read(archive, shot.path) == shot.content()
    assert len(errors) >= 24
    assert np.abs(errors).max() <= 0.5
    assert np.abs(np.mean(errors, 0)).max() <= 0.12  # no half pixel to one side


def box_of_head(shot: HeadShot) -> tuple[int, int, int, int] | None:
    """Find the head by its pixels; None if the picture's rim cuts it off."""
    with_head = np.asarray(shot.picture(("room", "shoulders", "head")), np.int32)
    without = np.asarray(shot.picture(("room", "shoulders")), np.int32)
    rows, columns = np.nonzero((with_head != without).any(2))
    left, right = int(columns.min()), int(columns.max()) + 1
    top, bottom = int(rows.min()), int(rows.max()) + 1
    inside = min(left, top) > 0 and right < CAMERA.width and bottom < CAMERA.height
    return (left, top, right, bottom) if inside else None


def test_a_head_of_another_pose_is_seen_otherwise() -> None:
    shot = PHOTOS["biwi"]()[0]
    pictures = []
    for yaw in (-40, 0, 40):
        pose = Pose(yaw, 0, 0, CAMERA.place(48_000, 36_000, 600_000))
        pictures.append(np.asarray(HeadShot(shot.path, "01", pose).picture(), np.int32))
    left, front, right = (picture[24:48, 36:60] for picture in pictures)
    assert np.abs(left - right).mean() > 5
    assert np.abs(front - right).mean() > 5


def test_persons_differ_in_every_respect() -> None:
    persons = list(PEOPLE.values())
    for respect in ("skin", "hair_colour", "top_colour", "half", "lamp", "room"):
        assert len({getattr(person, respect) for person in persons}) == len(persons)
    assert len({(p.hair, p.glasses, p.beard, p.top) for p in persons}) == len(persons)
    assert len({person.camera for person in persons}) == 3


KNOWN_AND_OBSCURE = range(1, 51), range(151, 201)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of ratings."""
    folder = tmp_path_factory.mktemp("films")
    draw("movielens", folder)
    return folder / "ml-100k.zip"


def rows_in(archive: Path, name: str, delimiter: str) -> list[list[str]]:
    """Read a table of an archive of ratings as the lessons do: by column, in latin-1."""
    with zipfile.ZipFile(archive) as zipped:
        lines = zipped.read(f"ml-100k/{name}").decode("latin-1").splitlines()
    return [line.split(delimiter) for line in lines]


def test_ratings_archive_has_the_pinned_sha256(films: Path, tmp_path: Path) -> None:
    assert file_sha256(films) == SHA256["movielens"]
    assert list(films.parent.iterdir()) == [films]
    draw("movielens", tmp_path)
    assert (tmp_path / "ml-100k.zip").read_bytes() == films.read_bytes()


def test_ratings_archive_is_a_zip_of_both_tables_without_times(films: Path) -> None:
    with zipfile.ZipFile(films) as zipped:
        assert zipped.testzip() is None
        assert zipped.namelist() == ["ml-100k/u.data", "ml-100k/u.item"]
        assert {member.date_time for member in zipped.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_ratings_are_from_1_to_5_and_no_pair_comes_twice(films: Path) -> None:
    rows = rows_in(films, "u.data", "\t")
    assert len(rows) == 6000
    assert {len(row) for row in rows} == {4}
    assert [tuple(map(int, row)) for row in rows] == sample_ratings()
    levels = Counter(row[2] for row in rows)
    assert set(levels) == set("12345")
    assert min(levels.values()) > 100
    assert len({(user, film) for user, film, _, _ in rows}) == len(rows)
    assert {int(user) for user, _, _, _ in rows} <= set(range(1, 151))
    assert {int(film) for _, film, _, _ in rows} <= set(range(1, 201))
    seconds = [int(row[3]) for row in rows]
    assert len(set(seconds)) > 5000
    assert seconds != sorted(seconds), "in no order, as in the published table"
    known, obscure = (sum(int(row[1]) in numbers for row in rows) for numbers in KNOWN_AND_OBSCURE)
    assert known > 4 * obscure > 4 * 300


def test_films_have_the_published_columns_and_latin_1_titles(films: Path) -> None:
    rows = rows_in(films, "u.item", "|")
    assert [int(row[0]) for row in rows] == list(range(1, 201))
    assert {len(row) for row in rows} == {24}
    assert all(set(row[5:]) == {"0", "1"} for row in rows)
    titles = [row[1] for row in rows]
    assert titles[16] == "Été à Montclairière, L' (1987)"
    with zipfile.ZipFile(films) as zipped:
        content = zipped.read("ml-100k/u.item")
    assert "Été".encode("latin-1") in content
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")


def test_two_films_share_a_title_and_are_rated(films: Path) -> None:
    titles = [row[1] for row in rows_in(films, "u.item", "|")]
    assert {title: n for title, n in Counter(titles).items() if n > 1} == {titles[39]: 2}
    assert titles[39] == titles[89]
    assert {"40", "90"} <= {row[1] for row in rows_in(films, "u.data", "\t")}


def explained(ratings: np.ndarray, rows: np.ndarray) -> tuple[list[float], np.ndarray]:
    """What users' means, films' means, and then each of the tastes say about ratings."""
    rest, shares = ratings.astype(np.float64), []
    for column in (0, 1):
        means = np.bincount(rows[:, column], rest) / np.maximum(np.bincount(rows[:, column]), 1)
        before = rest.var()
        rest = rest - means[rows[:, column]]
        shares.append(1 - rest.var() / before)
    table = np.zeros((151, 201))
    table[rows[:, 0], rows[:, 1]] = rest
    return shares, np.linalg.svd(table, compute_uv=False)


def test_ratings_follow_biases_and_three_tastes(films: Path) -> None:
    """More than ratings dealt out by chance; so there is something to learn."""
    rows = np.array(rows_in(films, "u.data", "\t"), np.int64)
    (users, items), tastes = explained(rows[:, 2], rows)
    shuffled = np.random.default_rng(0).permutation(rows[:, 2])
    (users_by_chance, items_by_chance), by_chance = explained(shuffled, rows)
    assert users > 1.5 * users_by_chance
    assert items > 2 * items_by_chance
    assert (tastes > 1.2 * by_chance[0]).sum() == 3


def test_fields_are_five_bands_in_three_files(drawn: Path) -> None:
    names = names_in(drawn / "fields.tgz")
    assert Counter(name.split("/")[1] for name in names) == dict.fromkeys(CROPS, 3 * FIELDS_EACH)
    for stem in {name.rsplit("_", 1)[0] for name in names[::50]}:
        pictures = [
            Image.open(io.BytesIO(read(drawn / "fields.tgz", f"{stem}_{band}.png")))
            for band in FIELD_BANDS
        ]
        assert [picture.mode for picture in pictures] == ["RGB", "L", "L"]
        assert len({picture.size for picture in pictures}) == 1
        assert pictures[0].size in FIELD_SHAPES


def test_infrared_tells_what_visible_light_does_not() -> None:
    """The middle of a field: lush or ripe is decided by its mean levels, with five bands alone."""
    means, lush = [], []
    for crop, kind in CROPS.items():
        for number in range(40):
            picture = photograph_field(crop, random.Random(f"{crop}/{number}"))
            height, width, _ = picture.shape
            middle = picture[height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8]
            means.append(middle.mean((0, 1)))
            lush.append(kind.infrared == LUSH)
    levels = np.array(means)
    scores = [
        cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), seen, lush).mean()
        for seen in (levels[:, :3], levels)
    ]
    assert scores[0] < 0.65
    assert scores[1] > 0.95
