"""Generators derived from seed and purpose."""

import pytest
import torch

from thaw.core.randomness import derived_seed, generator, seeded


def draw(*purpose):
    return torch.rand(3, generator=generator(*purpose)).tolist()


def test_the_same_purpose_draws_the_same_and_another_draws_something_else():
    first = draw(42, "fit_frozen", 0, "shuffle")
    assert draw(42, "fit_frozen", 0, "shuffle") == first
    others = [
        (43, "fit_frozen", 0, "shuffle"),
        (42, "fit_unfrozen", 0, "shuffle"),
        (42, "fit_frozen", 1, "shuffle"),
        (42, "fit_frozen", 0, "augment"),
    ]
    assert len({tuple(draw(*other)) for other in others} | {tuple(first)}) == 5


def test_seeds_are_fixed_for_all_time():
    """Another derivation would silently change every result."""
    assert derived_seed(42, "fit_frozen", 0, "shuffle") == 3777166647167963082
    assert 0 <= derived_seed(2**63 - 1, "x") < 2**63


def test_a_seeded_block_leaves_the_global_generator_as_it_was():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(42, "init"):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    with seeded(42, "init"):
        assert torch.equal(torch.rand(3), first)
    with seeded(42, "other"):
        assert not torch.equal(torch.rand(3), first)


def test_an_error_in_a_seeded_block_puts_the_generator_back_as_well():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="mistake"), seeded(42, "init"):
        torch.rand(3)
        raise RuntimeError("mistake")
    assert torch.equal(torch.get_rng_state(), before)
