"""The sample archives: which pictures each holds and under what names.

`python -c "from pathlib import Path; from thaw.samples.archives import draw;
draw('pets', Path('.'))"` writes ``oxford-iiit-pet.tgz`` into the current folder.
"""

import functools
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from thaw.errors import UserError
from thaw.params.base import did_you_mean
from thaw.samples import kinds
from thaw.samples.canvas import Canvas
from thaw.samples.creature import Look, draw_creature
from thaw.samples.frame import Frame
from thaw.samples.photo import jpeg, photograph, png
from thaw.samples.tarball import write_tgz
from thaw.samples.teddy import draw_teddy

SEED = 42
SOURCE_EACH, PETS_EACH, BEARS_EACH = 100, 30, 40
DOGSCATS_EACH = {"train": 60, "valid": 50}

Stored = Literal["jpeg", "grey", "png", "turned"]


@dataclass(frozen=True)
class Photo:
    """One picture of a sample archive.

    Attributes:
        path: its POSIX name in the archive.
        look: the animal; None for a teddy bear.
        stored: how: `grey` is a JPEG of one channel, `png` is an RGBA PNG in spite of its name,
            `turned` lies on its side and an EXIF tag says so.
    """

    path: str
    look: Look | None
    stored: Stored = "jpeg"

    def content(self) -> bytes:
        """Draw the picture; return its file's bytes. No picture depends on another."""
        picture = photograph(self._subject, random.Random(f"{SEED}/{self.path}"))
        match self.stored:
            case "jpeg":
                return jpeg(picture)
            case "grey":
                return jpeg(picture.convert("L"))
            case "png":
                return png(picture.convert("RGBA"))
            case "turned":
                return jpeg(picture.transpose(Image.Transpose.ROTATE_90), orientation=6)

    def _subject(self, canvas: Canvas, frame: Frame, rng: random.Random) -> None:
        if self.look is None:
            draw_teddy(canvas, frame, rng)
        else:
            draw_creature(canvas, frame, self.look, rng)


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
    looks = [*kinds.BEARS.items(), ("teddy", None)]
    return [
        Photo(f"bears/{name}/{i:08d}.jpg", look)
        for name, look in looks
        for i in range(1, BEARS_EACH + 1)
    ]


PHOTOS: dict[str, Callable[[], list[Photo]]] = {
    "source": source_photos,
    "pets": pets_photos,
    "dogscats": dogscats_photos,
    "bears": bears_photos,
}
FILE_NAMES = {
    "source": "creatures.tgz",
    "pets": "oxford-iiit-pet.tgz",
    "dogscats": "dogscats.tgz",
    "bears": "bears.tgz",
}
NAMES = tuple(PHOTOS)


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
    count = len(_photos(name))
    with ProcessPoolExecutor() as processes:  # no picture depends on another
        drawn = processes.map(_drawn, [name] * count, range(count), chunksize=20)
        files = dict(drawn)
    if name == "pets":
        files["oxford-iiit-pet/annotations/list.txt"] = _pets_list().encode()
    write_tgz(target, files)


@functools.cache
def _photos(name: str) -> list[Photo]:
    return list(PHOTOS[name]())


def _drawn(name: str, number: int) -> tuple[str, bytes]:
    """Draw one picture of a sample, in whichever process."""
    photo = _photos(name)[number]
    return photo.path, photo.content()


def _pets_list() -> str:
    """The published archive's list: image, class, species (1 cat, 2 dog), breed of the species."""
    lines = ["#Image CLASS-ID SPECIES BREED ID"]
    breeds = sorted(kinds.CATS | kinds.DOGS, key=str.lower)
    for breed in breeds:
        same = kinds.CATS if breed in kinds.CATS else kinds.DOGS
        place = sorted(same, key=str.lower).index(breed) + 1
        species = 1 if same is kinds.CATS else 2
        for i in range(1, PETS_EACH + 1):
            lines.append(f"{breed}_{i} {breeds.index(breed) + 1} {species} {place}")
    return "\n".join(lines) + "\n"
