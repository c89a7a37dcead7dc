"""Fit the head on a frozen body: `python -m stages fit_frozen RECIPE`."""

from stages.common.paths import Paths
from stages.common.rates import frozen_lrs
from stages.sections import TrainingParams
from thaw.params.base import params
from thaw.params.training.fit import Fit


@params
class Params(TrainingParams):
    """The sections that this stage reads."""

    fit_frozen: Fit


def run(params: Params, paths: Paths) -> dict[str, float]:
    """Write the model after the frozen phase, its histories and metrics."""
    suggestion = paths.result("lr_frozen", "suggestion.json")
    lrs = frozen_lrs(params.fit_frozen.lr, suggestion)

    from stages.training import fit_phase, frozen_phase, open_training
    from thaw.training.model import load_weights, save_weights

    training = open_training(params, paths, "fit_frozen")
    load_weights(paths.pretrained, training.network.body)
    plan = params.fit_frozen
    phase = frozen_phase(training, plan.batch_size)
    checkpoint, rates = fit_phase(training, phase, plan, lrs, [paths.pretrained, suggestion])
    save_weights(paths.frozen, training.network)
    checkpoint.delete()
    return rates
