"""Show what a ratings model has learned: `python -m stages interpret RECIPE`."""

from stages.common.paths import Paths
from thaw.core.files import read_json, read_parquet, replacing, write_csv
from thaw.params.base import params, parse
from thaw.params.ratings_model import RatingsModel
from thaw.ratings.interpret import (
    by_bias,
    components,
    crosstab,
    draw_components,
    nearest,
    read_learned,
)


@params
class Params:
    """This stage reads no parameters: everything is beside the model."""


def run(params: Params, paths: Paths) -> None:
    """Write biases, principal components with a picture, crosstab and nearest items."""
    table = read_parquet(paths.items)
    model = parse(RatingsModel, read_json(paths.model_json)["model"], str(paths.model_json))
    learned = read_learned(paths.model, table, read_json(paths.vocab), model)
    biases, parts = by_bias(learned), components(learned)
    write_csv(paths.result("interpret", "bias.csv"), biases)
    write_csv(paths.result("interpret", "components.csv"), parts)
    write_csv(paths.result("interpret", "crosstab.csv"), crosstab(learned, table))
    write_csv(paths.result("interpret", "nearest.csv"), nearest(learned))
    with replacing(paths.result("interpret", "components.png")) as part:
        draw_components(parts, part)
    if model.bias:
        print(f"highest bias: {', '.join(biases['title'].head(5))}")
        print(f"lowest bias: {', '.join(biases['title'].tail(5)[::-1])}")
    else:
        print("bias.csv has no rows: the model has no biases (model.bias: false).")
