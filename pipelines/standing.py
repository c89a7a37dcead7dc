"""Which of two versions of a model is better: one metric, the same data, no fewer items."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from thaw.chance import MORE_IS_BETTER
from thaw.headline import headline_metric

METRIC, VALUE, ITEMS = "thaw.metric", "thaw.value", "thaw.valid_items"
DATA = "thaw.data."


@dataclass(frozen=True)
class Standing:
    """What a version is compared by.

    Attributes:
        version: its number.
        metric: that its recipe is judged by, such as ``error_rate``.
        value: of that metric on the held-out items.
        items: how many these are.
        data: MD5 of the data that was trained and measured on, by tag.
    """

    version: str
    metric: str
    value: float
    items: int
    data: Mapping[str, str]

    @classmethod
    def from_tags(cls, version: str, tags: Mapping[str, str]) -> Self | None:
        """Read a version's tags; None if it was registered by something else."""
        if not {METRIC, VALUE, ITEMS} <= tags.keys():
            return None
        return cls(version, tags[METRIC], float(tags[VALUE]), int(tags[ITEMS]), data_of(tags))

    def __str__(self) -> str:
        """Say what a version gets on how much."""
        return f"{self.metric} {self.value:.6g} on {self.items} held-out items"


def is_better(metric: str, value: float, other: float) -> bool:
    """Say whether a metric's value is truly better than another; any number is than NaN."""
    if math.isnan(value) or math.isnan(other):
        return math.isnan(other) and not math.isnan(value)
    return value > other if metric in MORE_IS_BETTER else value < other


def data_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that say which data it was."""
    return {name: value for name, value in tags.items() if name.startswith(DATA)}


def standing_tags(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return what `Standing.from_tags` reads, but for the data.

    Args:
        metrics: as `evaluate` wrote them, ``valid/error_rate`` for one.
    """
    values = {name.removeprefix("valid/"): value for name, value in metrics.items()}
    metric = headline_metric(values)
    return {METRIC: metric, VALUE: repr(values[metric]), ITEMS: str(int(values["items"]))}


@dataclass(frozen=True)
class Verdict:
    """Who is champion from now on.

    Attributes:
        moves: whether it is the candidate, and was not before.
        sentence: who, and why, with the numbers of both.
    """

    moves: bool
    sentence: str


def judge(candidate: Standing, champion: Standing | None, champion_version: str | None) -> Verdict:
    """Compare a candidate with the champion.

    Args:
        candidate: the new version.
        champion: what is known of the champion, None if it has none of our tags.
        champion_version: its number, None if there is none.
    """
    new = f"version {candidate.version} ({candidate})"
    if math.isnan(candidate.value):
        return Verdict(
            False, f"{new} does not become champion: its {candidate.metric} is no number."
        )
    if champion_version is None:
        return Verdict(True, f"{new} becomes champion: there was none.")
    if champion_version == candidate.version:
        return Verdict(False, f"{new} is the champion already.")
    if champion is None:
        return Verdict(
            False,
            f"version {champion_version} stays champion: it was not registered by Thaw, so {new} "
            "cannot be compared with it.",
        )
    old = f"version {champion.version} ({champion})"
    if reason := _why_not(candidate, champion):
        return Verdict(False, f"{old} stays champion: {new} {reason}.")
    return Verdict(True, f"{new} becomes champion: it is better than {old} on the same data.")


def _why_not(candidate: Standing, champion: Standing) -> str:
    """Say why a candidate does not become champion; nothing if it does."""
    if candidate.metric != champion.metric:
        return "is judged by another metric, so they cannot be compared"
    if not candidate.data or not champion.data:
        return "cannot be compared: of which data one of them is, is not known"
    if candidate.data != champion.data:
        names = sorted(
            name.removeprefix(DATA)
            for name in candidate.data.keys() | champion.data.keys()
            if candidate.data.get(name) != champion.data.get(name)
        )
        return f"is of another version of the data ({', '.join(names)}), so they cannot be compared"
    if candidate.items < champion.items:
        return "was measured on fewer items"
    if candidate.value == champion.value:
        return "is no better"
    better = is_better(candidate.metric, candidate.value, champion.value)
    return "" if better else "is worse"
