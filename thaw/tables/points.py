"""Where the points on each image are: in a CSV, or from a head's pose and the camera."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.core.errors import UserError
from thaw.params.base import plural, some_of
from thaw.params.split import CsvPoints, PosePoint
from thaw.tables.csv_items import LINE, label_column

Floats = NDArray[np.float64]
MEND = "Correct the file or remove its images."
POSE_HEADER = 3  # rows of the rotation, before the centre


def points_of(items: pd.DataFrame, rule: CsvPoints | PosePoint, folder: Path) -> pd.DataFrame:
    """Return the items with a column ``target``, each once.

    Args:
        items: a row per image; for a CSV a row per row.
        rule: the recipe's ``split.label``.
        folder: where the images are.

    Returns:
        ``target`` holds a list of x and y of each point in pixels from the top left corner of
        the upright image.

    Raises:
        UserError: a file or number is missing or makes no point; images differ in the number of
            their points.
    """
    if isinstance(rule, PosePoint):
        return items.assign(target=pose_points(items["path"].tolist(), rule, folder))
    return csv_points(items, rule)


def csv_points(items: pd.DataFrame, rule: CsvPoints) -> pd.DataFrame:
    """Collect the points of each image from its rows, in the order of the file."""
    if not len(items):
        raise UserError(f"split.label.file: {rule.file} lists no image. Is it the right file?")
    names = [label_column(name) for name in rule.columns]
    table = items[names].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    odd = items[~np.isfinite(table).all(1)]
    if len(odd):
        raise UserError(
            f"split.label.file: {rule.file}, line {odd[LINE].iloc[0]}: {', '.join(rule.columns)} "
            f"must be numbers ({len(odd)} such rows). Correct or remove them."
        )
    paths = items["path"].to_numpy()
    first = ~items["path"].duplicated().to_numpy()
    starts = np.flatnonzero(first)
    targets = [part.ravel().tolist() for part in np.split(table, starts[1:])]
    usual = max(set(map(len, targets)), key=[len(t) for t in targets].count)
    if few := [p for p, t in zip(paths[first], targets, strict=True) if len(t) != usual]:
        raise UserError(
            f"split.label.file: {rule.file}: {len(few)} images have not {usual // 2} points as "
            f"the others: {some_of(few)}. Give every image the same points, in the same order."
        )
    return items[first].reset_index(drop=True).assign(target=targets)


def pose_points(paths: Sequence[str], rule: PosePoint, folder: Path) -> list[list[float]]:
    """Project each head's centre by the calibration in the image's own folder.

    Args:
        paths: relative to `folder`.
        rule: names of the files.
        folder: where the images are.

    Raises:
        UserError: a pose or calibration that is missing or cannot be used.
    """
    if odd := [path for path in paths if not path.endswith(rule.image)]:
        raise UserError(
            f"split.label.image: {len(odd)} of {len(paths)} images do not end in '{rule.image}', "
            f"so their pose cannot be named: {some_of(odd)}. Correct it or remove the images."
        )
    cameras: dict[PurePosixPath, Floats] = {}
    points = []
    for path in paths:
        parent = PurePosixPath(path).parent
        if parent not in cameras:
            cameras[parent] = read_camera(folder / parent / rule.calibration)
        centre = read_centre(folder / (path.removesuffix(rule.image) + rule.pose))
        points.append(project(cameras[parent], centre))
    return points


def project(camera: Floats, point: Floats) -> list[float]:
    """Project a point by a pinhole camera.

    Args:
        camera: float [3, 3], focal lengths and principal point in pixels.
        point: float [3], X, Y, Z in any unit, Z > 0.

    Returns:
        x and y in pixels.
    """
    x, y, z = point
    return [
        float(x * camera[0, 0] / z + camera[0, 2]),
        float(y * camera[1, 1] / z + camera[1, 2]),
    ]


def read_camera(file: Path) -> Floats:
    """Read the camera's matrix, float [3, 3], the first three rows of a calibration.

    Raises:
        UserError: there is no such file, or its first rows are no such matrix.
    """
    rows = [row for _, row in _read_rows(file, "split.label.calibration")[:3]]
    if [len(row) for row in rows] != [3, 3, 3]:
        raise UserError(
            f"{file}: the first three rows must be a matrix of 3 x 3 numbers. Correct the file."
        )
    camera = np.array(rows)
    if not (np.isfinite(camera).all() and camera[0, 0] > 0 and camera[1, 1] > 0):
        raise UserError(f"{file}: focal lengths must be above 0, in pixels. Correct the file.")
    return camera


def read_centre(file: Path) -> Floats:
    """Read a head's centre X, Y, Z, float [3] in millimetres, after three rows of rotation.

    Raises:
        UserError: there is no such file, too few numbers, or a centre not before the camera.
    """
    rows = _read_rows(file, "split.label.pose")
    if len(rows) <= POSE_HEADER:
        raise UserError(
            f"{file}: the centre X Y Z is missing: {POSE_HEADER} rows of rotation and then three "
            f"numbers are expected, {plural(len(rows), 'row')} are there. {MEND}"
        )
    for line, row in rows[: POSE_HEADER + 1]:
        if len(row) != 3:
            raise UserError(f"{file}, line {line}: {len(row)} numbers where 3 are expected. {MEND}")
    line, centre = rows[POSE_HEADER]
    if not np.isfinite(centre).all() or centre[2] <= 0:
        raise UserError(
            f"{file}, line {line}: the centre {centre} is not before the camera: Z must be above "
            f"0. {MEND}"
        )
    return np.array(centre)


def _read_rows(file: Path, key: str) -> list[tuple[int, list[float]]]:
    """Read the rows of numbers in a text file, each with its line; blank lines are left out."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        problem = "does not exist" if isinstance(error, FileNotFoundError) else "is not text"
        raise UserError(f"{key}: {file} {problem}. Restore it or remove its images.") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            raise UserError(
                f"{file}, line {number}: not numbers: {line.strip()[:60]!r}. {MEND}"
            ) from None
        rows += [(number, row)] if row else []
    return rows
