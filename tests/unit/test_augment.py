"""Augmentation: each effect alone on drawn pictures, and all of them as one matrix."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from thaw.core.randomness import generator
from thaw.images import Decoded
from thaw.pack import pack_in_memory
from thaw.params.training.augment import Augment
from thaw.training.augment import (
    DRAWS,
    View,
    crops,
    flips,
    lightings,
    mirror_,
    plain_view,
    random_view,
    render,
    rotations,
    scale_and_shift,
    warp_matrices,
    warps,
    window_scale,
    zooms,
)
from thaw.training.batches import Images
from thaw.training.body import IMAGENET_MEAN, IMAGENET_STD, channel_statistics

pytestmark = pytest.mark.usefixtures("one_thread")

ROUNDING = 1e-5  # of pixels in [0, 1]: float32 coordinates are exact to a thousandth of a pixel
NOTHING = {
    "flip": False,
    "rotate": 0.0,
    "zoom": 1.0,
    "warp": 0.0,
    "lighting": 0.0,
    "min_scale": 1.0,
}


def see(image, matrix, output, lighting=None, mean=(0.0,) * 3, std=(1.0,) * 3) -> Tensor:
    """Render one image, uint8 [h, w, 3], through one matrix as float [3, *output]."""
    canvas = torch.as_tensor(image)[None]
    view = View(matrix[None], None if lighting is None else torch.tensor([lighting]))
    return render(canvas, torch.tensor([canvas.shape[1:3]]), view, output, mean, std)[0]


def pixels(image) -> Tensor:
    """Give an image, uint8 [h, w, 3], as float [3, h, w] in [0, 1]."""
    return torch.as_tensor(image).permute(2, 0, 1) / 255


def drawn(**values: float) -> dict[str, Tensor]:
    """Draws of one image, 0.5 where nothing is said and so that every effect happens."""
    draws = {name: 0.0 if name.endswith("_if") else 0.5 for name in DRAWS}
    return {name: torch.tensor([value]) for name, value in (draws | values).items()}


def moved(matrix: Tensor, points: Tensor) -> Tensor:
    seen = torch.cat([points, torch.ones_like(points[..., :1])], -1) @ matrix.mT
    return seen[..., :2] / seen[..., 2:]


def close(a: Tensor, b: Tensor, tolerance: float = ROUNDING) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance)


CORNERS = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
LEFT_TOP, RIGHT_TOP, LEFT_BOTTOM, RIGHT_BOTTOM = CORNERS


def test_nothing_changes_without_effects(picture):
    image = picture(24, 32, 1)
    augment = Augment(image_side=[24, 32], **NOTHING)
    view = random_view(torch.tensor([[24, 32]]), augment, generator(1))
    assert view.lighting is None
    assert close(see(image, view.matrices[0], (24, 32)), pixels(image))


def test_rendered_images_are_normalised_float32_in_channels_last(picture):
    image = picture(24, 24, 1)
    plain = see(image, torch.eye(3), (24, 24))
    view = View(torch.eye(3)[None], None)
    canvas, shape = torch.as_tensor(image)[None], torch.tensor([[24, 24]])
    normalised = render(canvas, shape, view, (24, 24), IMAGENET_MEAN, IMAGENET_STD)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    assert close(normalised[0], (plain - mean) / std, 1e-4)
    assert normalised.dtype == torch.float32
    assert normalised.is_contiguous(memory_format=torch.channels_last)


def test_flip_mirrors_half_of_the_images_exactly(picture):
    image = picture(24, 32, 2)
    augment = Augment(image_side=[24, 32], **NOTHING | {"flip": True})
    flipped = see(image, flips(drawn(flip=0.49), augment)[0], (24, 32))
    left_alone = see(image, flips(drawn(flip=0.5), augment)[0], (24, 32))
    assert close(flipped, pixels(image).flip(2))
    assert close(left_alone, pixels(image))


def test_vertical_flip_mirrors_top_to_bottom(picture):
    image = picture(24, 32, 2)
    augment = Augment(image_side=[24, 32], **NOTHING, flip_vertical=True)
    draw = drawn(flip=0.1, flip_vertical=0.1)
    assert close(see(image, flips(draw, augment)[0], (24, 32)), pixels(image).flip(1))


def test_a_quarter_turn_takes_corners_to_corners_and_turns_pixels(picture):
    image = picture(24, 24, 3)
    augment = Augment(image_side=24, **NOTHING | {"rotate": 90.0})
    matrix = rotations(drawn(rotate=1.0), augment)[0]
    seen_at_corners = moved(matrix, CORNERS)
    expected = torch.stack([LEFT_BOTTOM, LEFT_TOP, RIGHT_BOTTOM, RIGHT_TOP])
    assert close(seen_at_corners, expected, 1e-6)
    assert close(see(image, matrix, (24, 24)), pixels(image).rot90(-1, (1, 2)), 1e-4)


def test_rotation_does_not_shear_oblong_images():
    augment = Augment(image_side=[30, 60], **NOTHING | {"rotate": 40.0})
    matrix = rotations(drawn(rotate=1.0), augment)[0]
    to_pixels = torch.diag(torch.tensor([30.0, 15.0, 1.0]))
    turned = (to_pixels @ matrix @ to_pixels.inverse())[:2, :2]
    assert close(turned @ turned.T, torch.eye(2), 1e-6)
    assert turned[0, 0].item() == pytest.approx(math.cos(math.radians(40)), abs=1e-6)


@pytest.mark.parametrize("effect", [rotations, zooms])
def test_affine_effects_happen_as_often_as_p_affine_says(effect):
    augment = Augment(image_side=24, rotate=10.0, zoom=1.5, p_affine=0.75)
    name = {rotations: "rotate", zooms: "zoom"}[effect]
    happens = effect(drawn(**{name: 0.9, f"{name}_if": 0.74}), augment)[0]
    does_not = effect(drawn(**{name: 0.9, f"{name}_if": 0.75}), augment)[0]
    assert not close(happens, torch.eye(3), 0.01)
    assert torch.equal(does_not, torch.eye(3))


def test_zoom_magnifies_around_a_point_that_stays(picture):
    image = picture(32, 32, 4)
    augment = Augment(image_side=32, **NOTHING | {"zoom": 2.0})
    for x, y in ((0.0, 0.0), (0.5, 0.5), (0.25, 1.0)):
        matrix = zooms(drawn(zoom=1.0, zoom_x=x, zoom_y=y), augment)[0]
        fixed = torch.tensor([[2 * x - 1, 2 * y - 1]])
        assert close(moved(matrix, fixed), fixed, 1e-6)
        sides = moved(matrix, CORNERS)
        assert close(sides[3] - sides[0], torch.ones(2), 1e-6)  # half of an edge of 2
    center = see(image, zooms(drawn(zoom=1.0), augment)[0], (16, 16))
    assert close(center, pixels(image)[:, 8:24, 8:24])


def test_zoom_is_uniform_up_to_its_largest_factor():
    augment = Augment(image_side=32, **NOTHING | {"zoom": 1.2})
    factors = [1 / zooms(drawn(zoom=u), augment)[0, 0, 0].item() for u in (0.0, 0.5, 1.0)]
    assert factors == pytest.approx([1.0, 1.1, 1.2])


def test_warp_of_zero_changes_nothing():
    zero = torch.zeros(1)
    assert torch.equal(warp_matrices(zero, zero)[0], torch.eye(3))


@pytest.mark.parametrize(("x", "y"), [(0.2, 0.0), (0.0, -0.3), (0.1, 0.25)])
def test_warp_tilts_as_asked_and_keeps_lines_straight(x, y):
    matrix = warp_matrices(torch.tensor([x]), torch.tensor([y]))[0]
    moved_corners = torch.tensor(
        [[-1 - y, -1 - x], [1 + y, -1 + x], [-1 + y, 1 + x], [1 - y, 1 - x]]
    )
    assert close(moved(matrix, moved_corners), CORNERS, 1e-5)
    line = moved(matrix, torch.stack([torch.linspace(-1, 1, 7), torch.full((7,), 0.3)], 1))
    along = line - line[0]
    assert (along[1:, 0] * along[-1, 1] - along[1:, 1] * along[-1, 0]).abs().max() < 1e-5


def test_warp_draws_both_directions_by_themselves():
    augment = Augment(image_side=32, **NOTHING | {"warp": 0.2}, p_affine=0.5)
    only_x = warps(drawn(warp_x=1.0, warp_y=1.0, warp_y_if=0.5), augment)
    assert torch.equal(only_x, warp_matrices(torch.tensor([0.2]), torch.tensor([0.0])))
    only_y = warps(drawn(warp_x=1.0, warp_y=0.0, warp_x_if=0.5), augment)
    assert torch.equal(only_y, warp_matrices(torch.tensor([0.0]), torch.tensor([-0.2])))


def test_random_crops_keep_their_share_of_the_area_and_stay_inside():
    augment = Augment(image_side=32, min_scale=0.4, ratio=[0.8, 1.25])
    uniform = torch.rand(500, len(DRAWS), generator=generator(1))
    matrices = crops(dict(zip(DRAWS, uniform.unbind(1), strict=True)), augment)
    width, height = matrices[:, 0, 0], matrices[:, 1, 1]
    area, ratio = width * height, width / height
    assert 0.4 - 1e-6 <= area.min() < 0.42
    assert 0.95 < area.max() <= 1
    assert 0.8 - 1e-6 <= ratio.min() < 0.83
    assert 1.2 < ratio.max() <= 1.25 + 1e-6
    assert ratio.log().mean().abs() < 0.02  # log-uniform: as often wide as tall
    assert (matrices[:, :2, 2].abs() + torch.stack([width, height], 1)).max() <= 1 + 1e-6
    assert matrices[:, 0, 2].max() > 0.1
    assert matrices[:, 0, 2].min() < -0.1


def test_lighting_draws_stay_within_fastais_bounds():
    augment = Augment(image_side=32, lighting=0.2, p_lighting=0.75)
    low = lightings(drawn(brightness=0.0, contrast=0.0), augment)[0].tolist()
    high = lightings(drawn(brightness=1.0, contrast=1.0), augment)[0].tolist()
    assert low == pytest.approx([math.log(0.4 / 0.6), 0.8], rel=1e-5)
    assert high == pytest.approx([math.log(0.6 / 0.4), 1.25], rel=1e-5)
    middle = lightings(drawn(), augment)[0].tolist()
    assert middle == pytest.approx([0.0, 1.0], abs=1e-6)
    unlit = drawn(brightness=1.0, contrast=1.0, brightness_if=0.75, contrast_if=0.75)
    assert lightings(unlit, augment)[0].tolist() == [0.0, 1.0]


def test_lighting_keeps_black_and_white_finite(picture):
    image = torch.zeros(8, 8, 3, dtype=torch.uint8)
    image[:4] = 255
    lit = see(image, torch.eye(3), (8, 8), lighting=[0.4, 1.25])
    assert torch.isfinite(lit).all()
    assert close(lit, pixels(image), 1e-4)
    brighter = see(picture(8, 8, 1), torch.eye(3), (8, 8), lighting=[0.4, 1.0])
    assert brighter.mean() > pixels(picture(8, 8, 1)).mean() + 0.02


ALL_EFFECTS = {"rotate": 15.0, "zoom": 1.2, "warp": 0.2, "min_scale": 0.5, "flip_vertical": True}


def test_the_one_matrix_moves_points_as_the_effects_do_one_after_the_other():
    shapes = torch.tensor([[40, 56], [64, 33], [48, 48]]).repeat(10, 1)
    augment = Augment(image_side=[28, 36], ratio=[0.8, 1.2], **ALL_EFFECTS)
    view = random_view(shapes, augment, generator(7))
    uniform = torch.rand(len(shapes), len(DRAWS), generator=generator(7))
    draw = dict(zip(DRAWS, uniform.unbind(1), strict=True))
    scale = window_scale(shapes, augment)
    place = torch.stack([draw["crop_x"], draw["crop_y"]], 1) * 2 - 1
    window = scale_and_shift(scale, place * (1 - scale))

    points = torch.rand(len(shapes), 50, 2, generator=generator(8)) * 2 - 1
    one_by_one = points
    for effect in (crops, zooms, rotations, flips, warps):
        one_by_one = moved(effect(draw, augment), one_by_one)
    one_by_one = moved(window, one_by_one)

    assert close(moved(view.matrices, points), one_by_one, 1e-4)


def test_one_interpolation_shows_what_many_show_but_sharper():
    """A smooth picture rendered effect by effect, and at once."""
    y, x = torch.meshgrid(torch.linspace(0, 3, 96), torch.linspace(0, 3, 96), indexing="ij")
    waves = torch.stack([torch.sin(x + y), torch.cos(x * y), torch.sin(x - 2 * y)], 2)
    image = ((waves + 1) * 127).to(torch.uint8)
    augment = Augment(image_side=96, **NOTHING | {"warp": 0.1, "rotate": 8.0, "zoom": 1.5})
    draw = drawn(warp_x=0.9, warp_y=0.2, rotate=0.1, zoom=1.0)
    matrices = [effect(draw, augment)[0] for effect in (warps, rotations, zooms)]
    at_once = see(image, matrices[0] @ matrices[1] @ matrices[2], (96, 96))
    step = image
    for matrix in matrices:
        rendered = see(step, matrix, (96, 96))
        step = (rendered.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8)
    inside = (slice(None), slice(16, 80), slice(16, 80))  # no mirrored edges
    assert close(at_once[inside], rendered[inside], 0.02)
    assert not close(see(image, matrices[2], (96, 96))[inside], rendered[inside], 0.05)


def test_an_edge_mirrors_what_is_inside(picture):
    image = picture(20, 24, 5)
    beside = scale_and_shift(torch.ones(1, 2), torch.tensor([[2.0, 0.0]]))[0]
    above = scale_and_shift(torch.ones(1, 2), torch.tensor([[0.0, -2.0]]))[0]
    assert close(see(image, beside, (20, 24)), pixels(image).flip(2), 1e-4)
    assert close(see(image, above, (20, 24)), pixels(image).flip(1), 1e-4)


def test_mirror_folds_positions_at_both_ends():
    folded = 10 - mirror_(
        torch.tensor([-3.0, -0.5, 0.0, 4.0, 10.0, 11.0, 19.5]), torch.tensor(10.0)
    )
    assert folded.tolist() == [3.0, 0.5, 0.0, 4.0, 10.0, 9.0, 0.5]


def test_far_outside_still_shows_the_image(picture):
    image = picture(20, 24, 5)
    far = scale_and_shift(torch.full((1, 2), 9.0), torch.full((1, 2), 5.0))[0]
    seen = see(image, far, (20, 24))
    assert torch.isfinite(seen).all()
    inside = pixels(image)
    assert seen.amin() >= inside.amin() - ROUNDING
    assert seen.amax() <= inside.amax() + ROUNDING


@pytest.mark.parametrize("shape", [(40, 56), (56, 40)])
def test_validation_sees_the_centre_as_torchs_own_interpolation_shows_it(picture, shape):
    image = picture(*shape, 6)
    augment = Augment(image_side=20)
    view = plain_view(torch.tensor([shape]), augment)
    top, left = (shape[0] - 40) // 2, (shape[1] - 40) // 2
    center = pixels(image)[None, :, top : top + 40, left : left + 40]
    wanted = F.interpolate(center, size=(20, 20), mode="bilinear", align_corners=False)
    assert view.lighting is None
    assert close(see(image, view.matrices[0], (20, 20)), wanted[0])


def test_validation_sees_the_largest_window_of_an_oblong_shape(picture):
    image = picture(60, 50, 6)
    augment = Augment(image_side=[20, 25])
    view = plain_view(torch.tensor([[60, 50]]), augment)
    center = pixels(image)[None, :, 10:50]
    wanted = F.interpolate(center, size=(20, 25), mode="bilinear", align_corners=False)
    assert close(see(image, view.matrices[0], (20, 25)), wanted[0])


@pytest.mark.parametrize("side", [20, 80])
def test_squish_shows_all_of_an_image_without_its_aspect_ratio(picture, side):
    image = picture(40, 60, 7)
    view = plain_view(torch.tensor([[40, 60]]), Augment(image_side=side, resize="squish"))
    wanted = F.interpolate(
        pixels(image)[None], size=(side, side), mode="bilinear", align_corners=False
    )
    assert close(see(image, view.matrices[0], (side, side)), wanted[0])


def test_a_random_window_covers_an_oblong_image_from_end_to_end():
    shapes = torch.tensor([[32, 64]]).repeat(300, 1)
    view = random_view(shapes, Augment(image_side=32, **NOTHING), generator(3))
    edges = moved(view.matrices, CORNERS.expand(300, 4, 2))
    assert edges.abs().max() <= 1 + 1e-6
    assert edges[..., 0].amin() < -0.98
    assert edges[:, 0, 0].max() > -0.02  # the window's left edge reaches the middle


SWITCHED_OFF = {
    "rotate": {"rotate": 0.0},
    "zoom": {"zoom": 1.0},
    "warp": {"warp": 0.0},
    "flip": {"flip": False},
    "lighting": {"lighting": 0.0},
    "min_scale": {"min_scale": 1.0},
    "ratio": {"ratio": [1.0, 1.0]},
}


@pytest.mark.parametrize("effect", SWITCHED_OFF)
def test_switching_an_effect_off_leaves_the_draws_of_the_others(effect):
    """Where the effect would not have happened anyway, nothing changes at all."""
    settings = {"image_side": 32, "ratio": [0.8, 1.25], "p_affine": 0.5, "min_scale": 0.5}
    shapes = torch.tensor([[40, 56]]).repeat(64, 1)
    full = random_view(shapes, Augment(**settings), generator(5))
    less = random_view(shapes, Augment(**settings | SWITCHED_OFF[effect]), generator(5))
    uniform = torch.rand(64, len(DRAWS), generator=generator(5))
    draw = dict(zip(DRAWS, uniform.unbind(1), strict=True))
    if effect == "lighting":
        assert less.lighting is None
        assert torch.equal(full.matrices, less.matrices)
        return
    assert torch.equal(full.lighting, less.lighting)
    same = (full.matrices == less.matrices).flatten(1).all(1)
    if effect in ("rotate", "zoom"):
        assert torch.equal(same, draw[f"{effect}_if"] >= 0.5)
    elif effect == "warp":
        assert torch.equal(same, (draw["warp_x_if"] >= 0.5) & (draw["warp_y_if"] >= 0.5))
    elif effect == "flip":
        assert torch.equal(same, draw["flip"] >= 0.5)
    else:
        # Crops always happen; undone, what is left of both is the same matrix.
        rest = [
            view.matrices @ crops(draw, Augment(**settings | changed)).inverse()
            for view, changed in ((full, {}), (less, SWITCHED_OFF[effect]))
        ]
        assert not same.any()
        assert close(*rest, 1e-5)


def test_draws_depend_on_seed_and_purpose_and_on_nothing_else():
    shapes = torch.tensor([[40, 56]]).repeat(5, 1)
    augment = Augment(image_side=32)
    torch.manual_seed(1)
    first = random_view(shapes, augment, generator(1, "fit_frozen", 0, "augment"))
    torch.manual_seed(2)
    again = random_view(shapes, augment, generator(1, "fit_frozen", 0, "augment"))
    other = random_view(shapes, augment, generator(1, "fit_frozen", 1, "augment"))
    assert torch.equal(first.matrices, again.matrices)
    assert torch.equal(first.lighting, again.lighting)
    assert not torch.equal(first.matrices, other.matrices)


def test_what_is_beside_an_image_on_its_canvas_is_never_seen(picture):
    shape = (24, 30)
    image = torch.as_tensor(picture(*shape, 8))
    shapes = torch.tensor([shape]).repeat(20, 1)
    view = random_view(shapes, Augment(image_side=24, **ALL_EFFECTS), generator(9))
    alone = image.expand(20, -1, -1, -1)
    wide = torch.full((20, 40, 47, 3), 255, dtype=torch.uint8)
    wide[:, :24, :30] = image
    dark = torch.zeros_like(wide)
    dark[:, :24, :30] = image
    results = [
        render(canvas, shapes, view, (24, 24), (0.0,) * 3, (1.0,) * 3)
        for canvas in (alone, wide, dark)
    ]
    assert close(results[0], results[1], 1e-4)
    assert close(results[1], results[2], 1e-4)


def test_an_image_looks_the_same_alone_and_in_a_batch(image_batches):
    images = image_batches().training
    view = images.random(1, "test")
    together = images.render(torch.arange(7), view)
    for position in torch.arange(7).split(1):
        alone = images.render(position, view)
        assert close(together[position], alone, 1e-3)  # of normalised pixels, up to 2.6


def test_a_batch_shows_the_pictures_at_its_positions(image_batches, packed):
    images = image_batches().training
    seen = images.render(torch.tensor([5, 2]), images.plain())
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    for row, found in zip((5, 2), seen, strict=True):
        image = packed.image(row)
        view = plain_view(torch.tensor([image.shape[:2]]), images.augment)
        wanted = see(image.copy(), view.matrices[0], (32, 32))
        assert close(found * std + mean, wanted, 1e-5)


class Counted(TorchDispatchMode):
    """Counts the operations of torch that resample images."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if any(part in name for part in ("grid_sampler", "upsample", "interpolate", "pool")):
            self.names.append(name)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_batch_is_interpolated_exactly_once(image_batches, split):
    batches = image_batches(batch_size=7, **ALL_EFFECTS)
    with Counted() as counted:
        ((images, _),) = batches.train(0) if split == "train" else batches.valid()
    assert images.shape == (7 if split == "train" else 2, 3, 32, 32)
    assert counted.names == ["grid_sampler_2d"]


@pytest.mark.parametrize("resident", [False, True])
def test_all_channels_go_through_one_matrix_and_one_light(picture, resident):
    """Five channels of which two are copies come out as the three do, and the copies as copies."""
    augment = Augment(image_side=24, warp=0.3)
    shapes = [(40, 56), (48, 36)]
    colours = [picture(*shape, number) for number, shape in enumerate(shapes)]
    many = [np.concatenate([image, image[:, :, 1:]], 2) for image in colours]
    positions = torch.tensor([1, 0])
    seen = {}
    for channels, images in ((3, colours), (5, many)):
        packed = pack_in_memory([Decoded(image, *image.shape[:2]) for image in images])
        assert packed.channels == channels
        given = Images(
            packed, torch.arange(2), torch.zeros(2), augment, torch.device("cpu"),
            resident=torch.tensor(packed.pixels) if resident else None,
        )  # fmt: skip
        assert given.canvas(positions).shape == (2, 48, 56, channels)
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in channel_statistics(channels))
        view = given.random(7, "augment")
        seen[channels] = given.render(positions, view) * std + mean
    assert torch.allclose(seen[5][:, :3], seen[3], atol=1e-6)
    assert torch.allclose(seen[5][:, 3:], seen[3][:, 1:], atol=1e-6)
    assert not torch.allclose(seen[3][:, 0], seen[3][:, 1], atol=1e-2)
