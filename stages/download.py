"""Fetch the recipe's archive, or draw a sample: `python -m stages download pets_sample`."""

import os
from pathlib import Path

from stages.common.paths import Paths
from thaw.core.files import file_sha256, remove
from thaw.fetch import SCRATCH, alone_in, fetch, place, scratch_folder, verify
from thaw.params.base import params
from thaw.params.download import Download


@params
class Params:
    """The recipe's sections that this stage reads."""

    download: Download


def run(params: Params, paths: Paths) -> None:
    """Put one verified file into the archive folder, and nothing else."""
    wanted = params.download
    where = f"recipes.{paths.recipe}.download"
    if wanted.url.startswith("sample:"):
        archive = draw_sample(wanted, paths.archive, where)
    else:
        mirror = os.environ.get("THAW_MIRROR")
        archive = fetch(wanted, paths.archive, where=where, mirror=mirror)
    # DVC has emptied the folder; a stage started by hand has not.
    for other in sorted(paths.archive.iterdir()):
        if other != archive:
            remove(other)
    if wanted.sha256 is None:
        print(f"Nothing pins {archive.name} as a whole yet. In params.yaml, {where}, write")
        print(f'  sha256: "{file_sha256(archive)}"')


def draw_sample(wanted: Download, folder: Path, where: str) -> Path:
    """Draw a sample archive and put it through the same checks as a fetched one."""
    # Here, not above: drawing needs libraries that a transfer does not.
    from thaw.samples.archives import draw, file_name

    sample = wanted.url.removeprefix("sample:")
    target = folder / file_name(sample)
    with alone_in(scratch_folder(SCRATCH, wanted.url)) as scratch:
        drawn = scratch / "drawn"
        remove(drawn)
        drawn.mkdir()
        draw(sample, drawn)
        verify(drawn / target.name, target.name, wanted, source=wanted.url, where=where)
        place(drawn / target.name, target)
        remove(drawn)
    return target
