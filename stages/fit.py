"""Fit a ratings model: `python -m stages fit RECIPE`."""

from stages.common.paths import Paths
from stages.common.rates import one_lr
from stages.ratings_sections import RatingsParams
from thaw.params.base import params
from thaw.params.ratings_model import RatingsFit


@params
class Params(RatingsParams):
    """The sections that this stage reads."""

    fit: RatingsFit


def run(params: Params, paths: Paths) -> dict[str, float]:
    """Write the model, its histories, metrics, and predictions of the held-out ratings."""
    suggestion = paths.result("lr_find", "suggestion.json")
    lr = one_lr(params.fit.lr, suggestion)

    from stages.ratings_training import fit_ratings, open_ratings

    return fit_ratings(open_ratings(params, paths, "fit"), params.fit, lr, suggestion)
