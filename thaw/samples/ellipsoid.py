"""Paint ellipsoids as a camera sees them: turned in space, lit, with colours on their surface."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from thaw.samples.canvas import EDGE, Canvas, Colour, Ints, Mask
from thaw.samples.frame import Frame
from thaw.samples.pose import TURN, Matrix, Vector

# Says where on a unit sphere (x, y, z times 1024, in the thing's own axes) a colour goes.
Region = Callable[[Ints, Ints, Ints], Mask]

_PARTS = 100  # of a half axis: the unit of the frames made here
_HEIGHTS = np.array([isqrt(EDGE * EDGE - i * EDGE) for i in range(EDGE + 1)], np.int32)
_DIM, _LIT = 68, 74  # 128ths of a colour: in the shade, and what a lamp in front adds


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid before the camera.

    Attributes:
        x, y: its middle on the canvas, pixels times `ONE`.
        scale: canvas pixels times `ONE` per millimetre, at its distance.
        half: half axes along its own x, y and z in millimetres.
        rotation: its axes as columns, times `TURN`.
    """

    x: int
    y: int
    scale: int
    half: Vector
    rotation: Matrix

    def child(self, middle: Vector, half: Vector) -> "Ellipsoid":
        """Make one with the same axes around a point of this one's own axes, in millimetres.

        It is seen from so far away that its distance makes no difference to its size.
        """
        right, down = (
            sum(r * m for r, m in zip(row, middle, strict=True)) * self.scale // TURN
            for row in self.rotation[:2]
        )
        return Ellipsoid(self.x + right, self.y + down, self.scale, half, self.rotation)

    def depth(self, middle: Vector) -> int:
        """Return how far behind its own middle such a point is, in millimetres."""
        return sum(r * m for r, m in zip(self.rotation[2], middle, strict=True)) // TURN

    def triangle(self) -> Matrix:
        """Return the lower triangle L, times `TURN`, that makes the shape of the unit sphere.

        L w is on the surface, in the camera's axes, for every w on the sphere; so w's first two
        coordinates are all that its place on the picture depends on. L Lᵀ = R D² Rᵀ, where R is
        the rotation and D has the half axes on its diagonal (Cholesky).
        """
        s = [
            [
                sum(a * b * d * d for a, b, d in zip(one, other, self.half, strict=True))
                for other in self.rotation
            ]
            for one in self.rotation
        ]
        l11 = isqrt(s[0][0])
        l21, l31 = s[1][0] // l11, s[2][0] // l11
        l22 = isqrt(s[1][1] - l21 * l21)
        l32 = (s[2][1] - l31 * l21) // l22
        l33 = isqrt(max(s[2][2] - l31 * l31 - l32 * l32, 0))
        return (l11, 0, 0), (l21, l22, 0), (l31, l32, l33)


def paint_ellipsoid(
    canvas: Canvas,
    shape: Ellipsoid,
    colour: Colour,
    lamp: Vector,
    regions: Sequence[tuple[Region, Colour]] = (),
    only: Region | None = None,
) -> None:
    """Paint the side of an ellipsoid that faces the camera.

    Args:
        canvas: painted on.
        shape: where and how large.
        colour: of the whole.
        lamp: direction to the light in the camera's axes, of length 1024.
        regions: other colours and where they go, later ones over earlier ones.
        only: leaves out the rest of the surface.
    """
    lower = shape.triangle()
    unit = shape.scale
    frame = Frame(
        shape.x, shape.y,
        lower[0][0] * unit // (TURN * _PARTS), 0,
        lower[1][0] * unit // (TURN * _PARTS), lower[1][1] * unit // (TURN * _PARTS),
    )  # fmt: skip
    patch = canvas.patch(frame, _PARTS, _PARTS)
    if patch is None:
        return
    far = patch.p * patch.p + patch.q * patch.q
    mask: Mask = far <= EDGE * EDGE
    height = -_HEIGHTS[np.minimum(far >> 10, EDGE)]
    x, y, z = (
        (patch.p * a + patch.q * b + height * c) // TURN for a, b, c in _turned(shape, lower)
    )
    if only is not None:
        mask &= only(x, y, z)
    painted = np.array(colour, np.uint16)[:, None, None]
    for region, other in regions:
        marked = region(x, y, z)
        painted = np.where(marked, np.array(other, np.uint16)[:, None, None], painted)
    # The sphere's normal stands in for the ellipsoid's: its light is only a little rounder.
    own = [sum(row[k] * lamp[i] for i, row in enumerate(shape.rotation)) // TURN for k in range(3)]
    shine = np.maximum(x * own[0] + y * own[1] + z * own[2], 0) >> 10
    grain = canvas.grain[patch.rows, patch.columns] // np.int16(2)
    shade = (_DIM + (shine * _LIT >> 10) + grain).astype(np.uint16)
    np.copyto(canvas.pixels[:, patch.rows, patch.columns], painted * shade >> 7, where=mask)


def _turned(shape: Ellipsoid, lower: Matrix) -> list[list[int]]:
    """Return D⁻¹ Rᵀ L times `TURN`: from w to the unit sphere in the shape's own axes."""
    return [
        [
            sum(shape.rotation[i][k] * lower[i][j] for i in range(3)) // (shape.half[k] * TURN)
            for j in range(3)
        ]
        for k in range(3)
    ]


def scaled(ellipsoid: Ellipsoid, percent: int) -> Ellipsoid:
    """Return an ellipsoid around the same middle, larger or smaller."""
    a, b, c = (half * percent // 100 for half in ellipsoid.half)
    return Ellipsoid(ellipsoid.x, ellipsoid.y, ellipsoid.scale, (a, b, c), ellipsoid.rotation)


def lamp_from(x: int, y: int) -> Vector:
    """Return the direction to a lamp before the head, of length 1024, from two coordinates."""
    return x, y, -isqrt(EDGE * EDGE - x * x - y * y)
