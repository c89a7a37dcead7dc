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

# Invented animals, each pair of ears and snout once. Sixteen, not more: the body that is trained
# on them has only about a minute.
SOURCE: dict[str, Look] = {
    "duskbat": Look("plain", "bat", "flat", "thin", "slim", COOL),
    "emberlynx": Look("spots", "tufted", "broad", "bushy", "tall", WARM),
    "galepup": Look("saddle", "floppy", "short", "curled", "slim", PALE),
    "inkbadger": Look("saddle", "round", "long", "stub", "low", COOL),
    "kelpwolf": Look("stripes", "pointed", "broad", "bushy", "tall", COOL),
    "larkshrew": Look("points", "round", "flat", "thin", "slim", PALE),
    "marblehound": Look("patches", "pointed", "long", "curled", "tall", WARM),
    "nettletiger": Look("stripes", "round", "broad", "thin", "tall", WARM),
    "pebblelop": Look("points", "long", "flat", "stub", "stout", PALE),
    "quarrygoat": Look("saddle", "tufted", "long", "stub", "tall", DEEP),
    "reedgenet": Look("stripes", "bat", "short", "bushy", "low", PALE),
    "sorrelkid": Look("bib", "long", "short", "curled", "tall", WARM),
    "thistlefennec": Look("points", "bat", "broad", "curled", "stout", PALE),
    "umberhog": Look("stripes", "floppy", "flat", "stub", "low", WARM),
    "willowpanda": Look("patches", "round", "short", "curled", "stout", COOL),
    "yarrowdeer": Look("spots", "bat", "long", "stub", "tall", WARM),
}

# Twelve of the published breeds; two or three always share what is seen first.
CATS: dict[str, Look] = {
    "Bengal": Look("spots", "pointed", "short", "thin", "slim", ("ginger", "gold", "brown")),
    "Maine_Coon": Look("stripes", "tufted", "short", "bushy", "stout", ("brown", "grey", "ginger")),
    "Persian": Look("plain", "pointed", "flat", "bushy", "stout", ("white", "cream", "grey")),
    "Ragdoll": Look("points", "tufted", "flat", "bushy", "stout", ("cream", "white", "blue")),
    "Siamese": Look("points", "pointed", "short", "thin", "slim", ("cream", "white", "blue")),
}
DOGS: dict[str, Look] = {
    "basset_hound": Look("saddle", "long", "long", "thin", "low", ("ginger", "brown", "red")),
    "beagle": Look("saddle", "floppy", "long", "thin", "stout", ("ginger", "brown", "gold")),
    "english_cocker_spaniel": Look(
        "plain", "long", "broad", "stub", "stout", ("gold", "red", "chocolate")
    ),
    "english_setter": Look("spots", "long", "long", "bushy", "tall", ("white", "blue", "gold")),
    "german_shorthaired": Look(
        "spots", "floppy", "long", "stub", "tall", ("white", "blue", "grey")
    ),
    "pug": Look("points", "floppy", "broad", "curled", "stout", ("cream", "gold", "grey")),
    "saint_bernard": Look("patches", "floppy", "broad", "bushy", "tall", ("red", "gold", "brown")),
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
