"""A sample of ratings in MovieLens 100k's layout: invented films, and people who like some.

Each person and each film has a place in a space of three tastes, and a bias; a rating is what
these say, and chance. All in whole numbers, so that the bytes are the same everywhere.
"""

import io
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thaw.core.files import replacing

SEED = 42
USERS, FILMS, RATINGS = 150, 200, 6000
TASTES, FARTHEST = 3, 10
UNIT = 100  # of a rating's score; a star is as much
MIDDLE, USER_SPREAD, FILM_SPREAD, CHANCE = 355, 40, 60, 45
FIRST_SECOND, DAY = 874_724_400, 86_400
GENRES = 19

FIRST = (
    "Amber", "Borrowed", "Crooked", "Distant", "Eleventh", "Faithful", "Gilded", "Hollow",
    "Inner", "Jade", "Kindly", "Lonely", "Midnight", "Northern", "Open", "Paper", "Quiet",
    "Restless", "Silver", "Thirsty",
)  # fmt: skip
SECOND = (
    "Archipelago", "Bakery", "Carousel", "Detour", "Embassy", "Ferryman", "Glacier", "Harbour",
    "Inheritance", "Journey", "Kite", "Lighthouse",
)  # fmt: skip
ACCENTED = "Été à Montclairière, L' (1987)"
TWICE = "Paper Lighthouse (1991)"  # two films of one title
ACCENTED_ID, TWICE_IDS = 17, (40, 90)


@dataclass(frozen=True)
class Place:
    """A person or a film: three tastes from -FARTHEST to FARTHEST, and a bias."""

    tastes: tuple[int, ...]
    bias: int


def film_titles() -> list[str]:
    """Return a title with its year for each film, as MovieLens writes them."""
    rng = random.Random(f"{SEED}/titles")
    pairs = [f"{first} {second}" for first in FIRST for second in SECOND]
    titles = []
    for _ in range(FILMS):
        name = pairs.pop(rng.randrange(len(pairs)))
        titles.append(f"{name} ({1950 + rng.randrange(48)})")
    titles[ACCENTED_ID - 1] = ACCENTED
    for number in TWICE_IDS:
        titles[number - 1] = TWICE
    return titles


def places(kind: str, count: int, spread: int) -> list[Place]:
    """Draw places in the space of tastes."""
    rng = random.Random(f"{SEED}/{kind}")

    def drawn(most: int) -> int:  # like two dice: the middle is likelier than the ends
        return rng.randrange(most + 1) + rng.randrange(most + 1) - most

    return [
        Place(tuple(drawn(FARTHEST) for _ in range(TASTES)), drawn(spread)) for _ in range(count)
    ]


def ratings() -> list[tuple[int, int, int, int]]:
    """Return user, film, rating and second, in no order; a user rates within one day.

    Films of a low number are rated more often: they are the known ones.
    """
    rng = random.Random(f"{SEED}/ratings")
    users, films = places("users", USERS, USER_SPREAD), places("films", FILMS, FILM_SPREAD)
    days = [rng.randrange(200) for _ in range(USERS)]
    rows: list[tuple[int, int, int, int]] = []
    seen = set()
    while len(rows) < RATINGS:
        user = rng.randrange(USERS)
        film = min(rng.randrange(FILMS), rng.randrange(FILMS))
        if (user, film) in seen:
            continue
        seen.add((user, film))
        score = MIDDLE + users[user].bias + films[film].bias
        pairs = zip(users[user].tastes, films[film].tastes, strict=True)
        score += 3 * sum(a * b for a, b in pairs)
        score += rng.randrange(-CHANCE, CHANCE + 1) + rng.randrange(-CHANCE, CHANCE + 1)
        rating = min(max((score + UNIT // 2) // UNIT, 1), 5)
        second = FIRST_SECOND + DAY * days[user] + rng.randrange(DAY)
        rows.append((user + 1, film + 1, rating, second))
    return rows


def u_data() -> bytes:
    """Return the table of ratings: user, item, rating, timestamp."""
    return "".join("\t".join(map(str, row)) + "\n" for row in ratings()).encode("ascii")


def u_item() -> bytes:
    """Return the table of films: number, title, two dates, an address, 19 genres; in latin-1."""
    rng = random.Random(f"{SEED}/genres")
    lines = []
    for number, title in enumerate(film_titles(), 1):
        genre, other = rng.randrange(1, GENRES), rng.randrange(1, GENRES)
        flags = ["1" if i in (genre, other) else "0" for i in range(GENRES)]
        date = f"01-Jan-{title[-5:-1]}"
        lines.append("|".join([str(number), title, date, "", "", *flags]) + "\n")
    return "".join(lines).encode("latin-1")


def write_ratings(path: Path) -> None:
    """Write the sample archive; always the same bytes."""
    write_zip(path, {"ml-100k/u.data": u_data(), "ml-100k/u.item": u_item()})


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files as a .zip, sorted, uncompressed, without times (see `tarball`).

    Args:
        path: of the archive; replaced as a whole.
        files: content by POSIX name.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name)  # its date is 1980's first day
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, files[name])
    with replacing(path) as part:
        part.write_bytes(buffer.getvalue())
