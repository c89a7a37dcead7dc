"""What two models of bears answer on images without a bear: one label, and several.

    dvc repro evaluate@bears_sample evaluate@bears_several_sample
    python -m benchmarks.none_of_the_classes

Shows the held-out images of bears_several_sample, whose folder `none` has other animals, things
and empty places, to its own model and to bears_sample's, which must name one class. Prints for
the images without a bear and for those with one what each model answers: the likeliest class and
its probability, and the labels whose probabilities are above the chosen threshold; and how often
each names a bear at all, the one-label model also where answers below its chosen confidence are
withheld.
"""

import numpy as np
import pandas as pd

from stages.common.paths import Paths
from thaw.core.files import read_json
from thaw.evaluation import sigmoid, softmax
from thaw.images import Decoded
from thaw.pack import open_packed
from thaw.predictor import open_predictor

ONE, SEVERAL = Paths("bears_sample"), Paths("bears_several_sample")


def main() -> None:
    """Print both models' answers."""
    items = pd.read_parquet(SEVERAL.items).query("split == 'valid'")
    logits = {paths: outputs(paths, items["path"].tolist()) for paths in (ONE, SEVERAL)}
    one, several = softmax(logits[ONE]), sigmoid(logits[SEVERAL])
    vocab = read_json(ONE.vocab)
    confidence = read_json(ONE.threshold)["confidence"]
    thresholds = np.array([read_json(SEVERAL.threshold)[name] for name in vocab])
    given = several > thresholds
    table = pd.DataFrame(
        {
            "image": items["path"],
            "one label": [f"{vocab[p.argmax()]} {p.max():.2f}" for p in one],
            "several labels": [
                " ".join(np.array(vocab)[row]) + f" ({p.max():.2f})" if row.any() else "none"
                for row, p in zip(given, several, strict=True)
            ],
        }
    )
    without = (items["label"] == "").to_numpy()
    print(table[without].to_string(index=False))
    for name, rows in (("without a bear", without), ("with one", ~without)):
        print(
            f"{rows.sum()} images {name}: a bear is named in {rows.sum()} by the one-label model, "
            f"in {(one[rows].max(1) > confidence).sum()} above its confidence of {confidence:.3f}, "
            f"in {given[rows].any(1).sum()} by the model of several labels"
        )


def outputs(paths: Paths, names: list[str]) -> np.ndarray:
    """Return a recipe's logits, float [n, classes], for images that bears_several_sample packed."""
    packed = open_packed(SEVERAL.packed)
    rows = packed.rows(names)
    images = [Decoded(packed.image(row), *packed.image(row).shape[:2]) for row in rows]
    return open_predictor(paths.model.parent).outputs(images)


if __name__ == "__main__":
    main()
