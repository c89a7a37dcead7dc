"""Record numbers that fastai computes, for parity tests to compare with.

Runs in an environment of its own, because fastai is no dependency of this project:

    uv venv fastai-env
    uv pip install -p fastai-env fastai==2.8.12 torch==2.15.0 torchvision==0.29.2
    fastai-env/bin/python benchmarks/fastai_reference.py

It calls fastai on small given inputs, needs no network and no weights, takes half a minute, and
writes tests/unit/fastai_reference.json: inputs and outputs side by side, floats with nine
significant digits, which hold a float32 exactly. The tests read that file only.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fastai
import numpy as np
import torch
import torchvision
from fastai.basics import (
    Adam,
    AvgMetric,
    AvgSmoothLoss,
    Callback,
    CrossEntropyLossFlat,
    DataLoader,
    DataLoaders,
    Learner,
    accuracy,
    error_rate,
    params,
)
from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.layers import AdaptiveConcatPool2d
from fastai.vision.augment import (
    Brightness,
    Contrast,
    Flip,
    Rotate,
    Warp,
    Zoom,
    affine_grid,
    setup_aug_tfms,
)
from fastai.vision.core import TensorImage, TensorPoint
from fastai.vision.learner import create_vision_model, default_split, model_meta
from torch import Tensor, nn

OUTPUT = Path(__file__).parent.parent / "tests" / "unit" / "fastai_reference.json"

Json = Any


class Watch(Callback):
    """Note what each training step used and left behind, one entry of `phases` per fit."""

    order = 70  # after the scheduler (60), so that `before_step` sees what the step will use
    run_valid = False

    def __init__(self) -> None:
        """Begin with no phase."""
        self.phases: list[dict[str, list[Any]]] = []

    def before_fit(self) -> None:
        """Begin a phase."""
        self.phases.append({"lr": [], "momentum": [], "loss": [], "parameters": []})

    def before_step(self) -> None:
        """Note rates, momentum and loss."""
        phase = self.phases[-1]
        phase["lr"].append([group["lr"] for group in self.opt.hypers])
        momenta = {group["mom"] for group in self.opt.hypers}
        assert len(momenta) == 1, "one momentum for all groups was expected"
        phase["momentum"].append(momenta.pop())
        phase["loss"].append(self.learn.loss.item())

    def after_step(self) -> None:
        """Note parameters and buffers."""
        self.phases[-1]["parameters"].append(state(self.model))


def state(model: nn.Module) -> dict[str, Json]:
    """Copy a model's parameters and buffers as nested lists."""
    return {name: value.tolist() for name, value in model.state_dict().items()}


def learner(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    batches: int,
    folder: Path,
    loss: Callable[..., Tensor] | None = None,
    **options: Any,
) -> tuple[Learner, Watch]:
    """Make a learner whose epochs are `batches` times the same batch (x, y), in this order."""
    items = list(zip(x, y, strict=True))
    train = DataLoader(items * batches, bs=len(items), shuffle=False, num_workers=0)
    valid = DataLoader(items, bs=len(items), shuffle=False, num_workers=0)
    watch = Watch()
    data = DataLoaders(train, valid, path=folder, device=torch.device("cpu"))
    loss = loss or CrossEntropyLossFlat()
    return Learner(data, model, loss, cbs=watch, **options), watch


def round_parameters(model: nn.Module) -> None:
    """Round to 4 decimals: short to store, and the same float32 when read back."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.tensor(np.round(parameter.double().numpy(), 4)))


def batch(generator: torch.Generator, items: int, classes: int) -> tuple[Tensor, Tensor]:
    """Draw four rounded features and a class for each item."""
    x = torch.randn(items, 4, generator=generator, dtype=torch.float64)
    return (x * 1000).round().div(1000).float(), torch.arange(items) % classes


def three_groups() -> nn.Sequential:
    """Build a model of three parameter groups, two of them with a batch norm."""
    return nn.Sequential(
        nn.Sequential(nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5)),
        nn.Sequential(nn.ReLU(), nn.Linear(5, 4), nn.BatchNorm1d(4)),
        nn.Sequential(nn.ReLU(), nn.Linear(4, 3)),
    )


def split_groups(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """Make each child of the model a parameter group."""
    return [params(child) for child in model]


def one_cycle(folder: Path) -> Json:
    """Rates and momentum of every step of `fit_one_cycle` with fastai's defaults."""
    torch.manual_seed(1)
    x, y = batch(torch.Generator().manual_seed(1), 6, 3)
    runs = {}
    for name, rate in {"scalar": 3e-3, "spread": slice(1e-6, 1e-4)}.items():
        model = three_groups()
        learn, watch = learner(model, x, y, 7, folder, splitter=split_groups)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(3, rate)
        phase = watch.phases[0]
        runs[name] = {"lr_max": spelled(rate), "lr": phase["lr"], "momentum": phase["momentum"]}
    return {
        "epochs": 3,
        "batches": 7,
        "pct_start": 0.25,
        "div": 25.0,
        "div_final": 1e5,
        "moms": [0.95, 0.85, 0.95],
        **runs,
    }


def spelled(rate: float | slice) -> Json:
    """Write a rate as JSON: a number, or start and stop of a slice."""
    return [rate.start, rate.stop] if isinstance(rate, slice) else rate


def fine_tune(folder: Path) -> Json:
    """Both phases of `fine_tune`, with what they train and where they end."""
    torch.manual_seed(2)
    model = three_groups()
    round_parameters(model)
    initial = state(model)
    x, y = batch(torch.Generator().manual_seed(2), 8, 3)
    trained: list[list[str]] = []

    class Trained(Callback):
        def before_fit(self) -> None:  # runs once a phase
            trained.append([n for n, p in self.model.named_parameters() if p.requires_grad])

    learn, watch = learner(model, x, y, 5, folder, splitter=split_groups)
    learn.add_cb(Trained())
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(2, base_lr=2e-3, freeze_epochs=1)
    phases = {
        name: {
            "trained": names,
            "lr": phase["lr"],
            "momentum": phase["momentum"],
            "loss": phase["loss"],
            "end": phase["parameters"][-1],
        }
        for name, names, phase in zip(("frozen", "unfrozen"), trained, watch.phases, strict=True)
    }
    return {
        "base_lr": 2e-3,
        "freeze_epochs": 1,
        "epochs": 2,
        "batches": 5,
        "weight_decay": 0.01,
        "x": x.tolist(),
        "y": y.tolist(),
        "initial": initial,
        **phases,
    }


def group_rates() -> Json:
    """Rates that three groups get from a number, a slice with a stop, and a full slice."""
    found = []
    for rate in (1e-3, slice(1e-3), slice(1e-6, 1e-4)):
        optimizer = Adam(split_groups(three_groups()), lr=1.0)
        optimizer.set_hyper("lr", rate)
        found.append({"given": spelled(rate), "lr": [g["lr"] for g in optimizer.hypers]})
    return found


def adamw(folder: Path) -> Json:
    """Every parameter and buffer after each of ten one-cycle steps on one batch."""
    torch.manual_seed(3)
    drawn = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    with torch.no_grad():  # ones and zeros would hide a decay that should not be there
        drawn[1].weight.uniform_(0.5, 1.5)
        drawn[1].bias.uniform_(-0.5, 0.5)
    round_parameters(drawn)
    x, y = batch(torch.Generator().manual_seed(3), 8, 2)
    runs = {}
    for name, decay in {"wd_0.1": 0.1, "wd_default": None}.items():
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
        model.load_state_dict(drawn.state_dict())
        learn, watch = learner(model, x, y, 5, folder)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(2, 1e-2, wd=decay)
        phase = watch.phases[0]
        runs[name] = {
            "weight_decay": learn.opt.hypers[0]["wd"],
            "beta2": learn.opt.hypers[0]["sqr_mom"],
            "eps": learn.opt.hypers[0]["eps"],
            "lr": [groups[0] for groups in phase["lr"]],
            "momentum": phase["momentum"],
            "loss": phase["loss"],
            "smoothed": [value.item() for value in learn.recorder.losses],
            "valid_loss": [float(row[1]) for row in learn.recorder.values],
            "after_step": {
                key: [step[key] for step in phase["parameters"]] for key in model.state_dict()
            },
        }
    return {
        "epochs": 2,
        "batches": 5,
        "lr_max": 1e-2,
        "x": x.tolist(),
        "y": y.tolist(),
        "initial": state(drawn),
        **runs,
    }


def loss_curves() -> dict[str, list[float]]:
    """Draw raw losses of LR range tests, rounded to 5 decimals."""
    steps = np.arange(100)
    rate = 1e-7 * 1e8 ** (steps / 100)
    noise = np.random.default_rng(7).normal(size=(4, 100))
    fall = 3.6 - 2.4 / (1 + (2e-3 / rate) ** 0.8)
    typical = fall + (rate / 2.0) ** 2 + 0.02 * noise[0]
    noisy = fall + (rate / 1.5) ** 2 + 0.35 * noise[1]
    diverging = fall + 0.02 * noise[2] + np.where(steps >= 60, 2.0 * 1.35 ** (steps - 60), 0)
    short = 1 + 0.02 * noise[3] + np.where(steps >= 8, 30.0 * (steps - 7), 0)
    curves = {"typical": typical, "noisy": noisy, "diverging": diverging, "short": short}
    return {name: np.round(curve, 5).tolist() for name, curve in curves.items()}


def lr_find(folder: Path) -> Json:
    """Smoothed losses, last step and suggestions of `Learner.lr_find` on given raw losses."""
    found = {}
    for name, raw in loss_curves().items():
        suggestions: dict[str, Json] = {}
        for rule in (valley, minimum, steep, slide):
            left = iter(raw)

            def given(prediction: Tensor, _: Tensor, left: Any = left) -> Tensor:
                return prediction.sum() * 0 + next(left)

            x, y = torch.ones(1, 1), torch.zeros(1)
            learn, watch = learner(nn.Linear(1, 1), x, y, 20, folder, loss=given)
            with learn.no_bar(), learn.no_logging():
                try:
                    (rate,) = learn.lr_find(suggest_funcs=rule, show_plot=False)
                    suggestions[rule.__name__] = rate
                except (IndexError, RuntimeError, ValueError) as error:
                    suggestions[rule.__name__] = {"fails_with": type(error).__name__}
            smoothed = [value.item() for value in learn.recorder.losses]
        found[name] = {
            "loss": raw,
            "steps": len(smoothed),
            "smoothed": smoothed,
            "suggestions": suggestions,
        }
        assert [groups[0] for groups in watch.phases[0]["lr"]] == learn.recorder.lrs
        if len(smoothed) == 100:
            rates = learn.recorder.lrs
    return {
        "start_lr": 1e-7,
        "end_lr": 10.0,
        "num_it": 100,
        "beta": 0.98,
        "lr": rates,
        "points_used": [10, -5],
        "curves": found,
    }


def head() -> Json:
    """Group sizes of whole models, and the head's layers in order."""
    networks = {}
    for name in ("resnet18", "resnet34", "resnet50", "mobilenet_v2"):
        arch = getattr(torchvision.models, name)
        meta = model_meta.get(arch, {"cut": -1, "split": default_split})
        options = {} if arch in model_meta else {"weights": None, "cut": meta["cut"]}
        torch.manual_seed(4)
        model = create_vision_model(arch, 37, pretrained=False, **options)
        groups = [sum(p.numel() for p in group) for group in meta["split"](model)]
        networks[name] = {"groups": groups, "total": sum(groups)}
        if name == "resnet34":
            layers = model[1]
    linears = [m for m in layers.modules() if isinstance(m, nn.Linear)]
    return {
        "classes": 37,
        "features": 512,
        "models": networks,
        "layers": [attributes(m) for m in leaves(layers)],
        "init": [
            {
                "fan_in": m.in_features,
                "std_expected": math.sqrt(2 / m.in_features),
                "std_drawn": m.weight.std().item(),
                "mean_drawn": m.weight.mean().item(),
            }
            for m in linears
        ],
    }


def leaves(module: nn.Module) -> list[nn.Module]:
    """List the layers in order; the two pools of a concat pool count as one layer."""
    children = list(module.children())
    if not children or isinstance(module, AdaptiveConcatPool2d):
        return [module]
    return [leaf for child in children for leaf in leaves(child)]


def attributes(module: nn.Module) -> dict[str, Json]:
    """Describe a layer by its class and the plain attributes that define it."""
    if isinstance(module, AdaptiveConcatPool2d):
        image = torch.tensor([[[[0.0, 4.0], [0.0, 0.0]]]])  # mean 1, maximum 4
        names = {1.0: "avg", 4.0: "max"}
        order = [names[value] for value in module(image).flatten().tolist()]
        return {"class": "AdaptiveConcatPool2d", "output_size": module.size, "order": order}
    known = ("in_features", "out_features", "num_features", "eps", "momentum", "p")
    found = {k: getattr(module, k) for k in known if hasattr(module, k)}
    description = {"class": type(module).__name__, **found}
    if isinstance(module, nn.Linear):
        description["bias"] = module.bias is not None
    if isinstance(module, nn.BatchNorm1d):
        description["initial_weight"] = module.weight.unique().tolist()
        description["initial_bias"] = module.bias.unique().tolist()
    return description


def chosen(
    angle: float | None = None,
    zoom: tuple[float, float, float] | None = None,
    flip: bool = False,
    warp: tuple[float, float] | None = None,
    **options: Any,
) -> Any:
    """Compose fastai's transforms with given draws, in the order of its `aug_transforms`."""
    options = {"p": 1.0, "align_corners": True, **options}
    made: list[Any] = []
    if flip:
        made.append(Flip(draw=1, **options))
    if warp:
        made.append(Warp(draw_x=warp[0], draw_y=warp[1], **options))
    if angle is not None:
        made.append(Rotate(draw=angle, **options))
    if zoom:
        made.append(Zoom(draw=zoom[0], draw_x=zoom[1], draw_y=zoom[2], **options))
    (transform,) = setup_aug_tfms(made)
    return transform


def affine() -> Json:
    """Matrices from output to input, warped grids, moved points and resampled images."""
    generator = np.random.default_rng(5)
    points = np.round(generator.uniform(-1, 1, (6, 2)), 3)
    small = np.round(generator.uniform(0, 1, (6, 8)), 3)
    large = np.round(generator.uniform(0, 1, (12, 16)), 3)
    single = [
        {"angle": 10.0},
        {"angle": -7.5},
        {"zoom": (1.1, 0.5, 0.5)},
        {"zoom": (1.25, 0.2, 0.9)},
        {"flip": True},
        {"warp": (0.2, 0.0)},
        {"warp": (0.0, -0.15)},
        {"warp": (0.1, 0.2)},
    ]
    together = [
        {"angle": 10.0, "zoom": (1.1, 0.3, 0.8)},
        {"angle": -7.5, "flip": True},
        {"angle": 9.0, "zoom": (1.05, 0.1, 0.6), "flip": True},
        {"angle": -4.0, "zoom": (1.1, 0.7, 0.25), "flip": True, "warp": (0.15, -0.2)},
        {"angle": 6.0, "zoom": (1.08, 0.4, 0.9), "warp": (-0.1, 0.05)},
    ]
    cases = [
        {
            **case,
            "height_width": list(shape),
            **moved(case, shape, points),
        }
        for case in single + together
        for shape in ((64, 64), (60, 80))
    ]
    # Square images shrunk below half their side are averaged over areas first. For others fastai
    # divides the height by the output's width and the width by 2 to decide on that step and on
    # its factor, so `axes_mixed_up` is nothing to match.
    sources = {"small": small, "large": large, "square": large[:, :12]}
    images = [
        {
            "source": source,
            **case,
            "out": list(shape),
            "axes_mixed_up": mixed_up,
            "image": sampled(case, sources[source], shape),
        }
        for source, case, shape, mixed_up in (
            ("small", {"angle": 9.0}, (6, 8), False),
            ("small", together[3], (6, 8), False),
            ("small", together[3], (5, 5), False),
            ("large", {"zoom": (1.0, 0.5, 0.5)}, (6, 8), False),
            ("square", {"zoom": (1.0, 0.5, 0.5)}, (6, 6), False),  # exactly half: no area step
            ("square", {"zoom": (1.0, 0.5, 0.5)}, (4, 4), False),  # area step to 8 x 8
            ("square", together[3], (4, 4), False),
            ("large", {"zoom": (1.0, 0.5, 0.5)}, (4, 5), True),
        )
    ]
    return {
        "points": points.tolist(),
        "cases": cases,
        "small": small.tolist(),
        "large": large.tolist(),
        "square": sources["square"].tolist(),
        "images": images,
    }


def moved(case: dict[str, Any], shape: tuple[int, int], points: np.ndarray) -> dict[str, Json]:
    """Return matrix (2, 3), sampling grid (5, 5, 2) of (x, y), and moved points (n, 2)."""
    transform = chosen(**case)
    image = TensorImage(torch.zeros(1, 1, *shape))
    labels = TensorPoint(torch.tensor(points, dtype=torch.float32)[None], img_size=shape[::-1])
    _, after = transform((image, labels), split_idx=0)
    grid = affine_grid(transform.mat, (1, 1, 5, 5), align_corners=True)
    for warp in transform.coord_fs:
        grid = warp(grid)
    return {
        "matrix": transform.mat[0].tolist(),
        "grid": torch.as_tensor(grid)[0].tolist(),
        "points_after": torch.as_tensor(after)[0].tolist(),
    }


def sampled(case: dict[str, Any], pixels: np.ndarray, size: tuple[int, int]) -> Json:
    """Resample a one-channel image (h, w) with reflection padding."""
    transform = chosen(**case, size=size)
    image = TensorImage(torch.tensor(pixels, dtype=torch.float32)[None, None])
    return torch.as_tensor(transform(image, split_idx=0))[0, 0].tolist()


def lighting() -> Json:
    """Pixels after brightness, contrast and both; the ends 0 and 1 show the clamp."""
    pixels = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]
    cases = []
    for change in (None, 0.4, 0.6):
        for factor in (None, 0.8, 1.25):
            made = [] if change is None else [Brightness(p=1.0, draw=change)]
            made += [] if factor is None else [Contrast(p=1.0, draw=factor)]
            if not made:
                continue
            (transform,) = setup_aug_tfms(made)
            image = TensorImage(torch.tensor(pixels).expand(1, 3, 1, -1).contiguous())
            after = torch.as_tensor(transform(image, split_idx=0))[0, 0, 0].tolist()
            cases.append({"brightness": change, "contrast": factor, "after": after})
    return {"pixels": pixels, "cases": cases}


def metrics() -> Json:
    """Accuracy and error rate of unequal batches, and the smoothed training loss."""
    generator = np.random.default_rng(6)
    outputs = np.round(generator.normal(size=(11, 4)), 2)
    targets = generator.integers(0, 4, 11)
    losses = np.round(2 * np.exp(-np.arange(25) / 8) + generator.uniform(0, 0.3, 25), 4)
    pred, y = torch.tensor(outputs, dtype=torch.float32), torch.tensor(targets)
    averages: dict[str, float] = {}
    for metric in (accuracy, error_rate):
        average = AvgMetric(metric)
        average.reset()
        for rows in (slice(0, 4), slice(4, 8), slice(8, 11)):
            part = type("Part", (), {})()
            part.pred, part.y, part.yb = pred[rows], y[rows], (y[rows],)
            part.to_detach = lambda value: value
            average.accumulate(part)
        averages[f"{metric.__name__}_of_batches_4_4_3"] = float(average.value)
    smooth, smoothed = AvgSmoothLoss(beta=0.98), []
    smooth.reset()
    for loss in losses:
        part = type("Part", (), {"loss": torch.tensor(loss, dtype=torch.float32)})()
        smooth.accumulate(part)
        smoothed.append(smooth.value.item())
    return {
        "outputs": outputs.tolist(),
        "targets": targets.tolist(),
        "accuracy": accuracy(pred, y).item(),
        "error_rate": error_rate(pred, y).item(),
        **averages,
        "losses": losses.tolist(),
        "smoothed": smoothed,
        "beta": 0.98,
    }


def rounded(value: Json) -> Json:
    """Turn every number into a plain one and keep nine significant digits of floats."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.9g}")
    return value


def lines(value: Json, indent: str = "") -> str:
    """Write JSON with a line per key, and per row of a table too long for a line."""
    compact = json.dumps(value, allow_nan=False)
    if not isinstance(value, dict | list) or not value or len(indent + compact) <= 100:
        return compact
    deeper = indent + " "
    if isinstance(value, dict):
        rows = [f"{deeper}{json.dumps(k)}: {lines(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if not any(isinstance(each, dict | list) for each in value):
        return compact
    rows = [deeper + lines(each, deeper) for each in value]
    return "[\n" + ",\n".join(rows) + f"\n{indent}]"


def main() -> None:
    """Compute everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Json]] = {
            "one_cycle": partial(one_cycle, folder),
            "fine_tune": partial(fine_tune, folder),
            "group_rates": group_rates,
            "adamw": partial(adamw, folder),
            "lr_find": partial(lr_find, folder),
            "head": head,
            "affine": affine,
            "lighting": lighting,
            "metrics": metrics,
        }
        found = {
            "made_by": "benchmarks/fastai_reference.py",
            "versions": {
                "fastai": fastai.__version__,
                "torch": torch.__version__.split("+")[0],
                "torchvision": torchvision.__version__.split("+")[0],
            },
            **{name: compute() for name, compute in parts.items()},
        }
    output.write_text(lines(rounded(found)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
