"""Unfreeze and fit everything, discriminatively: `python -m stages fit_unfrozen RECIPE`."""

from stages.common.paths import Paths
from stages.common.rates import unfrozen_lrs
from stages.sections import TrainingParams
from thaw.params.base import params
from thaw.params.training.data import Data
from thaw.params.training.fit import Fit


@params
class Params(TrainingParams):
    """The sections that this stage reads."""

    data: Data
    fit_unfrozen: Fit


def run(params: Params, paths: Paths) -> dict[str, float]:
    """Write the final model, its histories, metrics, and predictions on the held-out items."""
    suggestion = paths.result("lr_unfrozen", "suggestion.json")
    frozen_metrics = paths.result("fit_frozen", "metrics.json")
    plan = params.fit_unfrozen
    lrs = unfrozen_lrs(plan.lr, suggestion, frozen_metrics)

    from stages.common.tables import write_epochs
    from stages.training import (
        fit_phase,
        open_training,
        unfrozen_phase,
        write_model,
        write_predictions,
    )
    from thaw.training.model import load_weights

    training = open_training(params, paths, "fit_unfrozen")
    load_weights(paths.frozen, training.network)
    phase = unfrozen_phase(training, plan.batch_size)
    frozen_history = paths.result("fit_frozen", "history.csv")
    inputs = [paths.frozen, suggestion, frozen_metrics, frozen_history]
    checkpoint, rates = fit_phase(training, phase, plan, lrs, inputs)
    write_epochs(paths, ["fit_frozen", "fit_unfrozen"])
    write_predictions(training, phase)
    write_model(training, params.data)
    checkpoint.delete()
    return rates
