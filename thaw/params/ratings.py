"""Where ratings are."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.params.base import check_range, params

# What a ratings file's columns may be called; other names are columns to be skipped.
READ_COLUMNS = ("user", "item", "rating", "timestamp")

Delimiter = Annotated[str, Field(min_length=1, max_length=1)]


@params
class RatingsLabel:
    """Ratings of items by users, a line each; defaults are MovieLens 100k's files.

    Attributes:
        rule: ``ratings``.
        ratings: the table below ``data.folder``.
        items: a table below ``data.folder`` whose first two columns are an item and its title;
            null: there are no titles.
        item_key: ``id``: items are what the ratings name, titles are for display; ``title``:
            items of equal titles are one, as in the lessons.
        range: lowest and highest rating; others are refused.
        columns: what the columns of `ratings` hold, in order: user, item, rating and, if there
            is one, timestamp (whole seconds); other names are skipped.
        header: whether both tables begin with a line of names.
        delimiter: what separates the columns of `ratings`.
        items_delimiter: what separates the columns of `items`.
        encoding: of both.
    """

    rule: Literal["ratings"]
    ratings: Annotated[str, Field(min_length=1)] = "u.data"
    items: Annotated[str, Field(min_length=1)] | None = "u.item"
    item_key: Literal["id", "title"] = "id"
    range: list[float] = Field(default_factory=lambda: [1.0, 5.0])
    columns: list[str] = Field(default_factory=lambda: list(READ_COLUMNS))
    header: bool = False
    delimiter: Delimiter = "\t"
    items_delimiter: Delimiter = "|"
    encoding: Literal["latin-1", "utf-8"] = "latin-1"

    def __post_init__(self) -> None:
        """Refuse an empty range, columns that say too little or a thing twice, absent titles."""
        check_range(self.range, "range")
        needed = READ_COLUMNS[:3]
        if lacking := [name for name in needed if name not in self.columns]:
            raise ValueError(f"columns {self.columns} lacks {', '.join(lacking)}.")
        if twice := [name for name in READ_COLUMNS if self.columns.count(name) > 1]:
            raise ValueError(f"columns has {', '.join(twice)} twice. Name the others differently.")
        if self.item_key == "title" and self.items is None:
            raise ValueError("item_key: title needs titles. Name their file in items.")
