"""Paint shapes on a supersampled picture with whole-number arithmetic only."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.samples.frame import ONE, Frame

Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]
Colour = tuple[int, int, int]
# Given a shape's own coordinates in units, says where the second colour goes.
Pattern = Callable[[Ints, Ints], Mask]

SUPERSAMPLING = 2
EDGE = 1024  # the rim of a shape in its normalised coordinates

_FINE_BITS = 14  # of the factors that make normalised coordinates: 32 bits are enough so
_FINE = 1 << _FINE_BITS
_MIDDLES = np.arange(2048, dtype=np.int32) * 16 + 8  # of pixels, in sixteenths of a pixel


@dataclass(frozen=True)
class Patch:
    """A shape's box on the canvas.

    Attributes:
        rows, columns: the box.
        p, q: normalised coordinates of every pixel, int32 [height, width]; +-1024 at the rim.
    """

    rows: slice
    columns: slice
    p: Ints
    q: Ints


class Canvas:
    """A picture being painted: uint16 [3, height, width], `SUPERSAMPLING` times too large.

    Args:
        width, height: of the final picture, pixels.
        rng: gives the grain of furs and rims.
        light: where the light comes from: -100 (left) to 100 (right).
    """

    def __init__(self, width: int, height: int, rng: random.Random, light: int) -> None:
        self.width = width * SUPERSAMPLING
        self.height = height * SUPERSAMPLING
        self.pixels = np.zeros((3, self.height, self.width), np.uint16)
        self.light = light
        self.grain = grain(rng, self.width, self.height)

    def patch(self, frame: Frame, half_width: int, half_height: int) -> Patch | None:
        """Return the box of a shape around the frame's origin; None when it is off the canvas."""
        left, top, right, bottom = frame.reach(
            half_width + half_width // 8 + 1, half_height + half_height // 8 + 1
        )
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, self.width), min(bottom, self.height)
        if left >= right or top >= bottom:
            return None
        x = _MIDDLES[left:right] - frame.x * 16 // ONE
        y = _MIDDLES[top:bottom] - frame.y * 16 // ONE
        det = frame.xx * frame.yy - frame.xy * frame.yx
        p = _linear(x, y, frame.yy, -frame.xy, det * half_width)
        q = _linear(x, y, -frame.yx, frame.xx, det * half_height)
        return Patch(slice(top, bottom), slice(left, right), p, q)

    def ellipse(
        self,
        frame: Frame,
        half_width: int,
        half_height: int,
        colour: Colour,
        second: Colour | None = None,
        pattern: Pattern | None = None,
        fur: int = 0,
        flat: bool = False,
    ) -> None:
        """Paint an ellipse around the frame's origin.

        Args:
            frame: position and turn.
            half_width: half axis along the frame's x, in its units.
            half_height: half axis along its y.
            colour: of the whole.
            second: colour where `pattern` says.
            pattern: takes the shape's own coordinates in units.
            fur: how ragged the rim is, 0 (smooth) to 100.
            flat: without the shading that makes it look round.
        """
        patch = self.patch(frame, half_width, half_height)
        if patch is None:
            return
        far = patch.p * patch.p + patch.q * patch.q
        limit: Ints | int = EDGE * EDGE
        if fur:
            limit = limit + self.grain[patch.rows, patch.columns].astype(np.int32) * (fur * 800)
        chosen = _marked(patch, half_width, half_height, pattern)
        self._fill(patch, far <= limit, colour, second, chosen, None if flat else far >> 10)

    def polygon(
        self,
        frame: Frame,
        half_width: int,
        half_height: int,
        corners: list[tuple[int, int]],
        colour: Colour,
        second: Colour | None = None,
        pattern: Pattern | None = None,
        flat: bool = False,
    ) -> None:
        """Paint a convex polygon, as `ellipse` does.

        Args:
            frame: position and turn of its box.
            half_width: of the box, in the frame's units.
            half_height: of the box.
            corners: in -1024..1024 of the box, clockwise when y points down.
            colour: of the whole.
            second: colour where `pattern` says.
            pattern: takes the shape's own coordinates in units.
            flat: without shading.
        """
        patch = self.patch(frame, half_width, half_height)
        if patch is None:
            return
        mask = np.ones(patch.p.shape, np.bool_)
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
            mask &= (x2 - x1) * (patch.q - y1) - (y2 - y1) * (patch.p - x1) >= 0
        chosen = _marked(patch, half_width, half_height, pattern)
        depth = None if flat else (np.abs(patch.p) + np.abs(patch.q)) >> 2
        self._fill(patch, mask, colour, second, chosen, depth)

    def darken(self, frame: Frame, half_width: int, half_height: int, share: int) -> None:
        """Dim an ellipse by `share` thousandths at its middle, fading to its rim: a shadow."""
        patch = self.patch(frame, half_width, half_height)
        if patch is None:
            return
        far = (patch.p * patch.p + patch.q * patch.q) >> 10
        keep = (128 - np.maximum(EDGE - far, 0) * share // 8000).astype(np.uint16)
        area = self.pixels[:, patch.rows, patch.columns]
        area[...] = (area * keep) >> 7

    def _fill(
        self,
        patch: Patch,
        mask: Mask,
        colour: Colour,
        second: Colour | None,
        chosen: Mask | None,
        depth: Ints | None,
    ) -> None:
        """Paint `mask`: lighter towards the light, darker below and at the rim, with grain."""
        area = self.pixels[:, patch.rows, patch.columns]
        painted = np.array(colour, np.uint16)[:, None, None]
        if depth is None:
            np.copyto(area, painted, where=mask)
            return
        # Shades are in 128ths, at most 255: a colour times a shade fits 16 bits, the fastest.
        shade = self.grain[patch.rows, patch.columns] + np.int16(128)
        rows, columns = mask.shape
        across = (_MIDDLES[:columns] - columns * 8) * self.light // (32 * columns)
        down = (rows * 8 - _MIDDLES[:rows]) * 38 // (16 * rows) + 5
        shade += across.astype(np.int16)
        shade += down.astype(np.int16)[:, None]
        shade -= (depth >> 5).astype(np.int16)
        np.maximum(shade, np.int16(0), out=shade)
        np.minimum(shade, np.int16(255), out=shade)
        if chosen is not None and second is not None:
            painted = np.where(chosen, np.array(second, np.uint16)[:, None, None], painted)
        painted = painted * shade.view(np.uint16)
        painted >>= np.uint16(7)
        np.copyto(area, painted, where=mask)

    def cover(self, picture: NDArray[np.uint16]) -> None:
        """Paint a whole picture, uint16 [3, height, width] of the final size, over everything."""
        n = SUPERSAMPLING
        self.pixels[...] = picture.repeat(n, axis=1).repeat(n, axis=2)

    def reduced(self) -> Ints:
        """Average the supersampled pixels: int32 [3, height, width], 0..508."""
        n = SUPERSAMPLING
        total = np.zeros((3, self.height // n, self.width // n), np.int32)
        for i in range(n * n):
            total += self.pixels[:, i // n :: n, i % n :: n]
        return total // (n * n)


def grain(rng: random.Random, width: int, height: int) -> NDArray[np.int16]:
    """Return noise of -6..6, int16 [height, width], in grains of two pixels."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    raw = np.frombuffer(rng.randbytes(rows * columns), np.uint8)
    noise = (raw % 13).astype(np.int16).reshape(rows, columns) - np.int16(6)
    return noise.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]


def _linear(x: Ints, y: Ints, a: int, b: int, by: int) -> Ints:
    """Return (a x + b y) / by in normalised units, x and y in sixteenths of a pixel."""
    unit = EDGE * ONE // 16 * _FINE
    normal: Ints = x * (a * unit // by) + (y * (b * unit // by))[:, None]
    normal >>= _FINE_BITS
    return normal


def _marked(
    patch: Patch, half_width: int, half_height: int, pattern: Pattern | None
) -> Mask | None:
    if pattern is None:
        return None
    return pattern((patch.p * half_width) >> 10, (patch.q * half_height) >> 10)
