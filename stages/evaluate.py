"""Measure the saved predictions: `python -m stages evaluate RECIPE`."""

import numpy as np
import pandas as pd

from stages.paths import Paths
from thaw.evaluation import final_metrics, per_class
from thaw.files import read_json, write_csv, write_json
from thaw.params.base import params


@params
class Params:
    """This stage reads no parameters: everything is in the predictions."""


def run(params: Params, paths: Paths) -> None:
    """Write final metrics, metrics of each class, answers for DVC's confusion plot."""
    vocab = read_json(paths.vocab)
    predictions = pd.read_parquet(paths.predictions)
    logits = np.stack(predictions["logits"].to_list())
    targets = predictions["target"].to_numpy()
    answers = logits.argmax(1)
    metrics = final_metrics(logits, targets)
    write_json(
        paths.result("evaluate", "metrics.json"),
        {f"valid/{name}": value for name, value in metrics.items()},
    )
    write_csv(paths.result("evaluate", "per_class.csv"), per_class(answers, targets, vocab))
    write_csv(
        paths.result("evaluate", "confusion.csv"),
        pd.DataFrame({"actual": predictions["label"], "predicted": [vocab[a] for a in answers]}),
    )
    print(f"error rate {metrics['error_rate']:.4f} ± {metrics['error_rate_se']:.4f}")
