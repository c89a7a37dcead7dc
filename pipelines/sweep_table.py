"""A sweep's results as tables: a row for each point, and a row for each group of repeats."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipelines.grid import SPREAD, Point, shown
from thaw.chance import MORE_IS_BETTER
from thaw.core.files import replacing
from thaw.headline import headline_metric
from thaw.params.base import plural

SWEEPS = Path("results", "sweeps")
STATUS, ITEMS, SECONDS, RUN, WHY = "status", "items", "seconds", "run", "why"


@dataclass(frozen=True)
class Row:
    """What became of a point.

    Attributes:
        status: ``done`` or ``failed``.
        metrics: on the held-out items, by name.
        seconds: what its stages took, but for those that were there already; None if it failed.
        run: its name in MLflow.
        why: it failed.
    """

    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    run: str = ""
    why: str = ""


def table(points: Sequence[Point], rows: Mapping[str, Row]) -> pd.DataFrame:
    """Return a row for each point, in their order; those not run yet are ``waiting``.

    Columns: the varied parameters, ``status``, the metrics with the headline first, ``seconds``,
    ``run``, ``why``.
    """
    found = [(point, rows.get(point.name, Row("waiting"))) for point in points]
    records = [
        {key: shown(value) for key, value in point.values.items()}
        | {STATUS: row.status, **row.metrics}
        | {SECONDS: row.seconds, RUN: row.run, WHY: row.why}
        for point, row in found
    ]
    metrics = list(dict.fromkeys(name for _, row in found for name in row.metrics))
    if metrics:
        first = headline_metric(metrics)
        metrics = sorted(metrics, key=lambda name: (not name.startswith(first), name))
    columns = [*points[0].values, STATUS, *metrics, SECONDS, RUN, WHY]
    result = pd.DataFrame(records).reindex(columns=columns).round({SECONDS: 1})
    return result.astype({ITEMS: "Int64"}) if ITEMS in metrics else result


def spread(
    found: pd.DataFrame, varied: Sequence[str], repeated: Collection[str]
) -> pd.DataFrame | None:
    """Return mean and spread of the headline metric over the points that differ by chance alone.

    Args:
        found: as `table` returns it.
        varied: the varied parameters.
        repeated: those of them that are seed, fold or held-out group.

    Returns:
        A row for each combination of the other parameters: its ``points`` that are done, ``of`` how
        many, and the ``mean``, standard deviation (``sd``, of one point none), ``min`` and ``max``
        of the metric. None where nothing is repeated, or nothing done.
    """
    if not repeated or not (found[STATUS] == "done").any():
        return None
    metric = headline_metric([name for name in found if found[name].notna().any()])
    others = [key for key in varied if key not in repeated]
    groups = found.groupby(others, sort=False) if others else found.groupby(lambda _: 0)
    result = groups[metric].agg(
        points="count", of="size", mean="mean", sd="std", min="min", max="max"
    )
    result = result.reset_index(drop=not others)
    result.insert(len(others), "metric", metric)
    return result


def best(
    found: pd.DataFrame,
    groups: pd.DataFrame | None,
    varied: Sequence[str],
    repeated: Collection[str],
) -> str:
    """Say which point is best or, where some only repeat others, which combination.

    Combinations with points that are not done come after those that are whole.
    """
    done = found[found[STATUS] == "done"]
    metric = headline_metric(list(done))
    if groups is None:
        rows = _best(done, metric, metric)
        return f"Best: {metric} {rows[metric].iloc[0]:.4f} with {_values(rows, varied)}."
    whole = groups[groups["points"] == groups["of"]]
    rows = _best(whole if len(whole) else groups, "mean", metric)
    row = rows.iloc[0]
    told = f"{metric} {row['mean']:.4f} over {row['points']} of {plural(row['of'], 'point')}"
    if row["points"] > 1:
        told += f", standard deviation {row['sd']:.4f} ({row['min']:.4f} to {row['max']:.4f})"
    others = [key for key in varied if key not in repeated]
    return f"Best on average: {told}, with {_values(rows, others)}." if others else f"Mean: {told}."


def _best(rows: pd.DataFrame, column: str, metric: str) -> pd.DataFrame:
    """Return the rows with the best value: several if they are equal."""
    values = rows[column]
    return rows[values == (values.max() if metric in MORE_IS_BETTER else values.min())]


def _values(rows: pd.DataFrame, keys: Sequence[str]) -> str:
    lines = [" ".join(f"{key}={row[key]}" for key in keys) for _, row in rows.iterrows()]
    return " and with ".join(lines)


def write_tables(
    root: Path,
    name: str,
    points: Sequence[Point],
    rows: Mapping[str, Row],
    repeated: Collection[str],
) -> None:
    """Write ``results/sweeps/NAME.csv`` and, where points repeat others, ``NAME-spread.csv``."""
    found = table(points, rows)
    groups = spread(found, list(points[0].values), repeated)
    (root / SWEEPS).mkdir(parents=True, exist_ok=True)
    for file, content in ((f"{name}.csv", found), (f"{name}{SPREAD}.csv", groups)):
        if content is None:
            (root / SWEEPS / file).unlink(missing_ok=True)
            continue
        with replacing(root / SWEEPS / file) as part:
            content.to_csv(part, index=False, lineterminator="\n")
