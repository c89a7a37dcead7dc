"""Compare settings of the frozen fit inside the training part of a real archive's fixed split.

    python -m benchmarks.heads bears --archives ARCHIVES --weights mobilenet_v2-1efb22c2.pth

Computes the frozen body's features of all views once, and then fits every head of `SETTINGS`, or
those that `--heads` names, on three folds of the training items alone (stratified, if items have
one label); the held-out items are never looked at. Prints mean error rates, and a logistic
regression's on the unaugmented features; for pascal mean average precision and best accuracy_multi
of the lessons' thresholds, also of a logistic regression for each class.
"""

import argparse
import contextlib
import functools
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from ruamel.yaml import YAML
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from benchmarks.real_archives import LESSONS_SWEEP, STAGES, python, recipe_of
from thaw.core.randomness import seeded
from thaw.evaluation import sigmoid
from thaw.params.training.fit import Fit
from thaw.training.batches import FeatureBatches
from thaw.training.fit import Setting, fit
from thaw.training.model import build_head
from thaw.training.resume import Checkpoint
from thaw.vision.metrics import measure
from thaw.vision.several import average_precisions, cell_metrics

VIEWS = 8
SEVERAL = ("mean_average_precision", "best_accuracy_multi")
SETTINGS = [  # hidden layers, epochs, views (0: no augmentation), learning rate
    ([512], 24, 8, 8e-4),
    ([512], 24, 8, 3e-3),
    ([512], 40, 4, 3e-3),
    ([512], 40, 8, 3e-3),
    ([512], 48, 8, 8e-4),
    ([512], 24, 0, 1e-3),
    ([], 24, 8, 8e-4),
    ([], 24, 8, 3e-3),
    ([], 48, 8, 1e-3),
    ([], 24, 4, 1e-3),
    ([], 24, 0, 1e-3),
]
FEATURES = """
import sys; from pathlib import Path; import torch
from stages.common.paths import Paths; from stages.recipe import read_params
from stages.fit_frozen import Params; from stages.training import open_training
from thaw.vision.features import compute_features
from thaw.vision.compiled_body import fold_and_compile
from thaw.training.model import load_weights
recipe, target, views = sys.argv[1], sys.argv[2], int(sys.argv[3])
opened = open_training(read_params(recipe, Params), Paths(recipe), "fit_frozen")
load_weights(Paths(recipe).pretrained, opened.network.body)
body, images = fold_and_compile(opened.network), opened.training
seen = [images.plain()] + [images.random(42, "views", v) for v in range(views)]
features = [compute_features(body, images, view, "fp32", "features") for view in seen]
torch.save({"features": torch.stack(features), "targets": images.targets}, target)
"""


def main() -> None:
    """Compute the features, fit every setting, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=["pets", "dogscats", "bears", "pascal"])
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="[SECTION.]KEY=VALUE")
    parser.add_argument(
        "--heads", nargs="+", type=head_setting, default=SETTINGS,
        metavar="HIDDEN:EPOCHS:VIEWS:RATE",
        help="such as 512:40:8:1e-3; no width before the first colon means a linear head",
    )  # fmt: skip
    parser.add_argument(
        "--strengths", nargs="+", type=float, default=[1e-3, 1e-2, 1e-1, 1.0],
        help="of the logistic regression",
    )  # fmt: skip
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        features, targets = training_features(Path(scratch), chosen)
        several = targets.ndim == 2
        folding = (KFold if several else StratifiedKFold)(3, shuffle=True, random_state=5)
        splits = folding.split(targets, None if several else targets)
        folds = [(torch.tensor(train), torch.tensor(valid)) for train, valid in splits]
        for strength in chosen.strengths:
            found = [logistic(features[0], targets, *fold, strength) for fold in folds]
            print(f"logistic regression, strength {strength:g}: {means(found)}", flush=True)
        for hidden, *plan in chosen.heads:
            found = [head(features, targets, *fold, hidden, *plan) for fold in folds]
            print(hidden, *plan, means(found), flush=True)


def head_setting(text: str) -> tuple[list[int], int, int, float]:
    """Read a head's setting from the command line."""
    hidden, epochs, views, lr = text.split(":")
    return [int(hidden)] if hidden else [], int(epochs), int(views), float(lr)


def means(found: list[dict[str, float]]) -> str:
    """Write the mean over the folds of each figure."""
    return ", ".join(f"{name} {np.mean([row[name] for row in found]):.4f}" for name in found[0])


def training_features(
    scratch: Path, chosen: argparse.Namespace
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prepare the archive and return features [1 + views, n, f] (plain first) and targets [n]."""
    with (scratch / "params.yaml").open("w") as file:
        YAML().dump({"recipes": {chosen.recipe: recipe_of(chosen, 42, None)}}, file)
    for stage in STAGES[:5]:
        python(scratch, "-m", "stages", stage, chosen.recipe)
    python(scratch, "-c", FEATURES, chosen.recipe, str(scratch / "features.pt"), str(VIEWS))
    saved = torch.load(scratch / "features.pt", weights_only=True)
    return saved["features"], saved["targets"]


def head(
    features: torch.Tensor,
    targets: torch.Tensor,
    train: torch.Tensor,
    valid: torch.Tensor,
    hidden: list[int],
    epochs: int,
    views: int,
    lr: float,
) -> dict[str, float]:
    """Fit one head on one fold; return its figures."""
    several = targets.ndim == 2
    outputs = targets.shape[1] if several else int(targets.max()) + 1
    with seeded(1, "h"):
        model = build_head(features.shape[2], outputs, hidden)
    seen = features[1 : views + 1] if views else features[:1]
    batches = FeatureBatches(
        [view[train] for view in seen], [targets[train]] * len(seen),
        features[0][valid], targets[valid], batch_size=64, seed=1, stage="fit_frozen",
    )  # fmt: skip
    setting = Setting(
        stage="fit_frozen", seed=1, plan=Fit(epochs=epochs, lr=lr), lrs=[lr] * 3,
        groups=[[], [], list(model.parameters())], precision="fp32",
        loss=binary_cross_entropy_with_logits if several else cross_entropy,
        measure=measure_several if several else functools.partial(measure, ["error_rate"]),
        device=torch.device("cpu"), training_mode=lambda network: network.train(),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        history = fit(model, batches, setting, Checkpoint(Path(folder), "key"), lambda _: None)
    last = history.epochs[-1]
    return {name: last[name] for name in (SEVERAL if several else ("error_rate",))}


def measure_several(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Measure logits of several labels."""
    return figures(sigmoid(outputs.numpy()), targets.numpy())


def figures(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return mean average precision, and the accuracy of the best of the lessons' thresholds."""
    accuracies = [
        cell_metrics(probabilities, targets, threshold)["accuracy_multi"]
        for threshold in LESSONS_SWEEP
    ]
    precision = float(np.nanmean(average_precisions(probabilities, targets)))
    return dict(zip(SEVERAL, (precision, max(accuracies)), strict=True))


def logistic(
    features: torch.Tensor,
    targets: torch.Tensor,
    train: torch.Tensor,
    valid: torch.Tensor,
    strength: float,
) -> dict[str, float]:
    """Return a logistic regression's figures on one fold."""
    several = targets.ndim == 2
    regression = LogisticRegression(max_iter=500, C=strength)
    model = make_pipeline(
        StandardScaler(), OneVsRestClassifier(regression) if several else regression
    )
    model.fit(features[train], targets[train])
    if several:
        return figures(model.predict_proba(features[valid]), targets[valid].numpy())
    wrong = model.predict(features[valid]) != targets[valid].numpy()
    return {"error_rate": float(wrong.mean())}


if __name__ == "__main__":
    main()
