"""Pages of HTML that ask for nothing: styles and pictures are in them, scripts are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from thaw.report.pictures import Picture
from thaw.report.tables import Table

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Chart:
    """A drawing in the page's colours.

    Attributes:
        svg: an SVG element.
        caption: what it shows.
    """

    svg: str
    caption: str


@dataclass(frozen=True)
class Verdict:
    """What `evaluate` says of a fit.

    Attributes:
        fit: its stage.
        verdict: in a few words; ``good`` if nothing is to be changed.
        why: the numbers that it rests on.
        remedy: a parameter and the value to try; empty for none.
    """

    fit: str
    verdict: str
    why: str
    remedy: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page; what it has none of is left out.

    Attributes:
        name: its id.
        title: its heading.
        text: paragraphs.
        verdicts: on fits.
        charts: shown side by side where there is room.
        tables: shown one below the other.
        pictures: sheets and photos.
        settings: sections of parameters, with their values by dotted path.
        commands: to be typed.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    commands: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing would stand below the heading."""
        parts = (self.text, self.verdicts, self.charts, self.tables, self.pictures, self.settings)
        return not any((*parts, self.commands))


@dataclass(frozen=True)
class Page:
    """The report of a recipe.

    Attributes:
        recipe: its name.
        kind: what it answers, in words.
        sentence: its result.
        facts: a few words and numbers by name.
        sections: in the order of the page.
    """

    recipe: str
    kind: str
    sentence: str
    facts: Mapping[str, str]
    sections: Sequence[Section]


@dataclass(frozen=True)
class Entry:
    """A recipe in the index.

    Attributes:
        recipe: its name.
        link: its page, relative to the index; empty if there is none.
        kind: what it answers, in words.
        sentence: its result, or why there is none.
        commit: that the result was made from, in a few digits; empty if that is not known.
    """

    recipe: str
    link: str
    kind: str
    sentence: str
    commit: str = ""


def render_page(page: Page) -> str:
    """Return a report as HTML."""
    return _environment().get_template("page.html.jinja").render(page=page)


def render_index(entries: Sequence[Entry]) -> str:
    """Return the index of all reports as HTML."""
    return _environment().get_template("index.html.jinja").render(entries=entries)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
