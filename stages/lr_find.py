"""Test learning rates for a ratings model: `python -m stages lr_find RECIPE`."""

from stages.common.paths import Paths
from stages.common.tables import write_lr_test
from stages.ratings_sections import RatingsParams
from thaw.params.base import params
from thaw.params.training.lr_test import LRTest
from thaw.training.lr_curve import left_out, suggest


@params
class Params(RatingsParams):
    """The sections that this stage reads."""

    lr_find: LRTest


def run(params: Params, paths: Paths) -> None:
    """Write the curve and what it suggests; a header and a reason if the test is left out."""
    plan = params.lr_find
    if plan.steps == 0:
        write_lr_test(*left_out(), paths, "lr_find")
        return
    from stages.ratings_training import open_ratings, test_rates

    curve = test_rates(open_ratings(params, paths, "lr_find"), plan)
    write_lr_test(curve, suggest(curve, plan.steps, plan.rule), paths, "lr_find")
