"""Features computed once: the same bits as live ones, and a cache that stays small."""

import os
from copy import deepcopy

import pytest
import torch
from torch import fx, nn

from thaw.params.training.model import Model
from thaw.training.model import build_network, training_mode
from thaw.vision.features import FeatureCache, compute_features
from thaw.vision.fixed_norms import apply_norms_in_convolutions
from thaw.vision.folding import FUSED, ActivatedConv2d, apply_activations, fold_batch_norms

pytestmark = pytest.mark.usefixtures("one_thread")

KILOBYTES = 256 * 1000  # bytes of `table(256)` without the file's header


def table(rows: int, value: float = 0.0) -> torch.Tensor:
    return torch.full((rows, 250), value)


class Computed:
    """Makes features and counts how often."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features, self.calls = features, 0

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return self.features


def files(root):
    return sorted(f"{path.parent.name}/{path.stem}" for path in root.rglob("*.safetensors"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cached_features_are_the_live_ones_bit_for_bit(
    tiny_network, image_batches, tmp_path, precision
):
    network, images = tiny_network(), image_batches().training
    network(torch.randn(8, 3, 32, 32))  # statistics unlike fresh ones
    view = images.random(42, "views", "view000")

    def compute():
        return compute_features(network, images, view, precision, "features")

    first = FeatureCache(tmp_path, "key").get("view000", compute)
    training_mode(network, train_bn=False, frozen=True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        live = network.features(images.render(torch.arange(7), view)).float()
    cached = FeatureCache(tmp_path, "key").get("view000", lambda: pytest.fail("computed again"))

    assert first.dtype == cached.dtype == torch.float32
    assert torch.equal(first, live)
    assert torch.equal(cached, live)
    assert len({tuple(row) for row in cached.tolist()}) == 7


def test_the_heads_outputs_on_features_are_the_networks(tiny_network, image_batches):
    network, images = tiny_network(), image_batches().validation
    features = compute_features(network, images, images.plain(), "fp32", "features")
    network.eval()
    with torch.no_grad():
        outputs = network(images.render(torch.arange(2), images.plain()))
        assert torch.equal(network.head(features), outputs)


def test_features_of_more_images_than_a_batch_come_in_order(
    tiny_network, image_batches, monkeypatch
):
    monkeypatch.setattr("thaw.vision.features.BATCH", 2)  # 7 images: 2, 2, 2, 1
    network, images = tiny_network(), image_batches().training
    features = compute_features(network, images, images.plain(), "fp32", "features")
    with torch.no_grad():
        for position in range(7):
            alone = network.features(images.render(torch.tensor([position]), images.plain()))
            assert torch.allclose(features[position], alone[0], atol=1e-3)
    assert not features.requires_grad
    assert network.head[0].num_batches_tracked == 0


def test_what_was_computed_under_a_name_and_key_is_kept(tmp_path):
    cache = FeatureCache(tmp_path, "key")
    view, valid = Computed(table(2, 1.0)), Computed(table(3, 2.0))
    for _ in range(3):
        assert torch.equal(cache.get("view000", view), table(2, 1.0))
        assert torch.equal(cache.get("valid", valid), table(3, 2.0))
    assert (view.calls, valid.calls) == (1, 1)
    other = Computed(table(2, 3.0))
    assert torch.equal(FeatureCache(tmp_path, "other").get("view000", other), table(2, 3.0))
    assert files(tmp_path) == ["key/valid", "key/view000", "other/view000"]


def test_the_oldest_keys_make_room_and_one_at_a_time(tmp_path):
    for age, key in enumerate(["newest", "older", "oldest"]):
        FeatureCache(tmp_path, key, 4 * KILOBYTES).get("valid", Computed(table(256)))
        os.utime(tmp_path / key, (1e9 - age, 1e9 - age))
    FeatureCache(tmp_path, "mine", 4 * KILOBYTES).get("view000", Computed(table(256)))
    assert files(tmp_path) == ["mine/view000", "newest/valid", "older/valid"]
    os.utime(tmp_path / "mine", (1, 1))  # in use, however old
    FeatureCache(tmp_path, "mine", 4 * KILOBYTES).get("view001", Computed(table(256)))
    assert files(tmp_path) == ["mine/view000", "mine/view001", "newest/valid"]


def test_what_does_not_fit_is_computed_each_time(tmp_path):
    cache = FeatureCache(tmp_path, "mine", KILOBYTES)
    large = Computed(table(257))
    for _ in range(3):
        assert torch.equal(cache.get("view000", large), table(257))
    assert large.calls == 3
    assert files(tmp_path) == []


def test_a_key_never_removes_its_own_views(tmp_path):
    cache = FeatureCache(tmp_path, "mine", 2 * KILOBYTES + 1000)
    views = [Computed(table(256, value)) for value in (0.0, 1.0, 2.0)]
    for _ in range(2):
        for number, view in enumerate(views):
            assert torch.equal(cache.get(f"view{number:03}", view), view.features)
    assert [view.calls for view in views] == [1, 1, 2]
    assert files(tmp_path) == ["mine/view000", "mine/view001"]


def test_what_does_not_fit_anyway_removes_nothing(tmp_path):
    FeatureCache(tmp_path, "other", 2 * KILOBYTES).get("valid", Computed(table(256)))
    FeatureCache(tmp_path, "mine", 2 * KILOBYTES).get("valid", Computed(table(600)))
    assert files(tmp_path) == ["other/valid"]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "densenet121", "squeezenet1_1"])
def test_folded_batch_norms_compute_the_same(arch: str) -> None:
    network = build_network(Model(arch=arch), 2, 0)
    for module in network.body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics unlike fresh ones
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        live = network.eval().features(images)
        folded = fold_batch_norms(network).eval()
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.body.modules()) or (
            arch == "densenet121"  # its first norms come before their convolutions
        )
        assert torch.allclose(
            folded.features(images), live, rtol=1e-4, atol=1e-4 * live.abs().max()
        )
        activations = sum(type(m) in FUSED for m in network.body.modules())
        assert 0.4 * activations <= sum(type(m) is ActivatedConv2d for m in folded.body.modules())


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_bodies_that_normalise_anew_can_be_folded(arch: str) -> None:
    network = build_network(Model(arch=arch), 2, 0).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        live = network.features(images)
        folded = fold_batch_norms(network)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.body.modules())
        close = {"rtol": 1e-4, "atol": 1e-4 * live.abs().max().item()}
        torch.testing.assert_close(folded.features(images), live, **close)
        assert apply_norms_in_convolutions(network.body) > 50
        torch.testing.assert_close(network.features(images), live, **close)


def test_a_broken_body_does_not_look_sound_when_folded(tiny_network) -> None:
    network = tiny_network().eval()
    with torch.no_grad():
        next(network.body.parameters())[0] = torch.nan
        assert network.features(torch.randn(2, 3, 32, 32)).isnan().any()
        assert fold_batch_norms(network).features(torch.randn(2, 3, 32, 32)).isnan().any()


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6()])
@pytest.mark.parametrize("options", [{}, {"groups": 4, "bias": False}, {"stride": 2, "padding": 1}])
def test_a_convolution_that_activates_computes_the_same(activation, options) -> None:
    torch.manual_seed(0)
    conv, images = nn.Conv2d(4, 8, 3, **options), 9 * torch.randn(2, 4, 20, 20)
    activated = fx.symbolic_trace(nn.Sequential(deepcopy(conv), activation))
    apply_activations(activated)
    assert next(type(m) for m in activated.children()) is ActivatedConv2d
    with torch.no_grad():
        expected = activation(conv(images))
        torch.testing.assert_close(activated(images), expected)
    assert expected.min() == 0
    assert expected.max() > 6 or isinstance(activation, nn.ReLU6)


def test_other_paddings_than_zeros_are_left_alone() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    same = nn.Conv2d(4, 4, 3, padding="same")
    plain, images = nn.Sequential(conv, nn.ReLU(), same, nn.ReLU()), torch.randn(2, 3, 8, 8)
    applied = fx.symbolic_trace(deepcopy(plain))
    apply_activations(applied)
    assert not any(type(m) is ActivatedConv2d for m in applied.modules())
    with torch.no_grad():
        assert torch.equal(applied(images), plain(images))


def test_convolutions_whose_output_is_needed_as_it_is_do_not_activate() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.seen = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.twice(self.relu(self.twice(x)))
            x = self.seen(x)
            return x + self.relu(x)

    torch.manual_seed(0)
    plain, images = Residual(), torch.randn(2, 3, 8, 8)
    applied = fx.symbolic_trace(deepcopy(plain))
    apply_activations(applied)
    assert not any(type(m) is ActivatedConv2d for m in applied.modules())
    with torch.no_grad():
        assert torch.equal(applied(images), plain(images))
