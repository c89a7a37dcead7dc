"""Choose when an answer is taken: `python -m stages threshold pascal_sample`."""

import numpy as np
import pandas as pd

from stages.common.paths import Paths
from thaw.core.files import read_json, read_parquet, write_csv, write_json
from thaw.evaluation import sigmoid, softmax
from thaw.params.base import Seed, params
from thaw.params.threshold import Threshold
from thaw.threshold import Choice, choose_for_label, choose_for_labels, no_choice
from thaw.threshold_plot import draw_threshold
from thaw.vision.task import task_of


@params
class Params:
    """The sections that this stage reads."""

    seed: Seed
    threshold: Threshold


def run(params: Params, paths: Paths) -> None:
    """Write the curve, the choice, what it is worth, and a picture of it."""
    vocab = read_json(paths.vocab)
    choice = choose(read_parquet(paths.predictions), vocab, params)
    names = vocab if len(choice.thresholds) == len(vocab) else ["confidence"]
    values = dict(zip(names, choice.thresholds, strict=True)) if choice.thresholds else {}
    draw_threshold(choice, paths.result("threshold", "curve.png"))
    write_json(paths.threshold, values)
    write_csv(paths.result("threshold", "curve.csv"), choice.curve)
    write_json(paths.result("threshold", "metrics.json"), choice.metrics)
    print(f"chosen: {', '.join(f'{t:.3f}' for t in sorted(set(choice.thresholds))) or 'nothing'}")
    if choice.metrics.get("chosen_on/error_rate", 0.0) > params.threshold.max_error:
        print(
            f"no confidence keeps the share of wrong answers at {params.threshold.max_error:g} "
            "(threshold.max_error): the one with the fewest was taken."
        )


def choose(predictions: pd.DataFrame, vocab: list[str], params: Params) -> Choice:
    """Choose as the recipe's task wants it."""
    task = task_of(predictions, vocab)
    if task == "points":
        return no_choice()
    logits = np.stack(predictions["logits"].to_list())
    if task == "label":
        targets = predictions["target"].to_numpy()
        return choose_for_label(softmax(logits), targets, params.threshold, params.seed)
    targets = np.stack(predictions["target"].to_list())
    return choose_for_labels(sigmoid(logits), targets, params.threshold, params.seed)
