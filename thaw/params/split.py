"""Parameters of the `split` stage: what an image's label is, and which images are held out."""

import re
from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from thaw.params.base import params, some_of
from thaw.params.ratings import RatingsLabel

# Columns of the items table that Thaw writes itself.
OWN_COLUMNS = ("path", "label", "target", "split")


Delimiter = Annotated[str, Field(min_length=1, max_length=1)]
Same = list[Annotated[list[str], Field(min_length=2)]]


def check_same(same: list[list[str]]) -> None:
    """Refuse a group that is in two lists: all groups that are one belong into one list.

    Raises:
        ValueError: with the name.
    """
    names = [name for those in same for name in those]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"same lists {twice[0]} twice. Put all groups that are one into one list.")


@params
class RegexLabel:
    r"""The label is in the file's name.

    Attributes:
        rule: ``regex``.
        pattern: searched in the file's name (not its folders). Group 1 is the label, as in
            ``(.+)_\d+\.jpg$``; if groups have names, the name of the one that matched is, as in
            ``(?P<cat>^[A-Z])|(?P<dog>^[a-z])``.
    """

    rule: Literal["regex"]
    pattern: str

    def __post_init__(self) -> None:
        """Refuse a pattern that does not compile or cannot give a label."""
        if compiled(self.pattern, "pattern").groups == 0:
            raise ValueError(
                f"pattern '{self.pattern}' has no group. Put round brackets around the label."
            )


@params
class FolderLabel:
    """The label is the name of the image's folder.

    Attributes:
        rule: ``folder``.
        none: a folder of images that show none of the classes; naming one makes the labels
            independent of each other, so that a model can answer with none of them.
    """

    rule: Literal["folder"]
    none: str | None = None


@params
class CsvLabel:
    """The label is in a CSV with a header; its other columns go into the items table.

    Attributes:
        rule: ``csv``.
        file: the CSV inside the archive.
        path: the column that names the image, relative to ``data.folder``.
        column: the column with the label; or several columns of true and false, a class each,
            for several labels an image.
        separator: what separates several labels in `column`; an empty cell then means none of
            the classes. null: an image has one label.
        delimiter: what separates the columns.
        prefix: put before each name in `path`, such as ``train/``.
        suffix: put after it, such as ``.jpg``.
    """

    rule: Literal["csv"]
    file: str
    path: str
    column: str | Annotated[list[str], Field(min_length=1)]
    separator: Annotated[str, Field(min_length=1)] | None = None
    delimiter: Delimiter = ","
    prefix: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        """Refuse one column in two roles, and a separator without a column to separate."""
        if self.path == self.column or self.path in self.class_columns:
            raise ValueError(f"path and column are both '{self.path}'. Name two columns.")
        if self.class_columns and self.separator is not None:
            raise ValueError("separator is for one column of labels. Leave it out.")

    @property
    def class_columns(self) -> list[str]:
        """The columns of true and false, if the labels are given so."""
        return self.column if isinstance(self.column, list) else []


@params
class CsvPoints:
    """Points on the image, from a CSV with a header; several rows of an image add up.

    Attributes:
        rule: ``points``.
        file: the CSV inside the archive.
        path: the column that names the image, relative to ``data.folder``.
        columns: the columns of x, y (and x, y of further points), in pixels of the upright image.
        delimiter: what separates the columns.
        prefix: put before each name in `path`.
        suffix: put after it.
    """

    rule: Literal["points"]
    file: str
    path: str
    columns: Annotated[list[str], Field(min_length=2)]
    delimiter: Delimiter = ","
    prefix: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        """Refuse an x without a y, and one column in two roles."""
        if len(self.columns) % 2:
            raise ValueError(f"columns {self.columns} must be pairs of x and y.")
        roles = [self.path, *self.columns]
        if twice := [name for name, count in Counter(roles).items() if count > 1]:
            raise ValueError(f"path and columns name '{twice[0]}' twice. Name each column once.")


@params
class PosePoint:
    """The centre of a head, from its pose and the camera's calibration, as in BIWI.

    Attributes:
        rule: ``pose``.
        image: the end of an image's name that `pose` replaces.
        pose: three rows of a rotation, and then the centre X, Y, Z in millimetres.
        calibration: a file in each image's folder that begins with the camera's 3 x 3 matrix.
    """

    rule: Literal["pose"]
    image: str = "rgb.jpg"
    pose: str = "pose.txt"
    calibration: str = "rgb.cal"


@params
class RandomSplit:
    """Hold out a random share of the images, the same for the same seed and names.

    Attributes:
        rule: ``random``.
        valid: the share that is held out.
        stratify: hold out the same share of each class.
    """

    rule: Literal["random"]
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.2
    stratify: bool = False


@params
class TimeSplit:
    """Hold out the latest share.

    Attributes:
        rule: ``time``.
        valid: the share that is held out.
        column: a column of numbers that grow with time; ratings have ``timestamp``.
    """

    rule: Literal["time"]
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.2
    column: str = "timestamp"


@params
class ColumnSplit:
    """Hold out the images that a column marks.

    Attributes:
        rule: ``column``.
        column: a column of the CSV or of `columns`, or ``folder``.
        valid: the values that mark a held-out image; null: true, yes, t, y and numbers but 0.
    """

    rule: Literal["column"]
    column: str
    valid: Annotated[list[str], Field(min_length=1)] | None = None


@params
class FolderSplit:
    """The first folder below ``data.folder`` says it; images in other ones are left out.

    Attributes:
        rule: ``folder``.
        train: the folder with training images.
        valid: the folder with held-out ones.
    """

    rule: Literal["folder"]
    train: str = "train"
    valid: str = "valid"

    def __post_init__(self) -> None:
        """Refuse one folder for both, and paths."""
        if self.train == self.valid:
            raise ValueError(f"train and valid are both '{self.train}'. Name two folders.")
        if deep := [name for name in (self.train, self.valid) if "/" in name or not name]:
            raise ValueError(
                f"'{deep[0]}' must be the name of one folder. Set data.folder to the folder that "
                "holds both."
            )


@params
class GroupSplit:
    """Hold out whole groups, such as persons; no group is ever on both sides.

    Attributes:
        rule: ``group``.
        column: a column of the CSV or of `columns`, or ``folder``.
        valid: the groups that are held out.
        same: lists of groups that are one, such as two recordings of one person.
    """

    rule: Literal["group"]
    column: str
    valid: Annotated[list[str], Field(min_length=1)]
    same: Same = Field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a group in two lists of `same`."""
        check_same(self.same)


@params
class FoldsSplit:
    """Cut the images into folds of nearly the same number, and hold one out.

    Attributes:
        rule: ``folds``.
        of: ``random``; ``stratified``: each class by itself; ``group``: whole groups.
        folds: how many.
        fold: the one that is held out, from 0.
        column: for ``group``: a column of the CSV or of `columns`, or ``folder``.
        same: for ``group``: lists of groups that are one.
    """

    rule: Literal["folds"]
    of: Literal["random", "stratified", "group"]
    folds: Annotated[int, Field(ge=2)] = 5
    fold: Annotated[int, Field(ge=0)] = 0
    column: str | None = None
    same: Same = Field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a fold that does not exist, a column without groups or the reverse."""
        check_same(self.same)
        if self.fold >= self.folds:
            raise ValueError(
                f"fold {self.fold} does not exist: {self.folds} folds are 0 to {self.folds - 1}."
            )
        if (self.of == "group") != (self.column is not None):
            raise ValueError(
                "column is for `of: group`: give both or neither "
                f"(of: {self.of}, column: {self.column or 'null'})."
            )


LabelRule = RegexLabel | FolderLabel | CsvLabel | CsvPoints | PosePoint
SplitRule = RandomSplit | TimeSplit | ColumnSplit | FolderSplit | GroupSplit | FoldsSplit


@params
class Split:
    r"""Labels, classes and the held-out images.

    Attributes:
        label: where an image's label is.
        by: which images are held out.
        classes: the classes in the order of the targets; a label that is not among them is
            refused. null: the labels found, sorted.
        columns: a regular expression whose named groups, searched in the path relative to
            ``data.folder``, become columns of the items table, as in ``^(?P<person>\d+)/``.
    """

    label: Annotated[LabelRule | RatingsLabel, Field(discriminator="rule")]
    by: Annotated[SplitRule, Field(discriminator="rule")]
    classes: Annotated[list[str], Field(min_length=2)] | None = None
    columns: str | None = None

    def __post_init__(self) -> None:
        """Refuse classes listed twice or for points, and columns without names or Thaw's own."""
        classes = self.classes or []
        if classes and isinstance(self.label, CsvPoints | PosePoint):
            raise ValueError("classes are for labels, but split.label gives points. Leave it out.")
        if twice := sorted({name for name in classes if classes.count(name) > 1}):
            raise ValueError(f"classes lists {some_of(twice)} twice. Leave one of each.")
        if isinstance(self.label, RatingsLabel) and (
            classes or self.columns or isinstance(self.by, FolderSplit)
        ):
            raise ValueError(
                "classes, columns and by: {rule: folder} are for images, not for ratings. Leave "
                "them out."
            )
        if self.columns is not None:
            names = list(compiled(self.columns, "columns").groupindex)
            if not names:
                raise ValueError(
                    f"columns '{self.columns}' has no named group. Write (?P<name>...)."
                )
            if own := [name for name in names if name in OWN_COLUMNS]:
                raise ValueError(f"columns must not be called {some_of(own)}. Rename the groups.")


def compiled(pattern: str, key: str) -> re.Pattern[str]:
    """Compile a regular expression.

    Raises:
        ValueError: it is not one; `key` names the parameter.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{key} '{pattern}' is not a regular expression: {error}.") from None
