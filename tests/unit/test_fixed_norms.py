"""Batch norms applied in convolutions: the same function, the same gradients, the same names."""

import copy

import pytest
import torch
from torch import nn

from thaw.training.body import build_body
from thaw.training.precision import DepthwiseConv2d, keep_depthwise_fp32
from thaw.vision.fixed_norms import NormedConv2d, apply_norms_in_convolutions


def pair(arch: str, at_least: int) -> tuple[nn.Module, nn.Module]:
    """A body with lived-in norms, and a copy that applies at least so many in convolutions."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        body = build_body(arch)
        for norm in body.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 2)
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias, 0, 0.1)
    changed = copy.deepcopy(body)
    assert apply_norms_in_convolutions(changed) >= at_least
    return body.eval(), changed.eval()


@pytest.fixture(params=[("resnet18", 19), ("mobilenet_v2", 51), ("densenet121", 59)])
def bodies(request, one_thread):
    """Both in double precision, so that they differ by little."""
    return tuple(body.double() for body in pair(*request.param))


def test_outputs_and_gradients_are_the_same(bodies):
    images = torch.rand(2, 3, 48, 48, dtype=torch.float64, generator=torch.manual_seed(1))
    for body in bodies:
        body(images).square().mean().backward()
    plain, changed = (dict(body.named_parameters()) for body in bodies)
    torch.testing.assert_close(bodies[1](images), bodies[0](images))
    for name, parameter in plain.items():
        torch.testing.assert_close(changed[name].grad, parameter.grad, msg=name)


def test_in_bf16_outputs_and_gradients_are_no_further_from_exact_ones(one_thread):
    """Both round; applied in the convolution, a norm's result is rounded once instead of twice."""
    bodies = pair("resnet18", 19)
    images = torch.rand(4, 3, 64, 64, generator=torch.manual_seed(1))
    exact = bodies[0].double()(images.double())
    exact.square().mean().backward()
    wanted = gradients(bodies[0])
    errors = []
    for body in bodies:
        body.float().zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = body(images)
        outputs.float().square().mean().backward()
        errors.append([relative(outputs, exact), relative(gradients(body), wanted)])
    plain, changed = errors
    assert 0 < changed[0] <= 1.1 * plain[0] < 0.05
    assert 0 < changed[1] <= 1.1 * plain[1] < 0.2


def gradients(body: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten().double() for _, p in sorted(body.named_parameters())])


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


def test_names_and_values_in_files_stay_as_they_are(bodies):
    plain, changed = (body.state_dict() for body in bodies)
    assert list(changed) == list(plain)
    assert all(torch.equal(changed[name], plain[name]) for name in plain)


def test_depthwise_convolutions_that_train_in_fp32_keep_their_norms_beside_them():
    body = build_body("mobilenet_v2")
    keep_depthwise_fp32(body)
    assert apply_norms_in_convolutions(body) == 52 - 17
    kept = [module for module in body.modules() if type(module) is DepthwiseConv2d]
    assert len(kept) == 17


def test_a_convolution_whose_output_is_also_used_elsewhere_is_left_alone():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    body = Branching()
    assert apply_norms_in_convolutions(body) == 0
    assert type(body.conv) is nn.Conv2d


def test_a_convolutions_own_bias_is_kept():
    body = nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4)).eval()
    body[1].running_mean.fill_(0.3)
    images = torch.rand(2, 3, 8, 8)
    before = body(images)
    assert apply_norms_in_convolutions(body) == 1
    assert isinstance(body[0], NormedConv2d)
    torch.testing.assert_close(body(images), before)
