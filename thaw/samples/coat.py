"""Coat colours, and the patterns that they make."""

import random
from typing import Literal, NamedTuple

import numpy as np

from thaw.samples.canvas import Colour, Ints, Mask, Pattern

PatternName = Literal["plain", "stripes", "spots", "patches", "points", "saddle", "bib"]
CoatName = Literal[
    "black", "blue", "brown", "chocolate", "cream", "ginger", "gold", "grey", "red", "white"
]
Part = Literal["body", "head", "face", "ear", "tail", "leg", "paw", "chest"]


class Coat(NamedTuple):
    """The three colours of a coat: the fur, its markings, and the pale parts."""

    fur: Colour
    marking: Colour
    pale: Colour


COATS: dict[CoatName, Coat] = {
    "black": Coat((62, 60, 68), (172, 156, 138), (232, 230, 226)),
    "blue": Coat((112, 128, 152), (54, 62, 84), (214, 220, 230)),
    "brown": Coat((146, 98, 62), (68, 42, 26), (220, 192, 158)),
    "chocolate": Coat((100, 66, 46), (196, 154, 112), (226, 202, 176)),
    "cream": Coat((230, 208, 170), (116, 80, 56), (250, 244, 232)),
    "ginger": Coat((214, 134, 64), (136, 66, 28), (246, 224, 194)),
    "gold": Coat((208, 170, 96), (116, 76, 34), (246, 234, 204)),
    "grey": Coat((140, 142, 148), (62, 64, 72), (224, 224, 228)),
    "red": Coat((164, 80, 48), (80, 34, 24), (234, 200, 172)),
    "white": Coat((236, 234, 230), (72, 64, 60), (252, 252, 252)),
}


def shifted(coat: Coat, rng: random.Random, by: int = 12) -> Coat:
    """Return the coat of one animal: every colour a little lighter, darker or warmer."""
    level, warmth = rng.randint(-by, by), rng.randint(-by // 2, by // 2)
    return Coat(
        *(_clipped((r + level + warmth, g + level, b + level - warmth)) for r, g, b in coat)
    )


def markings(name: PatternName, part: Part, rng: random.Random) -> Pattern | None:
    """Return where `part` of an animal bears the marking's colour; None for nowhere.

    Coordinates are units of the part (a body is about 560 wide), x along it, y across. The
    pale parts of a bib are painted by the caller.
    """
    if name == "stripes":
        # Bands across the trunk, rings around the limbs.
        period = {"body": 112, "head": 76, "tail": 84, "leg": 66}.get(part)
        if period is None:
            return None
        return _bands(period, rng.randrange(period), along_y=part == "leg")
    if name == "spots" and part in ("body", "head", "leg", "tail"):
        return _spots(84 if part == "body" else 66, rng)
    if name == "patches" and part in ("body", "head"):
        return _blots(rng, 3 if part == "body" else 1, 105 if part == "body" else 85)
    if name == "points" and part in ("face", "ear", "tail", "paw"):
        return _everywhere
    if name == "saddle" and part in ("body", "tail", "head", "ear"):
        return _everywhere if part == "ear" else _above(10 if part == "body" else -40, rng)
    return None


def _everywhere(x: Ints, y: Ints) -> Mask:
    return np.ones(np.broadcast_shapes(x.shape, y.shape), np.bool_)


def _wave(along: Ints, length: int, height: int) -> Ints:
    """A triangle wave between 0 and `height`."""
    return np.abs(along % length - length // 2) * height // (length // 2)


def _bands(period: int, phase: int, along_y: bool) -> Pattern:
    def bands(x: Ints, y: Ints) -> Mask:
        along, across = (y, x) if along_y else (x, y)
        bent = along + _wave(across + phase, 120, 30)
        return np.asarray((bent + phase) % period < period * 45 // 100, np.bool_)

    return bands


def _spots(cell: int, rng: random.Random) -> Pattern:
    phase_x, phase_y = rng.randrange(cell), rng.randrange(cell)
    shake = np.frombuffer(rng.randbytes(128), np.uint8).astype(np.int32).reshape(2, 64)
    shake = (shake % 32 - 16) * cell // 84

    def spots(x: Ints, y: Ints) -> Mask:
        row = (y + phase_y) // cell
        across = x + phase_x + row % 2 * (cell // 2)
        which = (across // cell * 5 + row * 11) % 64
        dx = across % cell - cell // 2 + shake[0][which]
        dy = (y + phase_y) % cell - cell // 2 + shake[1][which]
        return np.asarray(dx * dx + dy * dy < cell * cell * 9 // 100, np.bool_)

    return spots


def _blots(rng: random.Random, count: int, radius: int) -> Pattern:
    step = 420 // count
    blots = [
        (
            i * step - 210 + rng.randint(step // 4, step - step // 4),
            rng.randint(-radius, radius // 3),
            radius * rng.randint(80, 115) // 100,
        )
        for i in range(count)
    ]

    def blotted(x: Ints, y: Ints) -> Mask:
        mask = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
        for cx, cy, r in blots:
            reach = r - _wave(x + 2 * y, 60, 16)
            mask |= (x - cx) * (x - cx) + (y - cy) * (y - cy) < reach * reach
        return mask

    return blotted


def _above(level: int, rng: random.Random) -> Pattern:
    phase = rng.randrange(90)

    def above(x: Ints, y: Ints) -> Mask:
        return np.asarray(y < level - 15 + _wave(x + phase, 90, 30), np.bool_)

    return above


def _clipped(colour: Colour) -> Colour:
    r, g, b = (min(max(value, 20), 254) for value in colour)
    return r, g, b
