"""Augmentation of whole batches: one matrix per image, one interpolation, then lighting.

Coordinates are (x, y) in [-1, 1] from edge to edge of an image. A matrix maps output
coordinates to coordinates of the packed image, so it says where each output pixel looks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from thaw.params.training.augment import Augment

# Keeps the logit of black and white finite.
LIGHT_EPSILON = 1e-7

# Columns of the uniform numbers that an augmented view of one image consumes.
DRAWS = (
    "crop_x", "crop_y", "area", "ratio", "area_x", "area_y", "flip", "flip_vertical",
    "rotate", "rotate_if", "zoom", "zoom_x", "zoom_y", "zoom_if",
    "warp_x", "warp_x_if", "warp_y", "warp_y_if",
    "brightness", "brightness_if", "contrast", "contrast_if",
)  # fmt: skip


@dataclass(frozen=True)
class View:
    """How a set of images is to be looked at.

    Attributes:
        matrices: float [n, 3, 3], output to image coordinates.
        lighting: float [n, 2], an offset and then a factor for the pixels' logits; None leaves
            the light alone.
    """

    matrices: Tensor
    lighting: Tensor | None

    def rows(self, rows: Tensor) -> "View":
        """Return the view of some of the images."""
        lighting = None if self.lighting is None else self.lighting[rows]
        return View(self.matrices[rows], lighting)


def move_points(points: Tensor, view: View) -> Tensor:
    """Return where points of the images are in the output.

    Args:
        points: float [n, 2 * p], x and y of each point in the image's [-1, 1].
        view: of these n images.

    Returns:
        float [n, 2 * p] in the output's [-1, 1]; beyond it where a point has left the frame.
    """
    placed = F.pad(points.double().view(len(points), -1, 2), (0, 1), value=1.0)
    seen = torch.linalg.solve(view.matrices.double(), placed.transpose(1, 2)).transpose(1, 2)
    image: Tensor = (seen[..., :2] / seen[..., 2:]).reshape(points.shape).float()
    return image


def out_of_frame(points: Tensor) -> int:
    """Count the points beyond the frame, of float [n, 2 * p] in its [-1, 1]."""
    return int((points.reshape(-1, 2).abs() > 1).any(1).sum())


def points_in_image(points: Tensor, view: View) -> Tensor:
    """Return where points of the output are in the images; the inverse of `move_points`.

    Args:
        points: float [n, 2 * p], x and y of each point in the output's [-1, 1].
        view: of these n images.

    Returns:
        float [n, 2 * p] in the image's [-1, 1].
    """
    placed = F.pad(points.double().view(len(points), -1, 2), (0, 1), value=1.0)
    seen = placed @ view.matrices.double().transpose(1, 2)
    image: Tensor = (seen[..., :2] / seen[..., 2:]).reshape(points.shape).float()
    return image


def plain_view(shapes: Tensor, augment: Augment) -> View:
    """Look at images as in validation: the centre, or all of it if squished.

    Args:
        shapes: int [n, 2], height and width of the packed images.
        augment: the recipe's section.
    """
    scale = window_scale(shapes, augment)
    return View(scale_and_shift(scale, torch.zeros_like(scale)), None)


def random_view(shapes: Tensor, augment: Augment, generator: torch.Generator) -> View:
    """Draw an augmented view of each image.

    The matrix is window · warp · flip · rotation · zoom · crop: fastai's steps in fastai's
    order, as one, so that an image is interpolated once.

    Args:
        shapes: int [n, 2], height and width of the packed images.
        augment: the recipe's section.
        generator: gives the same number of draws whatever is switched on, so that switching one
            effect off leaves the others as they were.
    """
    uniform = torch.rand(len(shapes), len(DRAWS), generator=generator)
    draw = dict(zip(DRAWS, uniform.unbind(1), strict=True))
    scale = window_scale(shapes, augment)
    place = torch.stack([draw["crop_x"], draw["crop_y"]], 1) * 2 - 1
    matrices = (
        scale_and_shift(scale, place * (1 - scale))
        @ warps(draw, augment)
        @ flips(draw, augment)
        @ rotations(draw, augment)
        @ zooms(draw, augment)
        @ crops(draw, augment)
    )
    return View(matrices, lightings(draw, augment))


def window_scale(shapes: Tensor, augment: Augment) -> Tensor:
    """Return the (x, y) share of each image that the largest window of the output's shape takes.

    Args:
        shapes: int [n, 2], height and width.
        augment: says whether the image is cropped or squished.

    Returns:
        float [n, 2] in (0, 1].
    """
    if augment.resize == "squish":
        return torch.ones(len(shapes), 2)
    height, width = augment.height_width
    heights, widths = shapes.float().unbind(1)
    unit = torch.minimum(heights / height, widths / width)
    return torch.stack([unit * width / widths, unit * height / heights], 1)


def scale_and_shift(scale: Tensor, shift: Tensor) -> Tensor:
    """Return matrices [n, 3, 3] that scale by (x, y) and then shift by (x, y), each [n, 2]."""
    matrices = torch.diag_embed(F.pad(scale, (0, 1), value=1.0))
    matrices[:, :2, 2] = shift
    return matrices


def crops(draw: dict[str, Tensor], augment: Augment) -> Tensor:
    """Random crop of the window: area in [min_scale, 1], aspect ratio log-uniform, any place."""
    area = augment.min_scale + draw["area"] * (1 - augment.min_scale)
    low, high = (math.log(bound) for bound in augment.ratio)
    ratio = torch.exp(low + draw["ratio"] * (high - low))
    scale = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    place = torch.stack([draw["area_x"], draw["area_y"]], 1) * 2 - 1
    return scale_and_shift(scale, place * (1 - scale))


def zooms(draw: dict[str, Tensor], augment: Augment) -> Tensor:
    """Magnify by a factor in [1, zoom] around a point anywhere in the image."""
    factor = 1 + draw["zoom"] * (augment.zoom - 1)
    factor = torch.where(draw["zoom_if"] < augment.p_affine, factor, torch.ones_like(factor))
    scale = (1 / factor).unsqueeze(1).expand(-1, 2)
    place = torch.stack([draw["zoom_x"], draw["zoom_y"]], 1) * 2 - 1
    return scale_and_shift(scale, place * (1 - scale))


def rotations(draw: dict[str, Tensor], augment: Augment) -> Tensor:
    """Rotate by an angle in [-rotate, rotate] degrees, without shear on oblong inputs."""
    height, width = augment.height_width
    degrees = (draw["rotate"] * 2 - 1) * augment.rotate
    radians = torch.where(
        draw["rotate_if"] < augment.p_affine, torch.deg2rad(degrees), torch.zeros_like(degrees)
    )
    matrices = torch.eye(3).repeat(len(radians), 1, 1)
    matrices[:, 0, 0] = matrices[:, 1, 1] = radians.cos()
    matrices[:, 0, 1] = radians.sin() * height / width
    matrices[:, 1, 0] = -radians.sin() * width / height
    return matrices


def flips(draw: dict[str, Tensor], augment: Augment) -> Tensor:
    """Mirror half of the images, left to right and top to bottom as asked for."""
    across = torch.where((draw["flip"] < 0.5) & augment.flip, -1.0, 1.0)
    down = torch.where((draw["flip_vertical"] < 0.5) & augment.flip_vertical, -1.0, 1.0)
    scale = torch.stack([across, down], 1)
    return scale_and_shift(scale, torch.zeros_like(scale))


def warps(draw: dict[str, Tensor], augment: Augment) -> Tensor:
    """Tilt the image in perspective, along x and y independently."""
    magnitudes = []
    for axis in ("warp_x", "warp_y"):
        magnitude = (draw[axis] * 2 - 1) * augment.warp
        masked = draw[f"{axis}_if"] < augment.p_affine
        magnitudes.append(torch.where(masked, magnitude, torch.zeros_like(magnitude)))
    return warp_matrices(*magnitudes)


def warp_matrices(x: Tensor, y: Tensor) -> Tensor:
    """Return the homographies [n, 3, 3] that take four moved corners back to the image's.

    Args:
        x: float [n], the horizontal magnitude; 0 leaves the corners where they are.
        y: float [n], the vertical magnitude.
    """
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    moved = torch.stack(
        [
            torch.stack([-1 - y, -1 - x], 1),
            torch.stack([-1 + y, 1 + x], 1),
            torch.stack([1 + y, -1 + x], 1),
            torch.stack([1 - y, 1 - x], 1),
        ],
        1,
    )
    return homographies(moved, corners.expand_as(moved))


def homographies(source: Tensor, target: Tensor) -> Tensor:
    """Solve for the homographies that take four points to four others.

    Args:
        source: float [n, 4, 2].
        target: float [n, 4, 2].

    Returns:
        float [n, 3, 3], bottom right 1.
    """
    sx, sy = source.double().unbind(2)
    one, zero = torch.ones_like(sx), torch.zeros_like(sx)
    tx, ty = target.double().unbind(2)
    rows_x = torch.stack([sx, sy, one, zero, zero, zero, -sx * tx, -sy * tx], 2)
    rows_y = torch.stack([zero, zero, zero, sx, sy, one, -sx * ty, -sy * ty], 2)
    solved = torch.linalg.solve(torch.cat([rows_x, rows_y], 1), torch.cat([tx, ty], 1))
    return F.pad(solved, (0, 1), value=1.0).view(-1, 3, 3).float()


def lightings(draw: dict[str, Tensor], augment: Augment) -> Tensor | None:
    """Draw a change of brightness (an offset of the logits) and of contrast (a factor)."""
    if augment.lighting == 0:
        return None
    level = 0.5 + (draw["brightness"] - 0.5) * augment.lighting
    bright = torch.where(draw["brightness_if"] < augment.p_lighting, torch.logit(level), 0.0)
    span = -math.log(1 - augment.lighting)
    factor = torch.exp((draw["contrast"] * 2 - 1) * span)
    contrast = torch.where(draw["contrast_if"] < augment.p_lighting, factor, 1.0)
    return torch.stack([bright, contrast], 1)


def render(
    canvas: Tensor,
    shapes: Tensor,
    view: View,
    output: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """Look at a batch of images through a view: one interpolation, light, normalisation.

    Args:
        canvas: uint8 [n, h, w, c], each image in the top left of its canvas, the rest unread.
        shapes: int [n, 2], height and width of each image on its canvas.
        view: matrices and lighting of these images.
        output: height and width of the result.
        mean: per channel, of pixels in [0, 1].
        std: per channel.

    Returns:
        float32 [n, c, height, width], channels last, on the canvas' device.
    """
    device = canvas.device
    grid = sampling_grid(view.matrices.to(device), shapes.to(device), canvas.shape[1:3], output)
    images = F.grid_sample(
        canvas.permute(0, 3, 1, 2).float(), grid, mode="bilinear", align_corners=False
    ).div_(255)
    if view.lighting is not None:
        images = relight_(images, view.lighting.to(device))
    shift = torch.tensor(mean, device=device).view(1, -1, 1, 1)
    scale = torch.tensor(std, device=device).view(1, -1, 1, 1)
    return images.sub_(shift).div_(scale).contiguous(memory_format=torch.channels_last)


def sampling_grid(
    matrices: Tensor, shapes: Tensor, canvas: Sequence[int], output: tuple[int, int]
) -> Tensor:
    """Return where on its canvas each output pixel looks, mirrored at the image's own edges.

    Args:
        matrices: float [n, 3, 3], output to image coordinates.
        shapes: int [n, 2], height and width of each image.
        canvas: height and width of the canvas.
        output: height and width of the output.

    Returns:
        float [n, height, width, 2] in the canvas' coordinates, laid out as planes of x and y.
    """
    height, width = output
    device = matrices.device
    x = (torch.arange(width, device=device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=device) * 2 + 1) / height - 1
    # Planes [n, 3, height, width], as sums of a row and a column each; a product of every pixel's
    # place and a matrix takes seven times as long.
    across, down, there = (to_pixels(shapes) @ matrices)[..., None, None].unbind(2)
    seen = across * x + (down * y.unsqueeze(1) + there)
    lengths = shapes.flip(1).float()[..., None, None]
    far = mirror_(seen[:, :2].div_(seen[:, 2:]), lengths)
    # Half a pixel inside of the edges nothing beyond them is read. In place: this is memory-bound.
    far = torch.minimum(far.clamp_(min=0.5), lengths - 0.5, out=far)
    full = torch.tensor([canvas[1], canvas[0]], device=device).float().view(2, 1, 1)
    return torch.addcmul(lengths * 2 / full - 1, far, -2 / full).permute(0, 2, 3, 1)


def to_pixels(shapes: Tensor) -> Tensor:
    """Return matrices [n, 3, 3] from [-1, 1] to [0, width] and [0, height].

    Args:
        shapes: int [n, 2], height and width.
    """
    half = shapes.flip(1).float() / 2
    return scale_and_shift(half, half)


def mirror_(position: Tensor, length: Tensor) -> Tensor:
    """Fold positions in [-length, 2 * length] back as mirrors at both ends do, in place.

    Returns:
        The distance from the far end, in [0, length].
    """
    return position.abs_().sub_(length).abs_()


def relight_(images: Tensor, lighting: Tensor) -> Tensor:
    """Shift and scale the logits of pixel values in [0, 1], in place.

    Args:
        images: float [n, c, h, w].
        lighting: float [n, 2], offset and factor.
    """
    offset, factor = (column.view(-1, 1, 1, 1) for column in lighting.unbind(1))
    return images.logit_(LIGHT_EPSILON).add_(offset).mul_(factor).sigmoid_()
