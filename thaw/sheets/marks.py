"""Points drawn onto images."""

from PIL import ImageDraw

RADIUS = 6


def mark(
    pen: ImageDraw.ImageDraw, x: float, y: float, ring: str = "white", dot: str = "red"
) -> None:
    """Draw a ring with a dot, dark on light, so that it shows on any ground.

    Args:
        pen: of the image.
        x: in pixels.
        y: in pixels.
        ring: its colour.
        dot: its colour.
    """
    for radius, colour, width in ((RADIUS + 1, "black", 4), (RADIUS, ring, 2)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=width)
    pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=dot, outline="white")
