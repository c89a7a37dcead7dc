"""A sweep's results as tables: a row for each point, and a row for each group of repeats."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.grid import Point, shown
from thaw.chance import MORE_IS_BETTER
from thaw.core.files import replacing
from thaw.report.sentence import headline_metric

SWEEPS = Path("results", "sweeps")
STATUS, SECONDS, RUN, WHY = "status", "seconds", "run", "why"


@dataclass(frozen=True)
class Row:
    """What became of a point.

    Attributes:
        status: ``done`` or ``failed``.
        metrics: on the held-out items, by name.
        seconds: what its stages took, but for those that were there already.
        run: its name in MLflow.
        why: it failed.
    """

    status: str
    metrics: Mapping[str, float]
    seconds: float
    run: str
    why: str = ""


def table(points: Sequence[Point], rows: Mapping[str, Row]) -> pd.DataFrame:
    """Return a row for each point, in their order; those not run yet are ``waiting``.

    Columns: the varied parameters, ``status``, the metrics with the headline first, ``seconds``,
    ``run``, ``why``.
    """
    waiting = Row("waiting", {}, 0.0, "")
    found = [(point, rows.get(point.name, waiting)) for point in points]
    records = [
        {key: shown(value) for key, value in point.values.items()}
        | {STATUS: row.status, **row.metrics}
        | {SECONDS: round(row.seconds, 1), RUN: row.run, WHY: row.why}
        for point, row in found
    ]
    metrics = list(dict.fromkeys(name for _, row in found for name in row.metrics))
    if metrics:
        first = headline_metric(metrics)
        metrics = sorted(metrics, key=lambda name: (not name.startswith(first), name))
    columns = [*points[0].values, STATUS, *metrics, SECONDS, RUN, WHY]
    return pd.DataFrame(records).reindex(columns=columns)


def spread(
    found: pd.DataFrame, varied: Sequence[str], repeated: Collection[str]
) -> pd.DataFrame | None:
    """Return mean and spread of the headline metric over the points that differ by chance alone.

    Args:
        found: as `table` returns it.
        varied: the varied parameters.
        repeated: those of them that are seed, fold or held-out group.

    Returns:
        A row for each combination of the other parameters: its ``points``, and the ``mean``,
        standard deviation (``sd``, of one point none), ``min`` and ``max`` of the metric. None
        where nothing is repeated, or nothing done.
    """
    done = found[found[STATUS] == "done"]
    if not repeated or done.empty:
        return None
    metric = headline_metric(list(done))
    others = [key for key in varied if key not in repeated]
    groups = done.groupby(others, sort=False) if others else done.groupby(lambda _: 0)
    result = groups[metric].agg(points="count", mean="mean", sd="std", min="min", max="max")
    result = result.reset_index(drop=not others)
    result.insert(len(others), "metric", metric)
    return result


def best(
    found: pd.DataFrame,
    groups: pd.DataFrame | None,
    varied: Sequence[str],
    repeated: Collection[str],
) -> str:
    """Say which point is best or, where some only repeat others, which combination."""
    done = found[found[STATUS] == "done"]
    metric = headline_metric(list(done))
    if groups is None:
        row = done.loc[_index_of_best(done[metric], metric)]
        return f"Best: {metric} {row[metric]:.4f} with {_values(row, varied)} ({row[RUN]})."
    row = groups.loc[_index_of_best(groups["mean"], metric)]
    text = f"{metric} {row['mean']:.4f}"
    if row["points"] > 1:
        text += (
            f" with a standard deviation of {row['sd']:.4f} over {row['points']} points "
            f"({row['min']:.4f} to {row['max']:.4f})"
        )
    others = [key for key in varied if key not in repeated]
    return f"Best on average: {text} with {_values(row, others)}." if others else f"Mean: {text}."


def _index_of_best(values: pd.Series, metric: str) -> int:
    return int(values.idxmax() if metric in MORE_IS_BETTER else values.idxmin())


def _values(row: pd.Series, keys: Sequence[str]) -> str:
    return " ".join(f"{key}={row[key]}" for key in keys)


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
    for file, content in ((f"{name}.csv", found), (f"{name}-spread.csv", groups)):
        if content is not None:
            (root / SWEEPS).mkdir(parents=True, exist_ok=True)
            with replacing(root / SWEEPS / file) as part:
                content.to_csv(part, index=False, lineterminator="\n")
