"""A pinhole camera, and where a head is before it, in whole numbers and BIWI's text files.

The camera's axes: x to the right, y down, z away from it. A head that faces the camera has the
same axes, so that its nose points along -z.
"""

from dataclasses import dataclass

from thaw.samples.frame import ONE, cosine, sine

Vector = tuple[int, int, int]
Matrix = tuple[Vector, Vector, Vector]

_MILLIONTH = 10**6
TURN = sine(90)  # fixed point of sines and rotations


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    Attributes:
        focal: focal length in thousandths of a pixel, in both directions.
        centre_x, centre_y: the principal point in thousandths of a pixel; (0, 0) is the outer
            corner of the picture's first pixel, whose middle is at (500, 500).
        width, height: of its pictures in pixels.
    """

    focal: int
    centre_x: int
    centre_y: int
    width: int
    height: int

    def project(self, place: Vector) -> tuple[int, int]:
        """Return where a place (thousandths of a millimetre) is seen, in pixels times `ONE`."""
        x, y, z = place
        return (
            (x * self.focal // z + self.centre_x) * ONE // 1000,
            (y * self.focal // z + self.centre_y) * ONE // 1000,
        )

    def place(self, u: int, v: int, z: int) -> Vector:
        """Return what is seen at pixel (u, v), in thousandths of a pixel, at the distance z."""
        return (u - self.centre_x) * z // self.focal, (v - self.centre_y) * z // self.focal, z

    def calibration(self) -> str:
        """Write ``rgb.cal``: the matrix, distortion, pose of the depth camera, picture size."""
        focal, centre_x, centre_y = map(_thousandths, (self.focal, self.centre_x, self.centre_y))
        return (
            f"{focal} 0 {centre_x} \n0 {focal} {centre_y} \n0 0 1 \n\n"
            "0 0 0 0 \n\n"
            "1 0 0 \n0 1 0 \n0 0 1 \n\n"
            "0 0 0 \n\n"
            f"{self.width} {self.height}\n"
        )


@dataclass(frozen=True)
class Pose:
    """Where a head is and how it is turned.

    Attributes:
        yaw, pitch, roll: whole degrees about the camera's y, x and z, x turned first.
        centre: of the head before the camera, thousandths of a millimetre.
    """

    yaw: int
    pitch: int
    roll: int
    centre: Vector

    def rotation(self) -> Matrix:
        """Return the rotation matrix times `TURN`: its columns are the head's axes."""
        a, b, c = self._exact()
        return _once(a), _once(b), _once(c)

    def text(self) -> str:
        """Write ``frame_NNNNN_pose.txt``: three rows of the rotation, then the centre in mm."""
        rows = [" ".join(_millionths(value) for value in row) for row in self._exact()]
        centre = " ".join(_thousandths(value) for value in self.centre)
        return "".join(f"{row} \n" for row in rows) + f"\n{centre} \n"

    def _exact(self) -> Matrix:
        """Return roll x yaw x pitch, times `TURN` three times."""
        c, s = cosine(self.roll), sine(self.roll)
        cy, sy = cosine(self.yaw), sine(self.yaw)
        cx, sx = cosine(self.pitch), sine(self.pitch)
        return (
            (c * cy * TURN, c * sy * sx - s * cx * TURN, c * sy * cx + s * sx * TURN),
            (s * cy * TURN, s * sy * sx + c * cx * TURN, s * sy * cx - c * sx * TURN),
            (-sy * TURN * TURN, cy * sx * TURN, cy * cx * TURN),
        )


def _once(row: Vector) -> Vector:
    """Divide by `TURN` twice, rounding."""
    a, b, c = ((value + TURN**2 // 2) // TURN**2 for value in row)
    return a, b, c


def _millionths(value: int) -> str:
    """Write value / `TURN`**3 with six decimals."""
    return _decimal((value * _MILLIONTH + TURN**3 // 2) // TURN**3, 6)


def _thousandths(value: int) -> str:
    return _decimal(value, 3)


def _decimal(value: int, places: int) -> str:
    whole, part = divmod(abs(value), 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{places}d}"
