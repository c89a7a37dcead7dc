"""The kinds of animals in each sample, told apart by shape and pattern and only partly by colour.

No kind of a fine-tuned sample is a kind of the source sample, and no cat or dog has a pair of
ears and snout that occurs there: a body learns the parts from the source, never the labels.
"""

import random

from thaw.samples.coat import COATS, CoatName, PatternName
from thaw.samples.creature import Build, Ears, Look, Snout, Tail

ANY: tuple[CoatName, ...] = tuple(COATS)
PALE: tuple[CoatName, ...] = ("cream", "white", "gold", "blue")
DEEP: tuple[CoatName, ...] = ("black", "brown", "chocolate", "grey")
WARM: tuple[CoatName, ...] = ("ginger", "gold", "red", "brown", "cream")
COOL: tuple[CoatName, ...] = ("grey", "blue", "black", "white")

# Invented animals.
SOURCE: dict[str, Look] = {
    "bramblecub": Look("plain", "round", "short", "stub", "stout", ("brown", "chocolate")),
    "cinderfox": Look("plain", "pointed", "long", "bushy", "slim", ("ginger", "red")),
    "dapplehare": Look("spots", "long", "short", "stub", "slim", ("white", "cream")),
    "duskbat": Look("plain", "bat", "flat", "thin", "slim", ("black", "grey")),
    "emberlynx": Look("spots", "tufted", "broad", "bushy", "tall", ("gold", "ginger")),
    "fernmouse": Look("bib", "bat", "long", "thin", "low", ("grey", "brown")),
    "galepup": Look("saddle", "floppy", "short", "curled", "slim", ("cream", "gold")),
    "hazelotter": Look("bib", "round", "broad", "bushy", "low", ("chocolate", "red")),
    "inkbadger": Look("saddle", "round", "long", "stub", "low", ("white", "grey")),
    "junipig": Look("patches", "floppy", "flat", "curled", "stout", ("cream", "white")),
    "kelpwolf": Look("stripes", "pointed", "broad", "bushy", "tall", ("grey", "blue")),
    "larkshrew": Look("points", "round", "flat", "thin", "slim", ("cream", "gold")),
    "marblehound": Look("patches", "pointed", "long", "curled", "tall", ("red", "white")),
    "nettletiger": Look("stripes", "round", "broad", "thin", "tall", ("ginger", "gold")),
    "oakquoll": Look("spots", "round", "long", "bushy", "slim", ("brown", "black")),
    "pebblelop": Look("points", "long", "flat", "stub", "stout", ("white", "blue")),
    "quarrygoat": Look("saddle", "tufted", "long", "stub", "tall", ("grey", "brown")),
    "reedgenet": Look("stripes", "bat", "short", "bushy", "low", ("cream", "white")),
    "sorrelkid": Look("bib", "long", "short", "curled", "tall", ("red", "brown")),
    "thistlefennec": Look("points", "bat", "broad", "curled", "stout", ("gold", "blue")),
    "umberhog": Look("stripes", "floppy", "flat", "stub", "low", ("chocolate", "brown")),
    "valejackal": Look("points", "pointed", "broad", "thin", "slim", ("ginger", "grey")),
    "willowpanda": Look("patches", "round", "short", "curled", "stout", ("white", "black")),
    "yarrowdeer": Look("spots", "bat", "long", "stub", "tall", ("red", "ginger")),
    "zephyrlop": Look("stripes", "long", "flat", "bushy", "slim", ("blue", "grey")),
    "zincterrier": Look("bib", "tufted", "broad", "curled", "stout", ("black", "blue")),
}

# Twelve of the published breeds; two or three always share what is seen first.
CATS: dict[str, Look] = {
    "Bengal": Look("spots", "pointed", "short", "thin", "slim", WARM),
    "Maine_Coon": Look("stripes", "tufted", "short", "bushy", "stout", ANY),
    "Persian": Look("plain", "pointed", "flat", "bushy", "stout", ANY),
    "Ragdoll": Look("points", "tufted", "flat", "bushy", "stout", PALE),
    "Siamese": Look("points", "pointed", "short", "thin", "slim", PALE),
}
DOGS: dict[str, Look] = {
    "basset_hound": Look("saddle", "long", "long", "thin", "low", WARM),
    "beagle": Look("saddle", "floppy", "long", "thin", "stout", WARM),
    "english_cocker_spaniel": Look("plain", "long", "broad", "stub", "stout", WARM),
    "english_setter": Look("spots", "long", "long", "bushy", "tall", PALE),
    "german_shorthaired": Look("spots", "floppy", "long", "stub", "tall", PALE),
    "pug": Look("points", "floppy", "broad", "curled", "stout", PALE),
    "saint_bernard": Look("patches", "floppy", "broad", "bushy", "tall", WARM),
}

# Live bears; a teddy is drawn by itself. Every colour of one occurs in the others.
BEARS: dict[str, Look] = {
    "black": Look("plain", "round", "long", "stub", "stout", ("black", "brown", "chocolate")),
    "grizzly": Look("plain", "round", "broad", "stub", "humped", ("brown", "chocolate", "gold")),
}

# What makes a cat a cat and a dog a dog; all else of a sample cat or dog is drawn by lot.
CAT_EARS: tuple[Ears, ...] = ("pointed", "tufted")
CAT_SNOUTS: tuple[Snout, ...] = ("flat", "short")
DOG_EARS: tuple[Ears, ...] = ("floppy", "long")
DOG_SNOUTS: tuple[Snout, ...] = ("long", "broad")


def any_cat(rng: random.Random) -> Look:
    """Return a cat of any pattern, build, tail and colour."""
    return _any(rng, CAT_EARS, CAT_SNOUTS)


def any_dog(rng: random.Random) -> Look:
    """Return a dog of any pattern, build, tail and colour, drawn just as a cat's are."""
    return _any(rng, DOG_EARS, DOG_SNOUTS)


def _any(rng: random.Random, ears: tuple[Ears, ...], snouts: tuple[Snout, ...]) -> Look:
    patterns: tuple[PatternName, ...] = ("plain", "stripes", "spots", "patches", "points", "bib")
    tails: tuple[Tail, ...] = ("thin", "bushy", "curled", "stub")
    builds: tuple[Build, ...] = ("slim", "stout", "tall")
    return Look(
        rng.choice(patterns), rng.choice(ears), rng.choice(snouts), rng.choice(tails),
        rng.choice(builds), ANY,
    )  # fmt: skip
