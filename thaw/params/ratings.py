"""Parameters of ratings recipes: the table, the model and its fit."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from thaw.params.base import params
from thaw.params.fit import AUTO, OneCycle, check_lr

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
    ratings: str = "u.data"
    items: str | None = "u.item"
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


@params
class RatingsModel:
    """What a user gives an item: the lessons' steps from a dot product to a neural net.

    Attributes:
        factors: numbers learned about each user and each item; null (with `hidden` only):
            as many as fastai takes, by the number of users and of items.
        bias: whether each user and each item has a bias as well.
        y_range: end in a sigmoid scaled to [low, high], a little wider than the ratings; null:
            no sigmoid.
        hidden: widths of hidden layers on the factors side by side; none: their dot product.
        init_std: standard deviation of the initial factors and biases.
    """

    factors: Annotated[int, Field(ge=1)] | None = 50
    bias: bool = True
    y_range: list[float] | None = Field(default_factory=lambda: [0.0, 5.5])
    hidden: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    init_std: Annotated[float, Field(gt=0)] = 0.01

    def __post_init__(self) -> None:
        """Refuse a range without a width, and a dot product of vectors of different lengths."""
        if self.y_range is not None:
            check_range(self.y_range, "y_range")
        if self.factors is None and not self.hidden:
            raise ValueError("factors: null goes with hidden layers only. Give a number.")


def check_one_lr(value: Any) -> Any:
    """Accept a number above 0 or `auto`."""
    if isinstance(value, list):
        raise ValueError(
            f"{value!r} is a list, but this model has one parameter group. Give one number, or "
            f"'{AUTO}'."
        )
    return check_lr(value)


@params
class RatingsFit(OneCycle):
    """One call of fit-one-cycle on ratings.

    Attributes:
        lr: the largest learning rate: a number, or `auto`, the LR test's choice.
        weight_decay: decoupled; factors and the biases of users and items decay, as in the
            lessons, norms and biases of hidden layers do not.
    """

    lr: Annotated[Any, PlainValidator(check_one_lr)]


def check_range(bounds: list[float], key: str) -> None:
    """Refuse what is not a lower and a higher number.

    Raises:
        ValueError: `key` names the parameter.
    """
    if len(bounds) != 2 or bounds[0] >= bounds[1]:
        raise ValueError(f"{key} {bounds} must be two numbers, the lower one first.")
