"""Print every recipe's result, and write the index of reports: `python -m pipelines.results`."""

import json
import sys
from collections.abc import Container
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stages.common.paths import Paths
from stages.recipe import PARAMS_FILE, read_recipes
from stages.timing import stage_seconds
from thaw.core.errors import UserError
from thaw.headline import headline_metric

# What a recipe is judged by, in a column.
HEADLINES = {
    "error_rate": "error rate",
    "mean_average_precision": "mean average precision",
    "mean_pixels": "mean error in pixels",
    "rmse": "root mean squared error",
}


def result_rows(
    root: Path = Path(), recipes: Container[str] | None = None
) -> list[tuple[str, str, str, str]]:
    """Return recipe, metric, value and seconds of each recipe, or of some.

    Seconds are the sum over the stages whose timing belongs to the present outputs; stages
    restored from DVC's cache took none here.
    """
    rows = []
    for recipe in read_recipes(root / PARAMS_FILE):
        if recipes is not None and recipe not in recipes:
            continue
        metrics_file = root / Paths(recipe).result("evaluate", "metrics.json")
        if not metrics_file.exists():
            rows.append((recipe, "", "not run yet: dvc repro", ""))
            continue
        metrics = json.loads(metrics_file.read_text(encoding="utf-8"))
        key = headline_metric([name.removeprefix("valid/") for name in metrics])
        value = f"{metrics[f'valid/{key}']:.3f}"
        if f"valid/{key}_se" in metrics:
            value += f" ± {metrics[f'valid/{key}_se']:.3f}"
        rows.append((recipe, HEADLINES[key], value, f"{stage_seconds(recipe, root):.0f}"))
    return rows


def main() -> int:
    """Print the table and where to look next."""
    from stages.index import write_index  # pandas, of which the flow does without

    table = Table("recipe", "metric", "value", "seconds", title="Results on held-out items")
    try:
        for row in result_rows():
            table.add_row(*row)
        index = write_index()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    console = Console()
    console.print(table)
    console.print(
        "± is one standard error. Next:\n"
        "  dvc metrics show                  all metrics of all stages\n"
        "  dvc plots show                    curves, as a page in dvc_plots/\n"
        "  dvc dag                           what depends on what\n"
        "  dvc exp run -S recipes.pets_sample.fit_frozen.epochs=20\n"
        "                                    another value; dvc exp show compares\n"
        "  params.yaml                       every knob; your own data is one more entry",
        highlight=False,
    )
    print(f"Reports, to be opened in a browser: {index.absolute()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
