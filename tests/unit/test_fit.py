"""The training loop: every item once, resumed to the same bytes, refusals."""

import threading
from collections import Counter
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.functional import cross_entropy

from thaw.core.errors import UserError
from thaw.params.training.fit import Fit
from thaw.training.accumulation import Accumulation
from thaw.training.batches import FeatureBatches, ahead, chunks, resident_pixels, steps_per_epoch
from thaw.training.fit import History, epoch_line, fit, predict
from thaw.training.model import freeze, parameter_groups, training_mode
from thaw.training.optimizer import build_adamw
from thaw.training.precision import gradient_scaler
from thaw.training.resume import Checkpoint
from thaw.training.smoothing import Smoothed

pytestmark = pytest.mark.usefixtures("one_thread")


def nothing(history):
    """Do nothing after an epoch."""


@pytest.fixture
def feature_batches():
    """Batches of 11 drawn features in two views; four are held out."""

    def make(batch_size=4):
        generator = torch.Generator().manual_seed(3)
        views = [torch.randn(11, 6, generator=generator) for _ in range(2)]
        return FeatureBatches(
            views=views,
            targets=[torch.arange(11) % 2] * 2,
            valid_features=torch.randn(4, 6, generator=generator),
            valid_targets=torch.tensor([0, 1, 1, 0]),
            batch_size=batch_size,
            seed=42,
            stage="fit_frozen",
        )

    return make


def small_head():
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))


def numbered(batches):
    """The same batches with an item's number as its target."""
    images = batches.training
    return replace(batches, training=replace(images, targets=images.rows))


@pytest.mark.parametrize("batch_size", [2, 3, 4, 7, 64])
def test_every_image_is_seen_once_in_an_epoch(image_batches, batch_size):
    batches = numbered(image_batches(batch_size=batch_size))
    orders = []
    for epoch in range(2):
        parts = [targets for images, targets in batches.train(epoch)]
        seen = torch.cat(parts).tolist()
        assert sorted(seen) == list(range(7))
        assert len(parts) == steps_per_epoch(7, batch_size)
        assert min(len(part) for part in parts) > 1
        orders.append(seen)
    assert orders[0] != orders[1]
    assert orders[0] == torch.cat([t for _, t in batches.train(0)]).tolist()


def test_resident_pixels_make_the_same_canvas(image_batches):
    images = image_batches().training
    resident = replace(images, resident=torch.tensor(images.packed.pixels))
    for positions in (torch.tensor([3]), torch.tensor([5, 0, 6])):
        assert torch.equal(resident.canvas(positions), images.canvas(positions))
    assert resident_pixels(images.packed, torch.device("cpu")) is None


def test_made_ahead_is_in_order_and_in_another_thread():
    threads, parts = [], list(torch.arange(7).split(2))

    def make(part):
        threads.append(threading.get_ident())
        return part * 10

    made = ahead(make, parts)
    assert torch.equal(next(made), torch.tensor([0, 10]))
    assert len(threads) >= 1  # the next one may be on its way
    assert torch.equal(torch.cat(list(made)), torch.arange(2, 7) * 10)
    assert threading.get_ident() not in threads
    assert list(ahead(make, [])) == []


def test_what_goes_wrong_ahead_is_raised():
    def make(part):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ahead(make, [torch.arange(1)]))


def test_images_and_targets_stay_together(image_batches):
    """An epoch's images, rendered unshuffled, are those that came shuffled."""
    batches = numbered(image_batches(batch_size=3))
    view = batches.training.random(42, "fit_frozen", 0, "augment")
    for images, targets in batches.train(0):
        assert torch.allclose(images, batches.training.render(targets, view), atol=1e-3)


def test_held_out_images_come_plain_and_in_order(image_batches):
    batches = image_batches(batch_size=2)
    images, targets = next(batches.valid())
    wanted = batches.validation.render(torch.arange(2), batches.validation.plain())
    assert torch.equal(images, wanted)
    assert targets.tolist() == [1, 0]


@pytest.mark.parametrize("batch_size", [2, 3, 5, 64])
def test_every_feature_is_seen_once_in_an_epoch_of_its_view(feature_batches, batch_size):
    batches = replace(feature_batches(batch_size), targets=[torch.arange(11)] * 2)
    for epoch in range(3):
        parts = list(batches.train(epoch))
        assert sorted(torch.cat([t for _, t in parts]).tolist()) == list(range(11))
        for features, targets in parts:
            assert torch.equal(features, batches.views[epoch % 2][targets])


@pytest.mark.parametrize(
    ("items", "length", "wanted"),
    [
        (9, 4, [4, 5]),  # 4, 4, 1: the last joins its neighbour
        (8, 4, [4, 4]),
        (10, 4, [4, 4, 2]),
        (1, 4, [1]),
        (3, 2, [3]),
        (5, 5, [5]),
    ],
)
def test_a_last_batch_of_one_joins_its_neighbour(items, length, wanted):
    parts = chunks(torch.arange(items), length)
    assert [len(part) for part in parts] == wanted
    assert torch.cat(parts).tolist() == list(range(items))
    assert steps_per_epoch(items, length) == len(wanted)


def test_a_fit_leaves_a_row_for_each_epoch_and_step(feature_batches, make_setting, tmp_path):
    model = small_head()
    setting = make_setting(
        [[], [], list(model.parameters())],
        [1e-5, 1e-4, 1e-2],
        epochs=3,
        batch_size=4,
        metrics=["error_rate", "accuracy"],
    )
    calls = []
    history = fit(
        model,
        feature_batches(),
        setting,
        Checkpoint(tmp_path, "key"),
        lambda history: calls.append((len(history.epochs), len(history.steps))),
    )
    assert calls == [(1, 3), (2, 6), (3, 9)]  # 11 items: 4, 4, 3
    assert [row["step"] for row in history.steps] == list(range(9))
    assert history.steps[0]["lr"] == pytest.approx(1e-2 / 25)  # the head's
    assert [list(row) for row in history.epochs] == [
        ["epoch", "train_loss", "valid_loss", "error_rate", "accuracy", "lr"]
    ] * 3
    last = history.epochs[-1]
    assert last["train_loss"] == history.steps[-1]["loss"]
    assert last["lr"] == history.steps[-1]["lr"]
    assert last["error_rate"] + last["accuracy"] == 1
    outputs, targets = predict(model, feature_batches(), "fp32", setting.device)
    assert last["valid_loss"] == float(cross_entropy(outputs, targets))


def test_a_fit_learns_what_can_be_learned(make_setting, tmp_path):
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > x[:, 1]).long()
    batches = FeatureBatches([x[:40]], [y[:40]], x[40:], y[40:], 10, 42, "fit_frozen")
    torch.manual_seed(0)
    model = nn.Linear(6, 2)
    setting = make_setting([[], [], list(model.parameters())], [0.1] * 3, epochs=15, batch_size=10)
    history = fit(model, batches, setting, Checkpoint(tmp_path, "key"), nothing)
    assert history.epochs[0]["error_rate"] > 0.2
    assert history.epochs[-1]["error_rate"] <= 0.05
    assert history.epochs[-1]["valid_loss"] < 0.3


def test_nothing_trains_but_what_should(image_batches, tiny_network, make_setting, tmp_path):
    network = tiny_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    freeze(network, train_bn=False)
    setting = make_setting(
        parameter_groups(network),
        [1e-2] * 3,
        epochs=1,
        batch_size=4,
        training_mode=lambda m: training_mode(m, train_bn=False, frozen=True),
    )
    fit(network, image_batches(), setting, Checkpoint(tmp_path, "key"), nothing)
    changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {n for n in before if n.startswith("head.")}


def test_a_rate_of_a_group_trains_that_group(image_batches, tiny_network, make_setting, tmp_path):
    network = tiny_network()
    before = {name: p.clone() for name, p in network.named_parameters()}
    setting = make_setting(
        parameter_groups(network), [0.0, 1e-2, 0.0], epochs=1, batch_size=4, weight_decay=0.0
    )
    fit(network, image_batches(), setting, Checkpoint(tmp_path, "key"), nothing)
    changed = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    late = {id(p) for p in parameter_groups(network)[1]}
    assert changed <= {n for n, p in network.named_parameters() if id(p) in late}


class Killed(Exception):
    """Stands for a kill after an epoch's checkpoint was written."""


def fitted(model, batches, setting, checkpoint, killed_after=None):
    """Fit, perhaps killed; return the bytes of the model and the histories."""

    def on_epoch(history):
        if len(history.epochs) == killed_after:
            raise Killed

    history = fit(model, batches, setting, checkpoint, on_epoch)
    return model_bytes(model), history


def model_bytes(model):
    """Parameters and buffers as bytes, whatever their layout in memory."""
    return save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_fit_of_images_ends_with_the_bytes_of_one_never_killed(
    image_batches, tiny_network, make_setting, tmp_path, precision, killed_after
):
    def run(folder, killed_after=None):
        torch.manual_seed(len(folder))  # another process has other global generators
        network = tiny_network()
        setting = make_setting(
            parameter_groups(network),
            [1e-3, 3e-3, 1e-2],
            precision=precision,
            epochs=3,
            batch_size=4,
        )
        checkpoint = Checkpoint(tmp_path / folder, "key")
        return fitted(network, image_batches(), setting, checkpoint, killed_after)

    with pytest.raises(Killed):
        run("resumed", killed_after)
    resumed = run("resumed")
    whole = run("never killed")

    assert resumed == whole


def test_an_unreadable_checkpoint_is_said_and_counts_as_none(
    feature_batches, make_setting, tmp_path, capsys
):
    def run():
        model = small_head()
        setting = make_setting(
            [[], [], list(model.parameters())], [1e-2] * 3, epochs=2, batch_size=4
        )
        return fitted(model, feature_batches(), setting, Checkpoint(tmp_path, "key"))

    whole = run()
    checkpoint = tmp_path / "key.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert run() == whole
    assert "key.safetensors cannot be read" in capsys.readouterr().out


def test_moments_come_back_as_their_parameters_lie_in_memory(tiny_network, tmp_path):
    """Vectorised sums over another layout differ in the last bits."""

    def optimized():
        network = tiny_network()
        optimizer = build_adamw(network, parameter_groups(network), 0.01)
        scaler = gradient_scaler("fp32", torch.device("cpu"))
        return network, optimizer, scaler, History(), Smoothed()

    trained, fresh = optimized(), optimized()
    network, optimizer = trained[:2]
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    Checkpoint(tmp_path, "key").save(1, *trained)
    assert Checkpoint(tmp_path, "key").load(*fresh) == 1

    pairs = zip(network.parameters(), fresh[0].parameters(), strict=True)
    for (before, after), name in zip(pairs, dict(network.named_parameters()), strict=True):
        assert torch.equal(before, after), name
        assert before.stride() == after.stride()
        for moment in ("exp_avg", "exp_avg_sq"):
            old, new = optimizer.state[before][moment], fresh[1].state[after][moment]
            assert torch.equal(old, new), (name, moment)
            assert new.stride() == after.stride() == old.stride(), (name, moment)
            assert not new.requires_grad
    weight = fresh[0].body.layer1[0][0].weight
    assert not weight.is_contiguous()  # or there was nothing to see here


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_killed_fit_of_features_goes_on_from_its_last_epoch(
    feature_batches, make_setting, tmp_path, killed_after, capsys
):
    epochs_begun = Counter()

    class Watched(FeatureBatches):
        def train(self, epoch):
            epochs_begun[epoch] += 1
            return super().train(epoch)

    def run(folder, killed_after=None):
        model = small_head()
        setting = make_setting(
            [[], [], list(model.parameters())], [1e-2] * 3, epochs=3, batch_size=4
        )
        batches = Watched(**vars(feature_batches()))
        checkpoint = Checkpoint(tmp_path / folder, "key")
        return fitted(model, batches, setting, checkpoint, killed_after)

    with pytest.raises(Killed):
        run("resumed", killed_after)
    resumed = run("resumed")
    assert epochs_begun == {0: 1, 1: 1, 2: 1}  # none twice
    assert f"resuming at epoch {killed_after}\n" in capsys.readouterr().out
    assert run("never killed") == resumed


def test_a_finished_fit_is_not_trained_again(feature_batches, make_setting, tmp_path):
    first, again = small_head(), small_head()
    for model in (first, again):
        setting = make_setting(
            [[], [], list(model.parameters())], [1e-2] * 3, epochs=2, batch_size=4
        )
        history = fit(model, feature_batches(), setting, Checkpoint(tmp_path, "key"), nothing)
        assert len(history.epochs) == 2
    assert model_bytes(first) == model_bytes(again)


def test_a_checkpoint_under_another_key_is_ignored_and_then_removed(
    feature_batches, make_setting, tmp_path
):
    def run(key):
        model = small_head()
        setting = make_setting(
            [[], [], list(model.parameters())], [1e-2] * 3, epochs=2, batch_size=4
        )
        return fitted(model, feature_batches(), setting, Checkpoint(tmp_path, key), None)

    with pytest.raises(Killed):
        model = small_head()
        setting = make_setting(
            [[], [], list(model.parameters())], [5e-2] * 3, epochs=2, batch_size=4
        )
        fitted(model, feature_batches(), setting, Checkpoint(tmp_path, "old"), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["old.safetensors"]
    after_old = run("new")
    assert [path.name for path in tmp_path.iterdir()] == ["new.safetensors"]
    Checkpoint(tmp_path, "new").delete()
    assert list(tmp_path.iterdir()) == []
    assert run("newer") == after_old


def test_the_same_settings_give_the_same_bytes_and_others_do_not(
    feature_batches, make_setting, tmp_path
):
    def run(folder, **changed):
        model = small_head()
        settings = {"epochs": 2, "batch_size": 4, "seed": 42} | changed
        setting = make_setting([[], [], list(model.parameters())], [1e-2] * 3, **settings)
        batches = replace(feature_batches(), seed=settings["seed"])
        return fitted(model, batches, setting, Checkpoint(tmp_path / folder, "key"))[0]

    assert run("first") == run("second")
    assert run("first other") != run("seed", seed=43)
    assert run("first third") != run("decay", weight_decay=0.3)


def test_a_loss_that_is_no_number_is_refused_with_key_and_remedy(
    feature_batches, make_setting, tmp_path
):
    values = iter([1, 1, 1, 1, float("nan"), 1])

    def loss(outputs, targets):
        if not outputs.requires_grad:  # validation
            return cross_entropy(outputs, targets)
        return cross_entropy(outputs, targets) * next(values)

    model = small_head()
    setting = make_setting(
        [[], [], list(model.parameters())], [1e-2] * 3, loss=loss, epochs=2, batch_size=4
    )
    checkpoint = Checkpoint(tmp_path, "key")
    message = (
        r"fit_frozen: the loss became nan in epoch 1, batch 1\. "
        r"Choose a smaller fit_frozen\.lr, or precision: fp32"
    )
    with pytest.raises(UserError, match=message):
        fit(model, feature_batches(), setting, checkpoint, nothing)
    assert checkpoint.path.exists()  # of the good epoch before


def test_a_validation_loss_that_is_no_number_is_refused_too(
    feature_batches, make_setting, tmp_path
):
    """The last step of all may be the one that ruins the weights."""
    batches = replace(feature_batches(), valid_features=torch.full((4, 6), float("inf")))
    model = small_head()
    setting = make_setting([[], [], list(model.parameters())], [1e-2] * 3, epochs=1, batch_size=4)
    checkpoint = Checkpoint(tmp_path, "key")
    with pytest.raises(UserError, match=r"the validation loss became nan\. .*fit_frozen\.lr"):
        fit(model, batches, setting, checkpoint, nothing)
    assert not checkpoint.path.exists()


def test_an_epoch_that_misses_items_is_refused(feature_batches, make_setting, tmp_path):
    class Forgetful(FeatureBatches):
        def train(self, epoch):
            for number, (features, targets) in enumerate(super().train(epoch)):
                yield (features[1:], targets[1:]) if number == 1 else (features, targets)

    model = small_head()
    setting = make_setting([[], [], list(model.parameters())], [1e-2] * 3, epochs=1, batch_size=4)
    batches = Forgetful(**vars(feature_batches()))
    with pytest.raises(UserError, match="fit_frozen: epoch 0 saw 10 of 11 training items"):
        fit(model, batches, setting, Checkpoint(tmp_path, "key"), nothing)


def test_no_epochs_leave_everything_as_it_was(feature_batches, make_setting, tmp_path):
    model = small_head()
    before = model_bytes(model)
    setting = make_setting([[], [], list(model.parameters())], [1e-2] * 3, epochs=0)
    history = fit(model, feature_batches(), setting, Checkpoint(tmp_path, "key"), nothing)
    assert (history.epochs, history.steps) == ([], [])
    assert model_bytes(model) == before
    assert list(tmp_path.iterdir()) == []


def test_a_fit_leaves_the_global_generators_alone(feature_batches, make_setting, tmp_path):
    model = small_head()
    setting = make_setting([[], [], list(model.parameters())], [1e-2] * 3, epochs=1, batch_size=4)
    before = torch.get_rng_state()
    fit(model, feature_batches(), setting, Checkpoint(tmp_path, "key"), nothing)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_new_in_every_epoch_and_stage(feature_batches, make_setting, tmp_path):
    masks = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.dropout = nn.Linear(6, 2), nn.Dropout(0.5)

        def forward(self, x):
            if self.training:
                masks.append(self.dropout(torch.ones(50)).bool())
            return self.linear(x)

    for stage in ("fit_frozen", "fit_unfrozen"):
        model = Watched()
        setting = make_setting(
            [[], [], list(model.parameters())], [1e-2] * 3, stage=stage, epochs=2, batch_size=4
        )
        fit(model, feature_batches(), setting, Checkpoint(tmp_path / stage, "key"), nothing)
    assert len({tuple(mask.tolist()) for mask in masks}) == len(masks) == 12


def test_predictions_are_made_in_eval_mode_and_in_order(feature_batches):
    model = small_head().train()
    outputs, targets = predict(model, feature_batches(), "fp32", torch.device("cpu"))
    assert outputs.dtype == torch.float32
    assert not outputs.requires_grad
    assert targets.tolist() == [0, 1, 1, 0]
    assert torch.equal(outputs, model.eval()(feature_batches().valid_features))


def test_epochs_are_told_as_fastai_tells_them():
    row = {"epoch": 2, "train_loss": 0.5, "valid_loss": 0.25, "error_rate": 0.125, "lr": 1e-3}
    assert epoch_line(row, 83.4) == (
        "epoch 2  train_loss 0.500000  valid_loss 0.250000  error_rate 0.125000  time 01:23"
    )


def test_plans_default_to_fastais():
    plan = Fit(epochs=1, lr=1e-3)
    assert (plan.pct_start, plan.div, plan.div_final) == (0.25, 25.0, 1e5)
    assert (plan.moms, plan.weight_decay, plan.batch_size) == ([0.95, 0.85, 0.95], 0.01, 64)


def test_a_step_puts_no_tensor_beside_the_device_of_images_and_model(tiny_network, image_batches):
    """Torch's device without memory stands in for a GPU: it refuses tensors of another one too."""
    meta = torch.device("meta")
    batches, network = image_batches(), tiny_network().to(meta)
    batches = replace(
        batches,
        training=replace(batches.training, device=meta),
        validation=replace(batches.validation, device=meta),
    )
    groups = parameter_groups(network)
    gradients = Accumulation(cross_entropy, "fp32", meta, "fit_unfrozen")
    scaler = gradient_scaler("fp32", torch.device("cpu"))
    for inputs, targets in batches.train(0):
        assert inputs.device == targets.device == meta
        assert gradients.backward(network.train(), inputs, targets, scaler).device == meta
    assert all(p.grad is not None for group in groups for p in group)
    for inputs, _ in batches.valid():
        assert network.eval()(inputs).device == meta
