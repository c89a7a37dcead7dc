"""What `lr_find` and `fit` have in common: the ratings on the device, and the model."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from stages.common.key import content_key, loaded_modules
from stages.common.paths import Paths
from stages.common.tables import (
    parts_row,
    write_epochs,
    write_fit_metrics,
    write_history,
)
from stages.common.torch_setup import set_up_torch, training_device
from stages.ratings_sections import RatingsParams
from thaw.core.errors import UserError
from thaw.core.files import read_json, read_parquet, write_json, write_parquet
from thaw.params.ratings_model import RatingsFit, RatingsModel
from thaw.params.training.lr_test import LRTest
from thaw.params.training.model import Precision
from thaw.ratings.batches import RatingsBatches
from thaw.ratings.gradients import DotProductGradients
from thaw.ratings.metrics import METRICS, errors
from thaw.ratings.model import RatingsNetwork, build_ratings_network
from thaw.training.fit import History, Setting, fit, predict, validate
from thaw.training.lr_curve import Curve
from thaw.training.lr_test import lr_range_test
from thaw.training.model import save_weights
from thaw.training.precision import choose_precision
from thaw.training.resume import Checkpoint


@dataclass(frozen=True)
class RatingsTraining:
    """An opened recipe: ratings and model in place, threads and device chosen."""

    params: RatingsParams
    paths: Paths
    stage: str
    device: torch.device
    precision: Precision
    table: pd.DataFrame
    network: RatingsNetwork

    def batches(self, batch_size: int) -> RatingsBatches:
        """The ratings as tensors on the device."""
        train, valid = (self.table[self.table["split"] == split] for split in ("train", "valid"))
        return RatingsBatches(
            *self._tensors(train), *self._tensors(valid), batch_size, self.params.seed, self.stage
        )

    def _tensors(self, part: pd.DataFrame) -> tuple[Tensor, Tensor]:
        pairs = torch.tensor(part[["user_row", "item_row"]].to_numpy().T)
        ratings = torch.tensor(part["rating"].to_numpy()).unsqueeze(1)
        return pairs.contiguous().to(self.device), ratings.to(self.device)

    def resume_key(self, inputs: list[Path], lr: float) -> str:
        """Hash everything that the fit's result depends on."""
        values = vars(self.params) | {
            "lr": lr,
            "torch": str(torch.__version__),
            "device": self.device.type,
            "resolved_precision": self.precision,
        }
        files = [self.paths.items, self.paths.vocab, *inputs]
        return content_key(values, files, loaded_modules())


def open_ratings(params: RatingsParams, paths: Paths, stage: str) -> RatingsTraining:
    """Set threads, choose device and precision, read the ratings, build the model."""
    set_up_torch(params.threads)
    device = training_device()
    table = read_parquet(paths.items)
    check_reach(params.model, table["rating"])
    vocabulary = read_json(paths.vocab)
    users, items = len(vocabulary["users"]), len(vocabulary["items"])
    network = build_ratings_network(users, items, params.model, params.seed).to(device)
    return RatingsTraining(
        params=params,
        paths=paths,
        stage=stage,
        device=device,
        precision=choose_precision(params.precision, device, network),
        table=table,
        network=network,
    )


def check_reach(model: RatingsModel, ratings: pd.Series) -> None:
    """Refuse a range that leaves ratings out.

    Raises:
        UserError: with both ranges.
    """
    low, high = model.y_range or (ratings.min(), ratings.max())
    if ratings.min() < low or ratings.max() > high:
        raise UserError(
            f"model.y_range [{low:g}, {high:g}] cannot reach the ratings, {ratings.min():g} to "
            f"{ratings.max():g}. Make it a little wider than these."
        )


def test_rates(training: RatingsTraining, plan: LRTest) -> Curve:
    """Run the LR test."""
    return lr_range_test(
        training.network,
        training.batches(plan.batch_size),
        plan,
        stage=training.stage,
        seed=training.params.seed,
        groups=[list(training.network.parameters())],
        loss=mse_loss,
        precision=training.precision,
        device=training.device,
        training_mode=lambda model: model.train(),
    )


def fit_ratings(
    training: RatingsTraining, plan: RatingsFit, lr: float, suggestion: Path
) -> dict[str, float]:
    """Fit the model; write histories, metrics, model and predictions of the held-out ratings.

    Returns:
        fit_seconds: of the fit alone, its validation and files included, imports not.
    """
    paths, stage = training.paths, training.stage
    network, batches = training.network, training.batches(plan.batch_size)
    by_hand = None
    if network.layers is None and (training.precision, training.device.type) == ("fp32", "cpu"):
        by_hand = DotProductGradients(network)
    setting = Setting(
        stage=stage,
        seed=training.params.seed,
        plan=plan,
        lrs=[lr],
        groups=[[by_hand.rows] if by_hand else list(network.parameters())],
        loss=mse_loss,
        measure=measure,
        precision=training.precision,
        device=training.device,
        training_mode=lambda model: model.train(),
        gradients=by_hand,
    )
    checkpoint = Checkpoint(paths.resume(stage), training.resume_key([suggestion], lr))

    def write(history: History) -> None:
        write_history(history, METRICS, paths, stage)

    # torch.optim imports the compiler at its first use; that is no time of a fit.
    import torch._dynamo  # noqa: F401

    started = time.perf_counter()
    history = fit(network, batches, setting, checkpoint, write)
    seconds = time.perf_counter() - started
    write(history)
    last = history.epochs[-1] if history.epochs else validate(network, batches, setting)
    last |= parts_row(history)
    write_fit_metrics(last, [lr], batches.items, paths, stage, groups=["all"])
    write_epochs(paths, [stage])
    write_predictions(training, batches)
    write_model_json(training, plan)
    write_json(paths.threshold, {})  # as of points, every answer is taken
    save_weights(paths.model, network)
    checkpoint.delete()
    return {"fit_seconds": round(seconds, 3)}


def write_model_json(training: RatingsTraining, plan: RatingsFit) -> None:
    """Write all that is needed to build and feed the final model, to lie beside its weights."""
    description = {
        "task": "ratings",
        "model": asdict(training.params.model),
        "device": training.device.type,
        "precision": training.precision,
        "weight_decay": plan.weight_decay,
    }
    paths = training.paths
    write_json(paths.model_json, description | read_json(paths.vocab))


def measure(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Measure all predictions of the held-out ratings."""
    return errors(outputs.cpu().numpy(), targets.cpu().numpy())


def write_predictions(training: RatingsTraining, batches: RatingsBatches) -> None:
    """Write what the model predicts for every held-out rating."""
    outputs, _ = predict(training.network, batches, training.precision, training.device)
    valid = training.table[training.table["split"] == "valid"]
    table = valid[["user", "item", "rating"]].assign(
        prediction=outputs.squeeze(1).cpu().numpy(), split="valid"
    )
    write_parquet(training.paths.predictions, table.reset_index(drop=True))
