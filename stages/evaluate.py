"""Measure the saved predictions: `python -m stages evaluate RECIPE`."""

from stages.common.paths import Paths
from stages.diagnose import diagnose_fits
from stages.ratings_evaluate import evaluate_ratings
from thaw.core.files import read_json, read_parquet, write_csv, write_json
from thaw.evaluation import evaluate
from thaw.params.base import params
from thaw.params.split import Split


@params
class Params:
    """The sections that this stage reads: what is held out, for the diagnosis alone."""

    split: Split


def run(params: Params, paths: Paths) -> None:
    """Write final metrics, those of each class or group, a confusion plot's rows, a diagnosis."""
    vocab = read_json(paths.vocab)
    predictions = read_parquet(paths.predictions)
    if "rating" in predictions:
        evaluate_ratings(predictions, vocab, paths)
        diagnose_fits(predictions, vocab, params.split.by, paths)
        return
    found = evaluate(predictions, vocab)
    metrics = {f"valid/{name}": value for name, value in found.metrics.items()}
    write_json(paths.result("evaluate", "metrics.json"), metrics)
    write_csv(paths.result("evaluate", "per_class.csv"), found.per_class)
    write_csv(paths.result("evaluate", "confusion.csv"), found.confusion)
    print(found.headline)
    diagnose_fits(predictions, vocab, params.split.by, paths)
