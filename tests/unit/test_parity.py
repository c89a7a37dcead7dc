"""The same numbers as fastai 2.8.12, from small given inputs.

tests/unit/fastai_reference.json holds what fastai computed (benchmarks/fastai_reference.py).
Differences on purpose, which these tests leave out:

- fastai starts the biases of the head's batch norms at 0.001 (an accident of its `nn.init` calls);
  ours start at 0.
- fastai counts coordinates between the centres of the outermost pixels (`align_corners=True`);
  ours run from edge to edge. So matrices, grids and points are compared and resampled images are
  not; nor is fastai's area averaging before strong shrinking, which mixes up the axes.
- On an oblong image fastai turns the shift of an off-centre zoom by an angle measured in its
  stretched coordinates. Ours turns it as it turns everything else.
"""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from thaw.params.training.augment import Augment
from thaw.params.training.lr_test import LRTest
from thaw.training.augment import flips, relight_, rotations, warp_matrices, zooms
from thaw.training.body import Body
from thaw.training.fit import fit
from thaw.training.lr_curve import suggest
from thaw.training.lr_test import lr_range_test, range_lrs
from thaw.training.model import Network, build_head, freeze, training_mode, unfreeze
from thaw.training.resume import Checkpoint
from thaw.training.schedule import group_lrs, one_cycle
from thaw.training.smoothing import Smoothed
from thaw.vision.metrics import measure

pytestmark = pytest.mark.usefixtures("one_thread")

LR = {"rel": 1e-6, "abs": 0}
SMOOTHED = {"rel": 2e-6, "abs": 0}
WEIGHTS = {"rel": 0, "abs": 1e-6}
# A bias before a batch norm has no gradient but rounding noise, which Adam magnifies. Validation
# sees it, as the running mean lags behind it; training does not.
NOISE = {"rel": 0, "abs": 1e-4}
ONE_CYCLE = {"pct_start": 0.25, "div": 25.0, "div_final": 1e5, "moms": [0.95, 0.85, 0.95]}


class SameBatch:
    """The same batch again and again, as fastai was given it; keeps the model's states."""

    def __init__(self, model: nn.Module, recorded: dict, batches: int) -> None:
        self.model = model
        self.x, self.y = torch.tensor(recorded["x"]), torch.tensor(recorded["y"])
        self.batches = batches
        self.after_step: list[dict[str, Tensor]] = []

    @property
    def items(self) -> int:
        return self.batches * len(self.x)

    @property
    def valid_items(self) -> int:
        return len(self.x)

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.batches):
            yield self.x, self.y
            state = self.model.state_dict()
            self.after_step.append({name: t.clone() for name, t in state.items()})

    def valid(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.x, self.y


def close(found, recorded, tolerance):
    """Compare two numbers or (nested) lists of numbers of the same shape."""
    a = torch.as_tensor(found, dtype=torch.float64)
    b = torch.tensor(recorded, dtype=torch.float64)
    assert a.shape == b.shape
    return bool(((a - b).abs() <= tolerance["abs"] + tolerance["rel"] * b.abs()).all())


def test_the_recorded_numbers_are_of_the_named_version(fastai):
    assert fastai["versions"]["fastai"] == "2.8.12"


@pytest.mark.parametrize("run", ["scalar", "spread"])
def test_one_cycle_gives_fastais_rates_and_momenta_at_every_step(fastai, run):
    recorded = fastai["one_cycle"]
    given = {name: recorded[name] for name in ("pct_start", "div", "div_final", "moms")}
    assert given == ONE_CYCLE

    steps = one_cycle(
        recorded["epochs"] * recorded["batches"], group_lrs(recorded[run]["lr_max"]), **given
    )

    assert close([step.lrs for step in steps], recorded[run]["lr"], LR)
    assert close([step.momentum for step in steps], recorded[run]["momentum"], LR)


def test_group_rates_are_fastais_slices(fastai):
    for case in fastai["group_rates"]:
        given = case["given"]
        if isinstance(given, list) and given[0] is None:  # slice(b): all but the head a tenth
            given = [given[1] / 10, given[1] / 10, given[1]]
        assert close(group_lrs(given), case["lr"], LR)


@pytest.mark.parametrize("run", ["wd_0.1", "wd_default"])
def test_adamw_leaves_fastais_parameters_after_every_step(fastai, tmp_path, make_setting, run):
    recorded = fastai["adamw"]
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model.load_state_dict({name: torch.tensor(t) for name, t in recorded["initial"].items()})
    batches = SameBatch(model, recorded, recorded["batches"])
    losses: list[float] = []
    setting = make_setting(
        [list(model.parameters())],
        [recorded["lr_max"]],
        loss=remembering(losses),
        epochs=recorded["epochs"],
        batch_size=len(recorded["x"]),
        weight_decay=recorded[run]["weight_decay"],
    )

    history = fit(model, batches, setting, Checkpoint(tmp_path, "key"), lambda history: None)

    fastais = recorded[run]
    assert close([row["lr"] for row in history.steps], fastais["lr"], LR)
    assert close([row["momentum"] for row in history.steps], fastais["momentum"], LR)
    assert close([row["loss"] for row in history.steps], fastais["smoothed"], SMOOTHED)
    assert close([row["valid_loss"] for row in history.epochs], fastais["valid_loss"], NOISE)
    assert close(losses[:5] + losses[6:11], fastais["loss"], WEIGHTS)
    for name, steps in fastais["after_step"].items():
        tolerance = NOISE if name in ("0.bias", "1.running_mean") else WEIGHTS
        assert close(torch.stack([s[name] for s in batches.after_step]), steps, tolerance), name


def remembering(losses: list[float]):
    """Cross-entropy that keeps each value, those of validation included."""

    def loss(outputs, targets):
        value = nn.functional.cross_entropy(outputs, targets)
        losses.append(value.item())
        return value

    return loss


class BodyAndHead(nn.Module):
    """fastai's little model of three groups, divided as `thaw.training.model` divides one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Sequential(nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5)),
            nn.Sequential(nn.ReLU(), nn.Linear(5, 4), nn.BatchNorm1d(4)),
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def fastais_name(name: str) -> str:
    return name.removeprefix("body.") if name.startswith("body.") else f"2{name[4:]}"


def test_both_phases_of_fine_tune_end_with_fastais_weights(fastai, tmp_path, make_setting):
    recorded = fastai["fine_tune"]
    rate = recorded["base_lr"]
    model = BodyAndHead()
    names = {name: fastais_name(name) for name in model.state_dict()}
    initial = {name: torch.tensor(recorded["initial"][f]) for name, f in names.items()}
    model.load_state_dict(initial)
    groups = [list(part.parameters()) for part in (*model.body, model.head)]
    phases = {  # as params.yaml says it
        "frozen": {"lrs": [rate / 10, rate / 10, rate], "pct_start": 0.99},
        "unfrozen": {"lrs": group_lrs([rate / 200, rate / 2]), "pct_start": 0.3, "div": 5.0},
    }
    for phase, options in phases.items():
        frozen = phase == "frozen"
        if frozen:
            freeze(model, train_bn=True)
        else:
            unfreeze(model)
        epochs = recorded["freeze_epochs" if frozen else "epochs"]
        losses: list[float] = []
        setting = make_setting(
            groups,
            loss=remembering(losses),
            epochs=epochs,
            batch_size=len(recorded["x"]),
            weight_decay=recorded["weight_decay"],
            training_mode=lambda m, frozen=frozen: training_mode(m, train_bn=True, frozen=frozen),
            **options,
        )
        batches = SameBatch(model, recorded, recorded["batches"])
        seen = record_steps(setting, recorded["batches"])

        history = fit(model, batches, setting, Checkpoint(tmp_path, phase), lambda history: None)

        fastais = recorded[phase]
        trained = [names[name] for name, p in model.named_parameters() if p.requires_grad]
        assert trained == fastais["trained"]
        assert close([step.lrs for step in seen], fastais["lr"], LR)
        assert close([row["momentum"] for row in history.steps], fastais["momentum"], LR)
        training = [loss for i, loss in enumerate(losses) if i % 6 != 5]  # 5 batches, 1 held out
        assert close(training, fastais["loss"], WEIGHTS)
        for name, tensor in model.state_dict().items():
            noisy = names[name] in ("1.1.bias", "1.2.running_mean")
            assert close(tensor, fastais["end"][names[name]], NOISE if noisy else WEIGHTS), name


def record_steps(setting, batches):
    """Plan the same steps as the fit."""
    plan = setting.plan
    return one_cycle(
        plan.epochs * batches,
        setting.lrs,
        pct_start=plan.pct_start,
        div=plan.div,
        div_final=plan.div_final,
        moms=plan.moms,
    )


class Forever:
    """One item without end."""

    items = 1

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.ones(1, 1), torch.zeros(1)


@pytest.mark.parametrize("name", ["typical", "noisy", "diverging", "short"])
def test_lr_range_test_smooths_stops_and_suggests_as_lr_find(fastai, name):
    recorded = fastai["lr_find"]
    fastais = recorded["curves"][name]
    plan = LRTest(steps=recorded["num_it"], start=recorded["start_lr"], end=recorded["end_lr"])
    raw = iter(fastais["loss"])
    model = nn.Linear(1, 1)

    curve = lr_range_test(
        model,
        Forever(),
        plan,
        stage="lr_frozen",
        seed=0,
        groups=[list(model.parameters())],
        loss=lambda outputs, targets: outputs.sum() * 0 + next(raw),
        precision="fp32",
        device=torch.device("cpu"),
        training_mode=lambda m: m.train(),
    )
    suggestion = suggest(curve, plan.steps, plan.rule)

    assert len(curve.loss) == fastais["steps"]
    assert close(curve.lr, recorded["lr"][: len(curve.lr)], LR)
    assert close(curve.loss, fastais["loss"][: len(curve.loss)], SMOOTHED)
    assert close(curve.smoothed, fastais["smoothed"], SMOOTHED)
    found = fastais["suggestions"]
    if name == "short":  # where fastai fails with an IndexError
        assert found["valley"] == {"fails_with": "IndexError"}
        assert suggestion.chosen is None
        assert "diverged after 9 of 100 steps" in suggestion.reason
    else:
        assert close(suggestion.valley, found["valley"], LR)
        assert close(suggestion.steepest, found["steep"], LR)
        assert close(suggestion.minimum, found["minimum"], LR)
        assert suggestion.chosen == suggestion.valley


def test_the_range_of_learning_rates_is_lr_finds(fastai):
    recorded = fastai["lr_find"]
    plan = LRTest(steps=recorded["num_it"], start=recorded["start_lr"], end=recorded["end_lr"])
    assert close(range_lrs(plan), recorded["lr"], LR)


def test_head_has_fastais_layers_in_fastais_order(fastai):
    recorded = fastai["head"]
    pooling, flatten, *layers = recorded["layers"]
    assert [pooling["class"], flatten["class"]] == ["AdaptiveConcatPool2d", "Flatten"]

    head = build_head(2 * recorded["features"], recorded["classes"])

    assert len(head) == len(layers)
    for layer, fastais in zip(head, layers, strict=True):
        assert type(layer).__name__ == fastais["class"]
        for name in ("in_features", "out_features", "num_features", "eps", "momentum", "p"):
            assert getattr(layer, name, None) == fastais.get(name)
        if isinstance(layer, nn.Linear):
            assert (layer.bias is not None) == fastais["bias"]
        if isinstance(layer, nn.BatchNorm1d):
            # fastai's initial_bias, 0.001, is not matched (see above).
            assert layer.weight.unique().tolist() == fastais["initial_weight"]
            assert layer.bias.unique().tolist() == [0]


def test_pooled_features_are_maxima_and_then_means_as_fastais(fastai):
    assert fastai["head"]["layers"][0]["order"] == ["max", "avg"]
    network = Network(Body(nn.Identity()), nn.Sequential(nn.Identity()))
    maps = torch.tensor([[[[0.0, 4.0], [0.0, 0.0]], [[8.0, 0.0], [0.0, 0.0]]]])
    assert network.features(maps).tolist() == [[4, 8, 1, 2]]


def test_heads_weights_are_drawn_with_fastais_spread(fastai):
    torch.manual_seed(0)
    recorded = fastai["head"]
    head = build_head(2 * recorded["features"], recorded["classes"])
    linears = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linears] == [i["fan_in"] for i in recorded["init"]]
    for layer, fastais in zip(linears, recorded["init"], strict=True):
        assert layer.weight.std().item() == pytest.approx(fastais["std_expected"], rel=0.02)
        assert fastais["std_drawn"] == pytest.approx(fastais["std_expected"], rel=0.02)
        assert abs(layer.weight.mean().item()) < 4 * layer.weight.std() / math.sqrt(
            layer.weight.numel()
        )


@pytest.mark.parametrize(
    "arch",
    ["resnet18", "mobilenet_v2"]
    + [pytest.param(arch, marks=pytest.mark.slow) for arch in ("resnet34", "resnet50")],
)
def test_models_have_fastais_numbers_of_parameters_in_each_group(fastai, arch):
    from thaw.params.training.model import Model
    from thaw.training.model import build_network, parameter_groups

    recorded = fastai["head"]
    network = build_network(Model(arch=arch), recorded["classes"], seed=0)
    counts = [sum(p.numel() for p in group) for group in parameter_groups(network)]

    fastais = recorded["models"][arch]
    assert sum(counts) == fastais["total"]
    if len(fastais["groups"]) == 3:
        assert counts == fastais["groups"]
    else:  # where fastai has no split for an architecture it makes two groups: body and head
        assert [sum(counts[:2]), counts[2]] == fastais["groups"]


def composed(case: dict) -> Tensor:
    """Our matrix [3, 3] for the draws of a recorded case, in `random_view`'s order."""
    angle, zoom = case.get("angle", 0.0), case.get("zoom", [1.0, 0.5, 0.5])
    augment = Augment(
        image_side=case["height_width"],
        rotate=abs(angle),
        zoom=zoom[0],
        flip=case.get("flip", False),
        p_affine=1.0,
    )
    drawn = {
        "flip": 0.0,
        "flip_vertical": 0.0,
        "rotate": float(angle > 0),
        "rotate_if": 0.0,
        "zoom": 1.0,
        "zoom_x": zoom[1],
        "zoom_y": zoom[2],
        "zoom_if": 0.0,
    }
    draw = {name: torch.tensor([value]) for name, value in drawn.items()}
    x, y = (torch.tensor([value]) for value in case.get("warp", [0.0, 0.0]))
    affine = (flips(draw, augment) @ rotations(draw, augment) @ zooms(draw, augment))[0]
    assert close(affine[:2, :2], torch.tensor(case["matrix"])[:, :2].tolist(), WEIGHTS)
    if oblong_shift(case):
        affine[:2, 2] = torch.tensor(case["matrix"])[:, 2]
    assert close(affine[:2], case["matrix"], WEIGHTS)
    return warp_matrices(x, y)[0] @ affine


def oblong_shift(case: dict) -> bool:
    """Say whether fastai turns a zoom's shift in stretched coordinates (see above)."""
    height, width = case["height_width"]
    return height != width and "angle" in case and "zoom" in case


def test_a_zooms_shift_is_turned_like_everything_else_on_an_oblong_image(fastai):
    """Undo the stretching: what is left of the matrix is a rotation about a point, and scaled."""
    for case in filter(oblong_shift, fastai["affine"]["cases"]):
        height, width = case["height_width"]
        to_pixels = torch.diag(torch.tensor([width / 2, height / 2, 1.0]))
        factor, x, y = case["zoom"]
        draw_free = Augment(image_side=case["height_width"], rotate=abs(case["angle"]), zoom=factor)
        ones = {"rotate": float(case["angle"] > 0), "rotate_if": 0.0, "zoom": 1.0, "zoom_if": 0.0}
        draw = {name: torch.tensor([v]) for name, v in (ones | {"zoom_x": x, "zoom_y": y}).items()}
        matrix = (rotations(draw, draw_free) @ zooms(draw, draw_free))[0]
        in_pixels = to_pixels @ matrix @ torch.linalg.inv(to_pixels)
        angle = math.radians(case["angle"])
        turned = torch.tensor(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        )
        center = torch.tensor([(2 * x - 1) * width / 2, (2 * y - 1) * height / 2])
        assert close(in_pixels[:2, :2], (turned / factor).tolist(), WEIGHTS)
        # The zoom keeps its centre; the rotation then takes it elsewhere.
        assert close(
            in_pixels[:2] @ torch.cat([center, torch.ones(1)]),
            (turned @ center).tolist(),
            {"rel": 1e-5, "abs": 1e-5},
        )


def moved(matrix: Tensor, points: Tensor) -> Tensor:
    seen = torch.cat([points, torch.ones_like(points[..., :1])], -1) @ matrix.T
    return seen[..., :2] / seen[..., 2:]


@pytest.mark.parametrize("number", range(26))
def test_matrices_take_points_where_fastais_transforms_take_them(fastai, number):
    recorded = fastai["affine"]
    assert len(recorded["cases"]) == 26
    case = recorded["cases"][number]
    matrix = composed(case)

    line = torch.linspace(-1, 1, 5)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)

    assert close(moved(matrix, grid), case["grid"], {"rel": 1e-6, "abs": 1e-6})
    points = torch.tensor(recorded["points"])
    inverse = torch.linalg.inv(matrix.double()).float()
    assert close(moved(inverse, points), case["points_after"], {"rel": 1e-6, "abs": 1e-6})


def test_lighting_gives_fastais_pixels(fastai):
    recorded = fastai["lighting"]
    pixels = torch.tensor(recorded["pixels"]).expand(1, 3, 1, -1)
    assert len(recorded["cases"]) == 8
    for case in recorded["cases"]:
        brightness = torch.logit(torch.tensor(case["brightness"] or 0.5)).item()
        lit = relight_(pixels.clone(), torch.tensor([[brightness, case["contrast"] or 1.0]]))
        for channel in lit[0, :, 0]:
            assert close(channel, case["after"], {"rel": 0, "abs": 2e-6})


def test_metrics_and_smoothed_loss_are_fastais(fastai):
    recorded = fastai["metrics"]
    outputs, targets = torch.tensor(recorded["outputs"]), torch.tensor(recorded["targets"])
    found = measure(["accuracy", "error_rate"], outputs, targets)
    for name, value in found.items():
        assert close(value, recorded[name], LR)
        assert close(value, recorded[f"{name}_of_batches_4_4_3"], LR)
    smoothed = Smoothed(recorded["beta"])
    assert close([smoothed.add(x) for x in recorded["losses"]], recorded["smoothed"], SMOOTHED)
