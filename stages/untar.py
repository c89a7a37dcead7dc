"""Unpack the recipe's archive: `python -m stages untar pets_sample`."""

from stages.common.paths import Paths
from thaw.core.errors import UserError
from thaw.params.base import params
from thaw.params.untar import Untar
from thaw.unpack import unpack


@params
class Params:
    """The recipe's sections that this stage reads."""

    untar: Untar


def run(params: Params, paths: Paths) -> None:
    """Unpack the one file in the archive folder into the raw folder."""
    files = sorted(paths.archive.iterdir()) if paths.archive.is_dir() else []
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "nothing"
        raise UserError(
            f"{paths.archive}: expected one archive, found {found}. "
            f"Run `dvc repro download@{paths.recipe}` first."
        )
    limits = params.untar
    unpacked = unpack(files[0], paths.raw, max_bytes=limits.max_bytes, max_files=limits.max_files)
    print(f"{paths.raw}: {unpacked.files:,} files, {unpacked.bytes / 1e6:,.1f} MB")
