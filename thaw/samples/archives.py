"""The sample archives: what each holds and under what names.

`python -c "from pathlib import Path; from thaw.samples.archives import draw;
draw('pets', Path('.'))"` writes ``oxford-iiit-pet.tgz`` into the current folder.
"""

import functools
import random
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

from thaw.core.errors import UserError
from thaw.params.base import did_you_mean
from thaw.samples import kinds
from thaw.samples.canvas import Canvas
from thaw.samples.fields import CROPS, Crop, band_picture, photograph_field
from thaw.samples.frame import Frame
from thaw.samples.head import PARTS, photograph_head
from thaw.samples.people import PEOPLE
from thaw.samples.photo import SMALL_QUALITY, jpeg, photograph, photograph_group, png
from thaw.samples.pose import Pose
from thaw.samples.ratings import write_ratings
from thaw.samples.tarball import write_tgz
from thaw.samples.things import Subject, draw_subject

SEED = 42
SOURCE_EACH, PETS_EACH, BEARS_EACH = 100, 30, 40
DOGSCATS_EACH = {"train": 60, "valid": 50}
BEARS_NONE_EACH = {"train": 28, "valid": 12}
NONE = 24  # pictures without a bear, all in valid
PASCAL_VALID, PASCAL_TRAIN = 200, 300
BIWI_EACH = 40
FIELDS_EACH = 60
FIELD_BANDS = ("rgb", "nir", "swir")  # a file each

Stored = Literal["jpeg", "grey", "png", "turned"]


class Picture(Protocol):
    """One picture of a sample archive. No picture depends on another."""

    @property
    def path(self) -> str:
        """Its POSIX name in the archive."""

    def content(self) -> bytes:
        """Draw the picture; return its file's bytes."""


@dataclass(frozen=True)
class Photo:
    """A picture of one subject.

    Attributes:
        path: its POSIX name in the archive.
        look: the subject.
        stored: how: `grey` is a JPEG of one channel, `png` is an RGBA PNG in spite of its name,
            `turned` lies on its side and an EXIF tag says so.
    """

    path: str
    look: Subject
    stored: Stored = "jpeg"

    def content(self) -> bytes:
        """Draw the picture; return its file's bytes."""
        picture = photograph(_drawing(self.look), random.Random(f"{SEED}/{self.path}"))
        match self.stored:
            case "jpeg":
                return jpeg(picture)
            case "grey":
                return jpeg(picture.convert("L"))
            case "png":
                return png(picture.convert("RGBA"))
            case "turned":
                return jpeg(picture.transpose(Image.Transpose.ROTATE_90), orientation=6)


@dataclass(frozen=True)
class Group:
    """A picture of several subjects, or of none.

    Attributes:
        path: its POSIX name in the archive.
        subjects: from left to right.
        labels: the names of those that are of a class, in the same order, each once.
        valid: whether it is for validation.
    """

    path: str
    subjects: tuple[Subject, ...]
    labels: tuple[str, ...]
    valid: bool

    def content(self) -> bytes:
        """Draw the picture; return its file's bytes."""
        draws = [_drawing(subject) for subject in self.subjects]
        return jpeg(
            photograph_group(draws, random.Random(f"{SEED}/{self.path}")), quality=SMALL_QUALITY
        )


@dataclass(frozen=True)
class HeadShot:
    """A picture of a person's head.

    Attributes:
        path: its POSIX name in the archive.
        person: a key of `PEOPLE`.
        pose: of the head.
    """

    path: str
    person: str
    pose: Pose

    def content(self) -> bytes:
        """Draw the picture; return its file's bytes."""
        return jpeg(self.picture(), quality=SMALL_QUALITY)

    def picture(self, parts: Collection[str] = PARTS) -> Image.Image:
        """Draw the picture, or only some of the parts that it is made of."""
        grain = random.Random(f"{SEED}/{self.path}")
        exposure = random.Random(f"{SEED}/biwi/light/{self.person}")
        return photograph_head(PEOPLE[self.person], self.pose, grain, exposure, parts)


@dataclass(frozen=True)
class FieldBand:
    """A field from above, in one of the bands that it is stored in.

    Attributes:
        path: its POSIX name in the archive, that of the field's other files but for the band.
        crop: what grows there.
        band: one of `FIELD_BANDS`.
    """

    path: str
    crop: Crop
    band: str

    def content(self) -> bytes:
        """Draw the field in all bands; return the bytes of this one's file."""
        field = self.path.removesuffix(f"_{self.band}.png")
        picture = photograph_field(self.crop, random.Random(f"{SEED}/{field}"))
        return png(band_picture(picture, self.band))


def _drawing(subject: Subject) -> Callable[[Canvas, Frame, random.Random], None]:
    def draw_it(canvas: Canvas, frame: Frame, rng: random.Random) -> None:
        draw_subject(canvas, frame, subject, rng)

    return draw_it


def source_photos() -> list[Photo]:
    """A folder per kind of invented animal: what bodies are trained on."""
    return [
        Photo(f"creatures/{name}/{i}.jpg", look)
        for name, look in kinds.SOURCE.items()
        for i in range(1, SOURCE_EACH + 1)
    ]


def pets_photos() -> list[Photo]:
    """Breed and number in the name, cats' breeds upper-case; three files as odd as real ones."""
    odd: dict[str, Stored] = {"Persian_7": "grey", "beagle_4": "png", "Siamese_11": "turned"}
    return [
        Photo(f"oxford-iiit-pet/images/{breed}_{i}.jpg", look, odd.get(f"{breed}_{i}", "jpeg"))
        for breed, look in (kinds.CATS | kinds.DOGS).items()
        for i in range(1, PETS_EACH + 1)
    ]


def dogscats_photos() -> list[Photo]:
    """Folders train and valid; only the head tells, the rest is drawn by lot."""
    photos = []
    for split, count in DOGSCATS_EACH.items():
        for i in range(count):
            rng = random.Random(f"{SEED}/dogscats/{split}/{i}")
            photos.append(Photo(f"dogscats/{split}/cats/cat.{i}.jpg", kinds.any_cat(rng)))
            photos.append(Photo(f"dogscats/{split}/dogs/dog.{i}.jpg", kinds.any_dog(rng)))
    return photos


def bears_photos() -> list[Photo]:
    """A folder per kind of bear, teddies among them."""
    return [
        Photo(f"bears/{name}/{i:08d}.jpg", look)
        for name, look in ALL_BEARS.items()
        for i in range(1, BEARS_EACH + 1)
    ]


def bears_none_photos() -> list[Photo]:
    """Folders train and valid; valid has one more, `none`: other animals, things, or nothing."""
    photos = [
        Photo(f"bears/{split}/{name}/{i:08d}.jpg", look)
        for split, count in BEARS_NONE_EACH.items()
        for name, look in ALL_BEARS.items()
        for i in range(1, count + 1)
    ]
    for i in range(1, NONE + 1):
        rng = random.Random(f"{SEED}/bears_none/{i}")
        others: list[Subject] = [
            kinds.any_cat(rng), kinds.any_dog(rng), rng.choice(("ball", "car", "tree")), "nothing",
        ]  # fmt: skip
        photos.append(Photo(f"bears/valid/none/{i:08d}.jpg", others[i % len(others)]))
    return photos


def pascal_photos() -> list[Group]:
    """One to three subjects a picture; now and then a stranger, or nothing at all."""
    rng = random.Random(f"{SEED}/pascal")
    total = PASCAL_TRAIN + PASCAL_VALID
    valid = set(rng.sample(range(total), PASCAL_VALID))
    photos, number = [], 5
    for i in range(total):
        names = [rng.choice(PASCAL_CLASSES) for _ in range(rng.choice((1, 1, 2, 2, 2, 3)))]
        if i % 18 == 4:
            names = rng.choice(([], ["stranger"]))
        subjects = tuple(_one_of(name, rng) for name in names)
        labels = tuple(dict.fromkeys(name for name in names if name != "stranger"))
        path = f"pascal_2007/train/{number:06d}.jpg"
        photos.append(Group(path, subjects, labels, valid=i in valid))
        number += rng.choice((1, 2, 2, 3, 4))
    return photos


def _one_of(name: str, rng: random.Random) -> Subject:
    """Return a subject of a class, or an animal that belongs to none."""
    match name:
        case "ball" | "car" | "teddy" | "tree":
            return name
        case "bear":
            return rng.choice(tuple(kinds.BEARS.values()))
        case "cat":
            return kinds.any_cat(rng)
        case "dog":
            return kinds.any_dog(rng)
        case _:
            return rng.choice(tuple(kinds.SOURCE.values()))


def biwi_photos() -> list[HeadShot]:
    """A folder per person; some heads near the rim, every one's middle inside."""
    photos = []
    for person, who in PEOPLE.items():
        rng, camera, number = random.Random(f"{SEED}/biwi/poses/{person}"), who.camera, 3
        for _ in range(BIWI_EACH):
            rim = 4 if rng.random() < 0.15 else 16  # percent
            u = camera.width * rng.randint(rim * 10, 1000 - rim * 10)
            v = camera.height * rng.randint(max(rim * 10, 80), 620 + (16 - rim) * 20)
            centre = camera.place(u, v, rng.randint(560_000, 900_000))
            pose = Pose(rng.randint(-50, 50), rng.randint(-25, 25), rng.randint(-20, 20), centre)
            path = f"biwi_head_pose/{person}/frame_{number:05d}_rgb.jpg"
            photos.append(HeadShot(path, person, pose))
            number += rng.randint(3, 29)
    return photos


def fields_photos() -> list[FieldBand]:
    """A folder per crop; three files a field, five bands in all."""
    return [
        FieldBand(f"fields/{crop}/{i:03d}_{band}.png", crop, band)
        for crop in CROPS
        for i in range(1, FIELDS_EACH + 1)
        for band in FIELD_BANDS
    ]


ALL_BEARS: dict[str, Subject] = {**kinds.BEARS, "teddy": "teddy"}
PASCAL_CLASSES = ("ball", "bear", "car", "cat", "dog", "teddy", "tree")

PHOTOS: dict[str, Callable[[], Sequence[Picture]]] = {
    "source": source_photos,
    "pets": pets_photos,
    "dogscats": dogscats_photos,
    "bears": bears_photos,
    "bears_none": bears_none_photos,
    "pascal": pascal_photos,
    "biwi": biwi_photos,
    "bands": fields_photos,
}
FILE_NAMES = {
    "source": "creatures.tgz",
    "pets": "oxford-iiit-pet.tgz",
    "dogscats": "dogscats.tgz",
    "bears": "bears.tgz",
    "bears_none": "bears_none.tgz",
    "pascal": "pascal_2007.tgz",
    "biwi": "biwi_head_pose.tgz",
    "bands": "fields.tgz",
    "movielens": "ml-100k.zip",
}
NAMES = tuple(FILE_NAMES)


def file_name(name: str) -> str:
    """Return the file name of a sample archive, as published.

    Raises:
        UserError: there is no sample of that name.
    """
    if name not in FILE_NAMES:
        raise UserError(f"sample '{name}' does not exist; {did_you_mean(name, list(NAMES))}")
    return FILE_NAMES[name]


def draw(name: str, folder: Path) -> None:
    """Draw a sample archive into `folder` under its published file name; always the same bytes.

    Args:
        name: one of `NAMES`.
        folder: made if need be.

    Raises:
        UserError: there is no sample of that name.
    """
    target = folder / file_name(name)
    if name == "movielens":
        write_ratings(target)
        return
    count = len(_photos(name))
    with ProcessPoolExecutor() as processes:  # no picture depends on another
        drawn = processes.map(_drawn, [name] * count, range(count), chunksize=20)
        files = dict(drawn)
    if name in TEXTS:
        files |= {path: text.encode() for path, text in TEXTS[name]().items()}
    write_tgz(target, files)


@functools.cache
def _photos(name: str) -> list[Picture]:
    return list(PHOTOS[name]())


def _drawn(name: str, number: int) -> tuple[str, bytes]:
    """Draw one picture of a sample, in whichever process."""
    photo = _photos(name)[number]
    return photo.path, photo.content()


def _pets_texts() -> dict[str, str]:
    """The published archive's list: image, class, species (1 cat, 2 dog), breed of the species."""
    lines = ["#Image CLASS-ID SPECIES BREED ID"]
    breeds = sorted(kinds.CATS | kinds.DOGS, key=str.lower)
    for breed in breeds:
        same = kinds.CATS if breed in kinds.CATS else kinds.DOGS
        place = sorted(same, key=str.lower).index(breed) + 1
        species = 1 if same is kinds.CATS else 2
        for i in range(1, PETS_EACH + 1):
            lines.append(f"{breed}_{i} {breeds.index(breed) + 1} {species} {place}")
    return {"oxford-iiit-pet/annotations/list.txt": "\n".join(lines) + "\n"}


def _bears_none_texts() -> dict[str, str]:
    """A table of labels beside the folders; that of a picture without a bear is empty."""
    rows = []
    for photo in bears_none_photos():
        _, split, label, name = photo.path.split("/")
        rows.append((f"{split}/{label}/{name}", "" if label == "none" else label, split == "valid"))
    return {"bears/labels.csv": _table(rows)}


def _pascal_texts() -> dict[str, str]:
    """The published archive's table, in which several labels are separated by spaces."""
    rows = [
        (photo.path.rsplit("/", 1)[1], " ".join(photo.labels), photo.valid)
        for photo in pascal_photos()
    ]
    return {"pascal_2007/train.csv": _table(rows)}


def _table(rows: list[tuple[str, str, bool]]) -> str:
    return "fname,labels,is_valid\n" + "".join(
        f"{fname},{labels},{is_valid}\n" for fname, labels, is_valid in rows
    )


def _biwi_texts() -> dict[str, str]:
    """A pose beside each picture, a calibration for each person."""
    poses = {
        photo.path.removesuffix("rgb.jpg") + "pose.txt": photo.pose.text()
        for photo in biwi_photos()
    }
    calibrations = {
        f"biwi_head_pose/{name}/rgb.cal": person.camera.calibration()
        for name, person in PEOPLE.items()
    }
    return poses | calibrations


TEXTS: dict[str, Callable[[], dict[str, str]]] = {
    "pets": _pets_texts,
    "bears_none": _bears_none_texts,
    "pascal": _pascal_texts,
    "biwi": _biwi_texts,
}
