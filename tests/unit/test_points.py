"""Points: projected by the camera, read from a CSV, and moved by the image's own matrix."""

from pathlib import Path

import numpy as np
import pytest
import torch

from thaw.core.errors import UserError
from thaw.core.randomness import generator
from thaw.params.split import CsvPoints, PosePoint
from thaw.params.training.augment import Augment
from thaw.tables.csv_items import read_csv_items
from thaw.tables.points import points_of, pose_points, project, read_camera
from thaw.training.augment import move_points, points_in_image, random_view, render

# The published set's calibration, of which the first three rows are the matrix.
CAMERA = """517.679 0 320
0 517.679 240.5
0 0 1

0 0 0 0

0.999947 0.00432361 0.00929419
-0.00446314 0.999877 0.0150443
-0.009228 -0.015085 0.999844

-24.0198 5.8896 -13.2308

640 480
"""
POSE = """0.97 0.05 0.2
-0.04 0.99 -0.06
-0.2 0.05 0.97

187.332 40.3892 893.135
"""


def a_frame(folder: Path, pose: str = POSE, camera: str = CAMERA, person: str = "09") -> list[str]:
    (folder / person).mkdir(exist_ok=True)
    (folder / person / "rgb.cal").write_text(camera)
    (folder / person / "frame_00667_pose.txt").write_text(pose)
    return [f"{person}/frame_00667_rgb.jpg"]


def test_the_centre_is_projected_by_the_calibration(tmp_path: Path) -> None:
    found = pose_points(a_frame(tmp_path), PosePoint(rule="pose"), tmp_path)
    assert found == [pytest.approx([428.5814, 263.9104], abs=1e-4)]


def test_each_folder_has_its_own_camera(tmp_path: Path) -> None:
    paths = a_frame(tmp_path) + a_frame(tmp_path, camera=CAMERA.replace("320", "300"), person="10")
    one, other = pose_points(paths, PosePoint(rule="pose"), tmp_path)
    assert one[0] - other[0] == pytest.approx(20)
    assert one[1] == other[1]


def test_a_point_on_the_axis_is_the_principal_point(tmp_path: Path) -> None:
    camera = read_camera(tmp_path / a_frame(tmp_path)[0].replace("frame_00667_rgb.jpg", "rgb.cal"))
    assert project(camera, np.array([0.0, 0.0, 700.0])) == [320, 240.5]


@pytest.mark.parametrize(
    ("pose", "camera", "message"),
    [
        (
            "1 0 0\n0 1 0\n0 0 1\n",
            CAMERA,
            r"pose\.txt: the centre X Y Z is missing: .*3 rows are there",
        ),
        (
            "1 0 0\n0 1 0\n0 0 1\n1 2\n",
            CAMERA,
            r"pose\.txt, line 4: 2 numbers where 3 are expected",
        ),
        (POSE.replace("893.135", "0"), CAMERA, "not before the camera: Z must be above 0"),
        (POSE.replace("893.135", "nan"), CAMERA, "not before the camera"),
        ("1 0\n0 1 0\n0 0 1\n1 2 40\n", CAMERA, r"pose\.txt, line 1: 2 numbers where 3"),
        (POSE.replace("893.135", "far"), CAMERA, r"pose\.txt, line 5: not numbers"),
        (POSE, "517 0\n0 517\n", r"rgb\.cal: the first three rows must be a matrix"),
        (POSE, CAMERA.replace("517.679", "0"), "focal lengths must be above 0"),
    ],
)
def test_what_makes_no_point_is_refused_with_its_file(
    tmp_path: Path, pose: str, camera: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        pose_points(a_frame(tmp_path, pose, camera), PosePoint(rule="pose"), tmp_path)


def test_a_missing_pose_and_another_name_are_refused(tmp_path: Path) -> None:
    a_frame(tmp_path)
    with pytest.raises(UserError, match=r"split\.label\.pose: .*frame_1_pose\.txt does not exist"):
        pose_points(["09/frame_1_rgb.jpg"], PosePoint(rule="pose"), tmp_path)
    with pytest.raises(UserError, match=r"1 of 1 images do not end in 'rgb\.jpg'"):
        pose_points(["09/frame_1.png"], PosePoint(rule="pose"), tmp_path)


def csv_points(folder: Path, text: str, columns: list[str]) -> list[list[float]]:
    (folder / "points.csv").write_text(text, encoding="utf-8")
    rule = CsvPoints(rule="points", file="points.csv", path="file", columns=columns)
    items = read_csv_items(rule, folder, ["a.jpg", "b.jpg"])
    found = points_of(items, rule, folder)
    assert found["path"].tolist() == ["a.jpg", "b.jpg"]
    return found["target"].tolist()


def test_points_from_a_csv(tmp_path: Path) -> None:
    text = "file,x,y\nb.jpg,3,4\na.jpg,1,2.5\n"
    assert csv_points(tmp_path, text, ["x", "y"]) == [[1, 2.5], [3, 4]]


def test_several_points_from_columns_or_rows(tmp_path: Path) -> None:
    columns = "file,x,y,u,v\nb.jpg,3,4,5,6\na.jpg,1,2,7,8\n"
    rows = "file,x,y\nb.jpg,3,4\na.jpg,1,2\nb.jpg,5,6\na.jpg,7,8\n"
    wanted = [[1, 2, 7, 8], [3, 4, 5, 6]]
    assert csv_points(tmp_path, columns, ["x", "y", "u", "v"]) == wanted
    assert csv_points(tmp_path, rows, ["x", "y"]) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x,y\na.jpg,1,2\nb.jpg,,4\n", r"points\.csv, line 3: x, y must be numbers"),
        ("file,x,y\na.jpg,1,2\nb.jpg,inf,4\n", "line 3"),
        ("file,x,y\na.jpg,1,2\nb.jpg,3,4\nb.jpg,3,4\n", "1 images have not 1 points"),
        ("file,x,z\na.jpg,1,2\nb.jpg,3,4\n", r"columns: points\.csv has no column 'y'"),
    ],
)
def test_csv_points_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        csv_points(tmp_path, text, ["x", "y"])


EFFECTS = {
    "flip": {"flip": True},
    "flip_vertical": {"flip_vertical": True},
    "rotate": {"rotate": 30.0},
    "zoom": {"zoom": 1.5},
    "warp": {"warp": 0.3},
    "min_scale": {"min_scale": 0.5},
    "squish": {"resize": "squish"},
    "all": {"flip": True, "flip_vertical": True, "rotate": 20.0, "zoom": 1.2, "warp": 0.2,
            "min_scale": 0.6, "lighting": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_dot_is_found_where_its_point_says(effect: str, one_thread: None) -> None:
    """Dots drawn on images are seen where the points have moved to, within half a pixel."""
    off = {"flip": False, "rotate": 0.0, "zoom": 1.0, "warp": 0.0, "lighting": 0.0,
           "min_scale": 1.0, "p_affine": 1.0}  # fmt: skip
    augment = Augment(image_side=[96, 128], **(off | EFFECTS[effect]))
    count, height, width = 24, 120, 150
    random = np.random.default_rng(7)
    x, y = random.uniform(45, width - 45, count), random.uniform(35, height - 35, count)
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    across = (columns[None, None] - x[:, None, None]) ** 2
    down = (rows[None, :, None] - y[:, None, None]) ** 2
    dots = np.exp(-(across + down) / 12)
    canvas = torch.from_numpy((dots[..., None].repeat(3, 3) * 255).round().astype(np.uint8))
    shapes = torch.tensor([[height, width]] * count)
    view = random_view(shapes, augment, generator(3, effect))
    points = torch.from_numpy(np.stack([x / width * 2 - 1, y / height * 2 - 1], 1)).float()
    moved = move_points(points, view)
    seen = render(canvas, shapes, view, augment.height_width, (0.0,) * 3, (1.0,) * 3)[:, 0]
    inside = (moved.abs() < 0.85).all(1)
    assert inside.sum() >= count // 3
    mass = seen / seen.sum((1, 2), keepdim=True)
    found_x = (mass.sum(1) * (torch.arange(128) + 0.5)).sum(1)
    found_y = (mass.sum(2) * (torch.arange(96) + 0.5)).sum(1)
    expected_x, expected_y = (moved[:, 0] + 1) * 64, (moved[:, 1] + 1) * 48
    assert (found_x - expected_x)[inside].abs().max() < 0.5
    assert (found_y - expected_y)[inside].abs().max() < 0.5
    torch.testing.assert_close(points_in_image(moved, view), points, atol=1e-4, rtol=0)
    if effect not in ("squish",):
        assert (moved - points).abs().max() > 0.05


def test_several_points_move_together(one_thread: None) -> None:
    augment = Augment(image_side=64, flip=True)
    view = random_view(torch.tensor([[80, 90]] * 6), augment, generator(1))
    points = torch.rand(6, 6, generator=torch.Generator().manual_seed(2)) * 2 - 1
    apart = [move_points(points[:, i : i + 2], view) for i in (0, 2, 4)]
    torch.testing.assert_close(move_points(points, view), torch.cat(apart, 1))
