"""Matplotlib's figures as SVG that stands in a page and takes its colours and letters."""

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Drawn in these colours, shown in the page's: style sheets know light from dark.
INK, FAINT = "#010101", "#020202"
SERIES = ("#110000", "#120000", "#130000", "#140000", "#150000")
VARIABLES = {INK: "ink", FAINT: "line"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, start=1)
}
# Apart without their colours too.
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "thaw",
    "font.size": 10.0,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.0,
    "patch.facecolor": "none",
    "axes.formatter.use_mathtext": False,
}
WIDTH, HEIGHT = 5.4, 3.4  # inches of 72 units: as wide as a phone, so that letters stay readable


def new_figure(height: float = HEIGHT) -> Figure:
    """Make an empty figure without a background, `height` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")


@contextmanager
def style() -> Iterator[None]:
    """Set how charts are drawn; matplotlib looks when their parts are made."""
    with mpl.rc_context(STYLE):
        yield


def to_svg(figure: Figure, name: str, label: str) -> str:
    """Return a figure as an SVG element; the same text for the same figure.

    Args:
        figure: drawn in the colours of this module.
        name: of letters, digits and ``-``; begins every id, so that those of a page differ.
        label: what the figure shows, for those who do not see it.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # of the whole page, in a page
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\1{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    opening = re.search(r'viewBox="[^"]+"', text)
    assert opening is not None
    body = text[text.index(">") + 1 :]
    return f'<svg {opening[0]} role="img" aria-label="{html.escape(label)}" {XLINK}>{body.strip()}'


XLINK = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
