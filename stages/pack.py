"""Decode every image once into one memory-mappable file: `python -m stages pack pets`."""

import time

from stages.common.paths import Paths
from thaw.core.files import require, write_json
from thaw.pack import pack_images
from thaw.params.base import params
from thaw.params.training.data import Data


@params
class Params:
    """The sections that `pack` reads; nothing about labels or splits."""

    data: Data


def run(params: Params, paths: Paths) -> dict[str, float]:
    """Write the packed images, their index, the list of bad files, and the numbers."""
    require(paths.raw)
    started = time.perf_counter()
    bad_csv = paths.result("pack", "bad.csv")
    metrics = pack_images(paths.raw / params.data.folder, params.data, paths.packed, bad_csv)
    seconds = time.perf_counter() - started
    write_json(paths.result("pack", "metrics.json"), metrics)
    print(f"{metrics['images']} images, {metrics['bytes'] / 1e6:.1f} MB.")
    if metrics["bad"]:
        print(f"{metrics['bad']} left out that cannot be decoded: {bad_csv}.")
    return {"images_per_second": metrics["images"] / seconds}
