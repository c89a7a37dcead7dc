"""The learning-rate range test: it leaves no trace, stops in time, and suggests rates."""

import itertools
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from thaw.params.training.lr_test import LRTest
from thaw.training.lr_curve import (
    Curve,
    left_out,
    rise,
    steepest,
    suggest,
    suggest_unfrozen,
    valley,
)
from thaw.training.lr_test import diverged, lr_range_test, range_lrs
from thaw.training.model import freeze, parameter_groups, training_mode
from thaw.training.smoothing import Smoothed

pytestmark = pytest.mark.usefixtures("one_thread")


def run(network, batches, plan, *, groups=None, **options):
    settings = {
        "stage": "lr_frozen",
        "seed": 42,
        "groups": groups or parameter_groups(network),
        "loss": cross_entropy,
        "precision": "fp32",
        "device": torch.device("cpu"),
        "training_mode": lambda m: training_mode(m, train_bn=True, frozen=True),
    }
    return lr_range_test(network, batches, plan, **settings | options)


def generators():
    return (
        torch.get_rng_state().tolist(),
        repr(np.random.get_state(legacy=False)),
        random.getstate(),
    )


def everything(network):
    """All that a test might leave changed."""
    return {
        "tensors": {n: t.clone() for n, t in network.state_dict().items()},
        "layout": {n: t.stride() for n, t in network.state_dict().items()},
        "requires_grad": {n: p.requires_grad for n, p in network.named_parameters()},
        "gradients": {n: p.grad for n, p in network.named_parameters()},
        "training": {n: m.training for n, m in network.named_modules()},
        "generators": generators(),
    }


def assert_same(after, before):
    tensors = (after.pop("tensors"), before.pop("tensors"))
    for name, tensor in tensors[0].items():
        assert torch.equal(tensor, tensors[1][name]), name
    assert after == before


@pytest.mark.parametrize("ending", ["normal", "diverging", "raising", "raising backward"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_test_leaves_everything_as_it_was(tiny_network, image_batches, ending, precision):
    network = tiny_network().eval()
    groups = parameter_groups(network)
    network.body.layer2.train()  # an odd state is put back as well
    freeze(network, train_bn=True)
    torch.manual_seed(5)
    random.seed(5)
    before = everything(network)
    in_between = []

    def raise_backward(gradient):
        if len(in_between) == 16:
            raise RuntimeError("out of memory")

    if ending == "raising backward":  # with the head's gradients in place already
        network.body.layer3[0][1].weight.register_hook(raise_backward)
    calls = itertools.count()

    def loss(outputs, targets):
        call = next(calls)
        in_between.append({n: t.clone() for n, t in network.state_dict().items()})
        if call == 15 and ending == "raising":
            raise RuntimeError("out of memory")
        return cross_entropy(outputs, targets) * (1e6 if ending == "diverging" and call > 15 else 1)

    plan = LRTest(steps=20, start=1e-4, end=10.0)
    if ending.startswith("raising"):
        with pytest.raises(RuntimeError, match="out of memory"):
            run(network, image_batches(), plan, groups=groups, loss=loss, precision=precision)
    else:
        curve = run(network, image_batches(), plan, groups=groups, loss=loss, precision=precision)
        assert len(curve.lr) == (17 if ending == "diverging" else 20)

    last = in_between[-1]
    changed = {n for n, t in before["tensors"].items() if not torch.equal(t, last[n])}
    assert {"head.2.weight", "body.layer3.0.1.weight", "body.layer3.0.1.running_mean"} <= changed
    assert_same(everything(network), before)


def test_a_second_test_measures_the_same(tiny_network, image_batches):
    network = tiny_network()
    plan = LRTest(steps=20)
    first = run(network, image_batches(), plan)
    torch.manual_seed(99)
    assert run(network, image_batches(), plan) == first
    assert run(network, image_batches(seed=1), plan, seed=1) != first


def test_a_test_goes_on_into_further_epochs(tiny_network, image_batches):
    """Seven pictures are two batches."""
    curve = run(tiny_network(), image_batches(), LRTest(steps=25, end=1e-3))
    assert len(curve.lr) == 25
    assert len(set(curve.loss)) == 25


def test_rates_rise_exponentially_from_start_towards_end():
    lrs = range_lrs(LRTest(steps=20, start=1e-6, end=1.0))
    assert len(lrs) == 20
    assert lrs[0] == 1e-6
    assert lrs[10] == pytest.approx(1e-3)
    assert lrs[-1] == pytest.approx(10**-0.3)


def test_all_groups_get_the_rate_and_what_is_frozen_does_not_train(tiny_network, image_batches):
    network = tiny_network()
    freeze(network, train_bn=False)
    seen = []

    def loss(outputs, targets):
        seen.append(network.body.stem.weight.clone())
        return cross_entropy(outputs, targets)

    frozen = run(network, image_batches(), LRTest(steps=20), loss=loss)
    assert all(torch.equal(weight, seen[0]) for weight in seen)
    network.requires_grad_(True)
    unfrozen = run(network, image_batches(), LRTest(steps=20), loss=loss)
    assert frozen.loss[0] == unfrozen.loss[0]
    assert frozen.loss[-1] != unfrozen.loss[-1]


class Forever:
    """One item without end."""

    items = 1

    def train(self, epoch):
        yield torch.ones(1, 1), torch.zeros(1)


def curve_of(losses, steps=100):
    """What the test makes of given raw losses."""
    raw = iter(losses)
    model = nn.Linear(1, 1)
    return run(
        model,
        Forever(),
        LRTest(steps=steps),
        groups=[list(model.parameters())],
        loss=lambda outputs, targets: outputs.sum() * 0 + next(raw),
        training_mode=lambda m: m.train(),
    )


def test_a_test_stops_beyond_four_times_the_best_smoothed_loss():
    curve = curve_of([2.0] * 50 + [1e6] * 50)
    assert len(curve.lr) == len(curve.loss) == len(curve.smoothed) == 51
    assert curve.smoothed[:50] == pytest.approx([2.0] * 50)
    smoothed = Smoothed()
    for loss in [2.0] * 50 + [1e6]:
        value = smoothed.add(loss)
    assert curve.smoothed[-1] == pytest.approx(value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("position", [0, 30])
def test_a_test_stops_at_a_loss_that_is_no_number(bad, position):
    curve = curve_of([2.0] * position + [bad] * 100)
    assert len(curve.lr) == position + 1


def test_divergence_is_strictly_beyond_four_times():
    assert not diverged([1.0, 4.0])
    assert diverged([1.0, 4.001])
    assert not diverged([4.0, 1.0])


def shaped(fall=50, low=70, steps=100):
    """A curve that falls to 1 between steps `fall` and `low`, stays and then doubles."""
    lrs = range_lrs(LRTest(steps=steps))
    ramp = [1 + min(1, max(0, (low - k) / (low - fall))) for k in range(low)]
    flat = [1.0] * 10
    rising = [1 + 0.1 * (k + 1) for k in range(steps - low - 10)]
    smoothed = ramp + flat + rising
    return Curve(lrs, smoothed, smoothed)


def test_the_loss_starts_to_rise_where_it_last_was_near_its_minimum():
    curve = shaped()
    assert rise(curve, 100) == curve.lr[79]
    noisy = list(curve.smoothed)
    noisy[75] = 1.2  # a bump in the valley is no rise
    assert rise(Curve(curve.lr, noisy, noisy), 100) == curve.lr[79]
    falling = [2.0 - 0.01 * k for k in range(100)]
    assert rise(Curve(curve.lr, falling, falling), 100) == curve.lr[-1]
    broken = [*curve.smoothed[:85], math.nan]
    assert rise(Curve(curve.lr[:86], broken, broken), 100) == curve.lr[79]
    begun = [0.5, 0.6, *curve.smoothed[2:]]  # the average of one batch is no minimum
    assert rise(Curve(curve.lr, begun, begun), 100) == curve.lr[79]


def test_the_unfrozen_rate_is_a_tenth_of_where_the_loss_rises():
    curve = shaped()
    suggestion = suggest_unfrozen(curve, 100, "valley", frozen_lr=1e3)
    assert suggestion.chosen == pytest.approx(curve.lr[79] / 10)
    assert suggestion.rise == curve.lr[79]
    assert suggestion.valley == suggest(curve, 100, "valley").valley


def test_the_unfrozen_rate_is_never_above_a_tenth_of_the_frozen_one():
    suggestion = suggest_unfrozen(shaped(), 100, "valley", frozen_lr=3e-3)
    assert suggestion.chosen == pytest.approx(3e-4)


def test_suggestions_of_a_drawn_curve_are_where_one_would_point():
    curve = shaped()
    suggestion = suggest(curve, 100, "valley")
    # 21 points fall and the last of them is step 70.
    assert suggestion.valley == curve.lr[70 - 21 + 21 // 3 + 21 // 6]
    assert curve.lr[50] <= suggestion.steepest <= curve.lr[69]
    assert suggestion.minimum == pytest.approx(curve.lr[70] / 10)
    assert suggestion.chosen == suggestion.valley
    assert suggest(curve, 100, "steepest").chosen == suggestion.steepest
    assert suggest(curve, 100, "minimum").chosen == suggestion.minimum


def test_the_valley_is_the_longest_falling_subsequence_not_the_longest_run():
    # Falls over the even points, 9 8 7 6 5 4; the odd ones are in the way.
    smoothed = np.array([9, 20, 8, 21, 7, 22, 6, 23, 5, 24, 4, 25.0])
    assert valley(smoothed) == 10 - 6 + 6 // 3 + 6 // 6
    assert valley(np.array([3.0, 2.0, 1.0, 0.0])) == 3 - 4 + 1


@pytest.mark.parametrize("smoothed", [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [3.0, 2.0, 4.0, 5.0]])
def test_a_loss_that_hardly_falls_never_suggests_the_largest_rate(smoothed):
    assert valley(np.array(smoothed)) == 0


def test_the_steepest_point_is_the_left_one_of_the_steepest_fall():
    lr = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    assert steepest(lr, np.array([3.0, 2.9, 1.0, 0.9])) == 1


def test_a_test_that_diverges_too_early_gives_a_reason_and_no_rate():
    curve = curve_of([1.0] * 20 + [math.nan] * 80)
    for suggestion in (
        suggest(curve, 100, "valley"),
        suggest_unfrozen(curve, 100, "valley", frozen_lr=1e-3),
    ):
        assert suggestion.chosen is None
        assert suggestion.valley is None
        assert "diverged after 21 of 100 steps, at a learning rate of 4e-06" in suggestion.reason
        assert "Lower `start`" in suggestion.reason


def test_the_shortest_test_allowed_suggests_something():
    losses = [2 - k / 20 for k in range(20)]
    assert suggest(curve_of(losses, steps=20), 20, "valley").chosen is not None


def test_a_test_left_out_says_so():
    curve, suggestion = left_out()
    assert curve.lr == []
    assert suggestion.chosen is None
    assert "left out" in suggestion.reason


def test_smoothing_has_no_bias_at_its_start():
    smoothed = Smoothed(beta=0.9)
    assert smoothed.add(5.0) == pytest.approx(5.0)
    assert smoothed.add(5.0) == pytest.approx(5.0)
    assert smoothed.add(2.0) == pytest.approx((0.81 * 5 + 0.9 * 5 + 2) / (0.81 + 0.9 + 1))
