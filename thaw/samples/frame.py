"""Where a drawn thing lies on the canvas, in whole numbers."""

import math
from dataclasses import dataclass

ONE = 1 << 16  # fixed point of positions and matrices
_TURN = 1 << 12  # fixed point of sines
_SINES = [round(math.sin(math.radians(degrees)) * _TURN) for degrees in range(360)]


def sine(degrees: int) -> int:
    """Return the sine of whole degrees times 4096, rounded: the same on every machine."""
    return _SINES[degrees % 360]


def cosine(degrees: int) -> int:
    """Return the cosine of whole degrees times 4096, rounded."""
    return sine(degrees + 90)


@dataclass(frozen=True)
class Frame:
    """An affine map from a thing's own units to canvas pixels; x to the right, y down.

    Attributes:
        x, y: the origin in pixels times `ONE`.
        xx, xy, yx, yy: pixels times `ONE` per unit; `xy` is how x grows with the thing's y.
    """

    x: int
    y: int
    xx: int
    xy: int
    yx: int
    yy: int

    @classmethod
    def placed(cls, x: int, y: int, scale: int, degrees: int, mirrored: bool) -> "Frame":
        """Make a frame at pixel (x, y) with `scale` (pixels times `ONE` per unit), turned."""
        plain = cls(x * ONE, y * ONE, -scale if mirrored else scale, 0, 0, scale)
        return plain.child(0, 0, degrees)

    def child(self, x: int, y: int, degrees: int = 0, percent: int = 100) -> "Frame":
        """Make a frame whose origin is at (x, y) of this one, turned and scaled with it."""
        c, s = cosine(degrees) * percent, sine(degrees) * percent
        unit = _TURN * 100
        return Frame(
            self.x + self.xx * x + self.xy * y,
            self.y + self.yx * x + self.yy * y,
            (self.xx * c + self.xy * s) // unit,
            (self.xy * c - self.xx * s) // unit,
            (self.yx * c + self.yy * s) // unit,
            (self.yy * c - self.yx * s) // unit,
        )

    def reach(self, half_width: int, half_height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom pixels that hold the given box around the origin."""
        dx = abs(self.xx) * half_width + abs(self.xy) * half_height
        dy = abs(self.yx) * half_width + abs(self.yy) * half_height
        return (
            (self.x - dx) // ONE,
            (self.y - dy) // ONE,
            (self.x + dx) // ONE + 1,
            (self.y + dy) // ONE + 1,
        )
