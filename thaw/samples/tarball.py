"""Write a .tgz whose bytes depend on its content alone."""

import io
import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from thaw.core.files import replacing

_STORED = 65535  # the longest stored block of deflate


def write_tgz(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files, and the folders above them, as a gzipped tar, sorted, without times or owners.

    Nothing is compressed (pictures are already): what deflate makes of its input differs between
    zlib and its several faster replacements, and the archive's SHA-256 is pinned.

    Args:
        path: of the archive; replaced as a whole.
        files: content by POSIX name.
    """
    folders = {str(p) for name in files for p in PurePosixPath(name).parents} - {"."}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(folders | set(files)):
            member = tarfile.TarInfo(name)
            if name in folders:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                member.size = len(files[name])
                archive.addfile(member, io.BytesIO(files[name]))
    with replacing(path) as part:
        part.write_bytes(_gzipped(tar.getvalue()))


def _gzipped(content: bytes) -> bytes:
    """Wrap `content` in a gzip file of stored blocks (RFC 1951, 3.2.4; RFC 1952)."""
    out = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    for start in range(0, len(content), _STORED):
        block = content[start : start + _STORED]
        last = start + _STORED >= len(content)
        out += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    out.append(struct.pack("<II", zlib.crc32(content), len(content)))
    return b"".join(out)
