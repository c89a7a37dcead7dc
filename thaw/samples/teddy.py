"""Draw a teddy bear that sits and looks at the viewer."""

import random

from thaw.samples.canvas import Canvas, Colour
from thaw.samples.coat import COATS, shifted
from thaw.samples.creature import DARK, mixed
from thaw.samples.frame import Frame

RIBBONS: tuple[Colour, ...] = ((196, 54, 60), (54, 98, 172), (228, 186, 60), (70, 138, 92))


def draw_teddy(canvas: Canvas, frame: Frame, rng: random.Random) -> None:
    """Paint a teddy bear in `frame`, about 620 units wide and 780 tall, in any coat's colour."""
    coat = shifted(COATS[rng.choice(tuple(COATS))], rng)
    pale, ribbon = mixed(coat.fur, coat.pale, 70), rng.choice(RIBBONS)
    canvas.darken(frame.child(0, 350), 330, 60, 450)
    for side in (-1, 1):
        canvas.ellipse(frame.child(side * 185, 130, side * -35), 62, 135, coat.fur, fur=14)
    canvas.ellipse(frame.child(0, 150), 190, 210, coat.fur, fur=14)
    canvas.ellipse(frame.child(0, 175), 115, 140, pale, fur=10)
    for step in range(5):  # a seam
        canvas.ellipse(frame.child(0, 70 + step * 52), 5, 16, DARK, flat=True)
    for side in (-1, 1):
        foot = frame.child(side * 180, 300, side * 12)
        canvas.ellipse(foot, 92, 82, coat.fur, fur=14)
        canvas.ellipse(foot.child(0, 6), 56, 50, pale)
    head = frame.child(0, -185, rng.randint(-12, 12))
    for side in (-1, 1):
        ear = head.child(side * 150, -125)
        canvas.ellipse(ear, 78, 76, coat.fur, fur=14)
        canvas.ellipse(ear.child(0, 8), 44, 42, pale)
    canvas.ellipse(head, 200, 170, coat.fur, fur=14)
    canvas.ellipse(head.child(0, 62), 92, 72, pale, fur=8)
    canvas.ellipse(head.child(0, 36), 36, 24, DARK)
    canvas.ellipse(head.child(0, 82), 6, 26, DARK, flat=True)
    for side in (-1, 1):
        eye = head.child(side * 78, -30)
        canvas.ellipse(eye, 24, 26, DARK)
        canvas.ellipse(eye.child(-8, -8), 7, 7, (250, 250, 250), flat=True)
    for side in (-1, 1):
        bow = [(-1000, -900), (900, -200), (900, 200), (-1000, 900)]
        tie = frame.child(side * 62, 0, 0 if side < 0 else 180)
        canvas.polygon(tie, 66, 52, bow, ribbon)
    canvas.ellipse(frame.child(0, 0), 24, 28, mixed(ribbon, DARK, 25))
