"""Test learning rates for the whole model: `python -m stages lr_unfrozen RECIPE`."""

from stages.common.paths import Paths
from stages.common.rates import head_lr
from stages.common.tables import write_lr_test
from stages.sections import TrainingParams
from thaw.params.base import params
from thaw.params.training.lr_test import LRTest
from thaw.training.lr_curve import left_out, suggest_unfrozen


@params
class Params(TrainingParams):
    """The sections that this stage reads."""

    lr_unfrozen: LRTest


def run(params: Params, paths: Paths) -> None:
    """Write the curve and what it suggests; a header and a reason if the test is left out."""
    plan = params.lr_unfrozen
    if plan.steps == 0:
        write_lr_test(*left_out(), paths, "lr_unfrozen")
        return
    from stages.training import open_training, test_phase, unfrozen_phase
    from thaw.training.model import load_weights

    training = open_training(params, paths, "lr_unfrozen")
    load_weights(paths.frozen, training.network)
    curve = test_phase(training, unfrozen_phase(training, plan.batch_size), plan)
    frozen_lr = head_lr(paths.result("fit_frozen", "metrics.json"))
    suggestion = suggest_unfrozen(curve, plan.steps, plan.rule, frozen_lr)
    write_lr_test(curve, suggestion, paths, "lr_unfrozen")
