"""What the four training stages have in common: opening the data and the model."""

import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from stages.common.key import content_key, loaded_modules
from stages.common.paths import SCRATCH, Paths
from stages.common.tables import parts_row, write_fit_metrics, write_history
from stages.common.torch_setup import set_up_torch, training_device
from stages.sections import TrainingParams
from thaw.core.errors import UserError
from thaw.core.files import read_json, require_free_space, write_parquet
from thaw.pack import INDEX, PIXELS, open_packed
from thaw.params.training.data import Data
from thaw.params.training.fit import Fit, metrics_of
from thaw.params.training.lr_test import LRTest
from thaw.params.training.model import Precision
from thaw.training.augment import View, out_of_frame, points_in_image
from thaw.training.batches import FeatureBatches, ImageBatches, Images
from thaw.training.body import channel_statistics
from thaw.training.fit import History, Measure, Setting, fit, predict, validate
from thaw.training.lr_curve import Curve
from thaw.training.lr_test import lr_range_test
from thaw.training.model import (
    Network,
    build_network,
    freeze,
    parameter_groups,
    save_weights,
    training_mode,
    unfreeze,
)
from thaw.training.precision import choose_precision, keep_depthwise_fp32
from thaw.training.resume import Checkpoint
from thaw.vision.compiled_body import fold_and_compile
from thaw.vision.features import FeatureCache, compute_features
from thaw.vision.fixed_norms import apply_norms_in_convolutions, norms_are_applied
from thaw.vision.items import read_items
from thaw.vision.losses import LOSSES
from thaw.vision.metrics import measure, measure_labels, measure_points
from thaw.vision.model_file import ModelFile, write_model_file
from thaw.vision.split_images import split_images
from thaw.vision.task import Task

# All that cached features depend on, apart from settings and files.
FEATURE_MODULES = [
    "stages.training",
    "thaw.core.randomness",
    "thaw.pack",
    *(f"thaw.training.{name}" for name in ("augment", "batches", "body", "model", "precision")),
    *(f"thaw.vision.{name}" for name in ("compiled_body", "features", "folding", "items")),
    *(f"thaw.vision.{name}" for name in ("split_images", "task")),
]


@dataclass(frozen=True)
class Training:
    """An opened recipe: data and model in place, threads and device chosen."""

    params: TrainingParams
    paths: Paths
    stage: str
    device: torch.device
    precision: Precision
    task: Task
    vocab: list[str]
    outputs: int
    held_out: pd.DataFrame
    training: Images
    validation: Images
    network: Network

    def image_batches(self, batch_size: int) -> ImageBatches:
        """Batches of live augmented images."""
        return ImageBatches(
            self.training, self.validation, batch_size, self.params.seed, self.stage
        )

    def resume_key(self, inputs: list[Path], lrs: list[float]) -> str:
        """Hash everything that this stage's result depends on."""
        values = vars(self.params) | {
            "lrs": lrs,
            "torch": str(torch.__version__),
            "device": self.device.type,
            "resolved_precision": self.precision,
        }
        return content_key(values, [*data_files(self.paths), *inputs], loaded_modules())


@dataclass(frozen=True)
class Phase:
    """What a fit or an LR test of one phase works on.

    Attributes:
        model: the part of the network that batches go through.
        batches: its inputs and targets.
        groups: parameters from early to late.
        training_mode: puts `model` into the phase's training mode.
    """

    model: nn.Module
    batches: ImageBatches | FeatureBatches
    groups: list[list[nn.Parameter]]
    training_mode: Callable[[nn.Module], object]


def open_training(params: TrainingParams, paths: Paths, stage: str) -> Training:
    """Set threads, choose device and precision, open the data, build the model.

    The model has its random initial weights; the stage loads what it starts from.
    """
    set_up_torch(params.threads)
    device = training_device()
    vocab = read_json(paths.vocab)
    packed = open_packed(paths.packed)
    task, items = read_items(paths.items, packed, vocab)
    if packed.channels != params.model.channels:
        raise UserError(
            f"recipes.{paths.recipe}.model.channels: {params.model.channels}, but the packed "
            f"images have {packed.channels} (data.channels). Give both the same number."
        )
    if params.model.y_range is not None and task != "points":
        raise UserError(
            f"recipes.{paths.recipe}.model.y_range: {params.model.y_range} is for points, and "
            "these items have classes. Remove it."
        )
    images = split_images(packed, items, task, params.augment, device)
    outputs = len(vocab) or items["train"].targets.shape[1]
    network = build_network(params.model, outputs, params.seed).to(device)
    precision = choose_precision(params.precision, device, network)
    if precision == "bf16" and device.type == "cpu":
        keep_depthwise_fp32(network)
    return Training(
        params=params,
        paths=paths,
        stage=stage,
        device=device,
        precision=precision,
        task=task,
        vocab=vocab,
        outputs=outputs,
        held_out=items["valid"].table,
        training=images["train"],
        validation=images["valid"],
        network=network,
    )


def frozen_phase(training: Training, batch_size: int) -> Phase:
    """Freeze the body; work on its cached features where they cannot change."""
    network, train_bn = training.network, training.params.model.train_bn
    freeze(network, train_bn)
    groups = parameter_groups(network)
    if not training.params.augment.views:
        images = training.image_batches(batch_size)
        return Phase(network, images, groups, lambda m: training_mode(m, train_bn, frozen=True))
    features = feature_batches(training, batch_size)
    return Phase(network.head, features, [[], [], groups[-1]], lambda m: m.train())


def unfrozen_phase(training: Training, batch_size: int) -> Phase:
    """Let everything train, on live images."""
    network, train_bn = training.network, training.params.model.train_bn
    unfreeze(network)
    if norms_are_applied(training.precision, train_bn):
        apply_norms_in_convolutions(network.body)
    return Phase(
        network,
        training.image_batches(batch_size),
        parameter_groups(network),
        lambda m: training_mode(m, train_bn, frozen=False),
    )


def feature_batches(training: Training, batch_size: int) -> FeatureBatches:
    """Look up, or compute, the frozen body's features of every cached view."""
    params, network, device = training.params, training.network, training.device
    cache = FeatureCache(SCRATCH / "features", feature_key(training))

    @functools.cache
    def frozen() -> Network:
        # Only in fp32 is the difference no more than rounding.
        return fold_and_compile(network) if training.precision == "fp32" else network

    def features(name: str, images: Images, view: View) -> torch.Tensor:
        return cache.get(
            name,
            lambda: compute_features(
                frozen(), images, view, training.precision, f"features, {name}"
            ),
        ).to(device)

    views = training.training.cached_views(params.seed)
    plain = training.validation.plain()
    return FeatureBatches(
        views=[features(name, training.training, view) for name, view in views.items()],
        targets=[training.training.targets_in(view).to(device) for view in views.values()],
        valid_features=features("valid", training.validation, plain),
        valid_targets=training.validation.targets_in(plain).to(device),
        batch_size=batch_size,
        seed=params.seed,
        stage=training.stage,
    )


def feature_key(training: Training) -> str:
    """Hash what the frozen body's features depend on; the head and the stage are not part of it."""
    params = training.params
    augment = {name: value for name, value in vars(params.augment).items() if name != "views"}
    values = {
        "seed": params.seed,
        "threads": params.threads,
        "arch": params.model.arch,
        "channels": params.model.channels,
        "augment": augment,
        "torch": str(torch.__version__),
        "device": training.device.type,
        "precision": training.precision,
    }
    files = [*data_files(training.paths), training.paths.pretrained]
    return content_key(values, files, FEATURE_MODULES)


def data_files(paths: Paths) -> list[Path]:
    """Return the files that say what is trained on."""
    return [paths.packed / PIXELS, paths.packed / INDEX, paths.items, paths.vocab]


def test_phase(training: Training, phase: Phase, plan: LRTest) -> Curve:
    """Run the LR test on a phase."""
    return lr_range_test(
        phase.model,
        phase.batches,
        plan,
        stage=training.stage,
        seed=training.params.seed,
        groups=phase.groups,
        loss=LOSSES[training.task],
        precision=training.precision,
        device=training.device,
        training_mode=phase.training_mode,
    )


def measure_of(task: Task, names: list[str], plan: Fit) -> Measure:
    """Return what measures a task's answers."""
    match task:
        case "label":
            return functools.partial(
                measure, names, top_k=plan.metric_top_k, threshold=plan.metric_threshold
            )
        case "labels":
            return functools.partial(measure_labels, names, threshold=plan.metric_threshold)
        case "points":
            return functools.partial(measure_points, names)


def fit_phase(
    training: Training, phase: Phase, plan: Fit, lrs: list[float], inputs: list[Path]
) -> tuple[Checkpoint, dict[str, float]]:
    """Fit a phase, resuming where a killed run stopped, and write its histories and metrics.

    Returns:
        The checkpoint, to be deleted once the model is written as well; and seconds_per_epoch, if
        there was one.
    """
    paths, stage = training.paths, training.stage
    metrics = metrics_of(training.task, plan.metrics, stage)
    setting = Setting(
        stage=stage,
        seed=training.params.seed,
        plan=plan,
        lrs=lrs,
        groups=phase.groups,
        loss=LOSSES[training.task],
        measure=measure_of(training.task, metrics, plan),
        precision=training.precision,
        device=training.device,
        training_mode=phase.training_mode,
    )
    weights = sum(tensor.nbytes for tensor in training.network.state_dict().values())
    # The model, and a checkpoint (weights and two moments) beside the one that it replaces.
    require_free_space(paths.resume(stage), 7 * weights, stage)
    checkpoint = Checkpoint(paths.resume(stage), training.resume_key(inputs, lrs))

    def write(history: History) -> None:
        write_history(history, metrics, paths, stage)

    history = fit(phase.model, phase.batches, setting, checkpoint, write)
    write(history)
    last = history.epochs[-1] if history.epochs else validate(phase.model, phase.batches, setting)
    told = lost_points(training, phase, plan.epochs) | parts_row(history)
    write_fit_metrics(last | told, lrs, phase.batches.items, paths, stage)
    return checkpoint, epoch_rate(history)


def epoch_rate(history: History) -> dict[str, float]:
    """Return the mean seconds of an epoch, if this process ran one."""
    if not history.seconds:
        return {}
    return {"seconds_per_epoch": round(statistics.fmean(history.seconds), 3)}


def lost_points(training: Training, phase: Phase, epochs: int) -> dict[str, float]:
    """Count the points that cropping and augmentation moved out of the frame, if there are any.

    Returns:
        train_points_out_of_frame, over all epochs, and valid_points_out_of_frame.
    """
    if training.task != "points":
        return {}
    images = training.validation
    lost = sum(out_of_frame(phase.batches.training_targets(epoch)) for epoch in range(epochs))
    kept_out = out_of_frame(images.targets_in(images.plain()))
    if lost or kept_out:
        print(f"points out of the frame: {lost} in {epochs} epochs, {kept_out} held-out ones.")
    return {"train_points_out_of_frame": lost, "valid_points_out_of_frame": kept_out}


def write_predictions(training: Training, phase: Phase) -> None:
    """Write the final outputs on every held-out item, so that nothing later needs the model.

    Labels: ``logits``. Points: ``prediction`` beside ``target``, both in pixels of the upright
    original; ``frame``, the left, top, right and bottom of what the model saw of it; and the other
    columns of the items table, to compare groups by.
    """
    outputs, _ = predict(phase.model, phase.batches, training.precision, training.device)
    if training.task == "points":
        images, seen = training.validation, training.validation.plain()
        corners = torch.tensor([-1.0, -1.0, 1.0, 1.0]).repeat(len(images.rows), 1)
        pixels, frames = (
            images.packed.to_pixels(images.rows.numpy(), points_in_image(points, seen).numpy())
            for points in (outputs.cpu(), corners)
        )
        table = training.held_out.assign(prediction=list(pixels), frame=list(frames))
    else:
        table = training.held_out[["path", "split", "label", "target"]]
        table = table.assign(logits=list(outputs.cpu().numpy()))
    write_parquet(training.paths.predictions, table.reset_index(drop=True))


def write_model(training: Training, data: Data) -> None:
    """Write the final weights, and beside them all that is needed to build and feed the model."""
    params = training.params
    mean, std = channel_statistics(params.model.channels)
    content = ModelFile(
        task=training.task,
        model=params.model,
        vocab=training.vocab,
        outputs=training.outputs,
        presize=data.presize,
        image_side=params.augment.image_side,
        resize=params.augment.resize,
        mean=mean,
        std=std,
        device=training.device.type,
        precision=training.precision,
        bands=data.bands,
        augmented=params.augment,
    )
    write_model_file(training.paths.model_json, content)
    save_weights(training.paths.model, training.network)
