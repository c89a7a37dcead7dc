"""Parameters of the learning-rate tests."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.params.base import params

Rule = Literal["valley", "steepest", "minimum"]


@params
class LRTest:
    """A learning-rate range test (Smith 2015, section 3.3).

    Attributes:
        steps: batches; 0 leaves the test out, and then no fit may say `auto`.
        start: first learning rate.
        end: last learning rate.
        batch_size: items in a batch.
        rule: which suggestion the frozen fit's `auto` takes.
    """

    steps: Annotated[int, Field(ge=0)] = 100
    start: Annotated[float, Field(gt=0)] = 1e-7
    end: Annotated[float, Field(gt=0)] = 10.0
    batch_size: Annotated[int, Field(ge=2)] = 64
    rule: Rule = "valley"

    def __post_init__(self) -> None:
        """Refuse a range that does not rise and a test too short to suggest anything."""
        if self.start >= self.end:
            raise ValueError(f"start {self.start} must be below end {self.end}.")
        if 0 < self.steps < 20:
            raise ValueError(f"steps {self.steps}: at least 20 are needed, or 0 for no test.")
