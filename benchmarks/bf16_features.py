"""How far a frozen body's features in bf16 are from those in fp32, on a CPU.

    python -m benchmarks.bf16_features pets_sample

Runs in a project folder in which the recipe's `weights`, `split` and `pack` are done (with this
project's root on PYTHONPATH, if it is another one). Prints the difference's norm as a share of the
features', and its standard deviation as a share of a feature's, the median over the features.
"""

import argparse

import torch

from stages.common.paths import Paths
from stages.fit_frozen import Params
from stages.recipe import read_params
from stages.training import open_training
from thaw.training.model import load_weights
from thaw.vision.features import compute_features
from thaw.vision.folding import fold_batch_norms


@torch.no_grad()
def main() -> None:
    """Compute both and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    recipe = parser.parse_args().recipe
    opened = open_training(read_params(recipe, Params), Paths(recipe), "fit_frozen")
    load_weights(Paths(recipe).pretrained, opened.network.body)
    images, networks = opened.training, (fold_batch_norms(opened.network), opened.network)
    exact, rough = (
        compute_features(network, images, images.plain(), precision, precision)
        for network, precision in zip(networks, ("fp32", "bf16"), strict=True)
    )
    off = rough - exact
    share = (off.std(0) / exact.std(0).clamp(min=1e-6)).median().item()
    print(
        f"{recipe}: {(off.norm() / exact.norm()).item():.3f} of the norm, {share:.3f} of the spread"
    )


if __name__ == "__main__":
    main()
