"""Test learning rates for the head on a frozen body: `python -m stages lr_frozen RECIPE`."""

from stages.common.paths import Paths
from stages.common.tables import write_lr_test
from stages.sections import TrainingParams
from thaw.params.base import params
from thaw.params.training.lr_test import LRTest
from thaw.training.lr_curve import left_out, suggest


@params
class Params(TrainingParams):
    """The sections that this stage reads."""

    lr_frozen: LRTest


def run(params: Params, paths: Paths) -> None:
    """Write the curve and what it suggests; a header and a reason if the test is left out."""
    plan = params.lr_frozen
    if plan.steps == 0:
        write_lr_test(*left_out(), paths, "lr_frozen")
        return
    from stages.training import frozen_phase, open_training, test_phase
    from thaw.training.model import load_weights

    training = open_training(params, paths, "lr_frozen")
    load_weights(paths.pretrained, training.network.body)
    curve = test_phase(training, frozen_phase(training, plan.batch_size), plan)
    write_lr_test(curve, suggest(curve, plan.steps, plan.rule), paths, "lr_frozen")
