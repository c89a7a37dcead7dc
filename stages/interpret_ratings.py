"""Show what a ratings model has learned: `python -m stages interpret_ratings RECIPE`."""

from stages.common.paths import Paths
from thaw.core.files import new_folder, read_json, read_parquet, write_csv
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
    with new_folder(paths.result("interpret", "tables")) as tables:
        write_csv(tables / "bias.csv", biases)
        write_csv(tables / "components.csv", parts)
        write_csv(tables / "crosstab.csv", crosstab(learned, table))
        write_csv(tables / "nearest.csv", nearest(learned))
    with new_folder(paths.result("interpret", "pictures")) as pictures:
        draw_components(parts, pictures / "components.png")
    if model.bias:
        print(f"highest bias: {', '.join(biases['title'].head(5))}")
        print(f"lowest bias: {', '.join(biases['title'].tail(5)[::-1])}")
    else:
        print("bias.csv has no rows: the model has no biases (model.bias: false).")
