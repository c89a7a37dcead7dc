"""Unpack an archive that nobody vouches for: all of it and inside its folder, or nothing.

Names, links and sizes in an archive are claims. Names and links are checked before anything is
written, sizes are counted on what really comes out of the decompressor, and everything goes to a
temporary folder that takes its final name only when the last check has passed.
"""

import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, cast

from thaw.core.errors import UserError
from thaw.core.files import remove, replacing, require_free_space

HEAD = 512  # bytes that tell what a file is: a tar header's length

# The most that is read at once. Data is asked for in such pieces, so a longer read can only be
# tarfile taking a member's whole extended header into memory; no honest one is that long.
_CHUNK = 2**18

# Folders in folders. Python's own deletion of a tree is recursive and gives up near 1000.
_MAX_DEPTH = 100

# What tarfile, zipfile and the decompressors raise on damaged input.
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, OSError, ValueError, LookupError, OverflowError, RuntimeError,
)  # fmt: skip

_OTHER_KINDS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
}

_PLAIN, _EXECUTABLE = 0o644, 0o755  # the second for folders too


@dataclass(frozen=True)
class Unpacked:
    """What an archive became: files (links not counted) and the sum of their lengths."""

    files: int
    bytes: int


def archive_kind(head: bytes) -> Literal["gzip", "zip", "tar"] | None:
    """Tell from a file's first `HEAD` bytes, or more, which kind of archive it is, if any."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):  # the second: an empty one
        return "zip"
    try:  # a tar header carries a checksum
        tarfile.TarInfo.frombuf(head[:HEAD], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return None
    return "tar"


def unpack(archive: Path, folder: Path, *, max_bytes: int, max_files: int) -> Unpacked:
    """Unpack a .tgz, .tar.gz, .tar or .zip archive, told by its content, into `folder`.

    Files get mode 0644, or 0755 if their owner may execute them, folders 0755. Hard links become
    copies. If a name occurs twice the later file wins, as with tar, and that is said. An existing
    `folder` is replaced, at the end and as a whole.

    Args:
        archive: the archive; it is not changed.
        folder: where its members go.
        max_bytes: the most it may unpack to, a tar archive's headers and padding included.
        max_files: the most files, links and folders it may become.

    Raises:
        UserError: the archive is of no known kind, damaged, cut short, encrypted, empty or over a
            limit, does not fit on the disk, or holds an absolute name, a name with ``..``, a
            backslash or a drive, a link that leaves the folder or leads nowhere, a device, a
            pipe or a socket. The message names the member.
    """
    with archive.open("rb") as file:
        head = file.read(HEAD)
    kind = archive_kind(head)
    if kind is None:
        raise UserError(_unknown_kind(archive, head))
    require_free_space(folder, archive.stat().st_size, f"Unpacking {archive.name}")
    old = folder.with_name(f".{folder.name}.old")
    remove(old)
    with replacing(folder) as part:
        part.mkdir()
        target = _Target(part, max_bytes, max_files)
        try:
            if kind == "zip":
                _unpack_zip(archive, target)
            else:
                with gzip.open(archive) if kind == "gzip" else archive.open("rb") as stream:
                    _unpack_tar(cast(IO[bytes], stream), target)
            target.check_links()
        except _RefusedError as refused:
            raise UserError(f"{_where(archive, target)} {refused} Nothing was unpacked.") from None
        except OSError as error:
            raise UserError(
                f"{_where(archive, target)} cannot be written: {_disk_reason(error)}. "
                "Nothing was unpacked."
            ) from None
        if not target.files and not target.links:
            raise UserError(f"{archive}: the archive holds no files. Download it again.")
        if target.replaced:
            print(f"{archive}: names that occur twice: {target.replaced}; the later file is kept.")
        # A folder cannot be renamed over another: the old one steps aside first.
        if folder.exists() or folder.is_symlink():
            folder.replace(old)
    remove(old)
    return Unpacked(len(target.files), target.written)


class _RefusedError(Exception):
    """A member must not or cannot be unpacked; the text goes on after the member's name."""


class _Target:
    """The folder being filled, what is in it so far, and how much may still come."""

    def __init__(self, root: Path, max_bytes: int, max_files: int) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.member = ""  # the one at hand, for messages
        self.files: set[str] = set()
        self.folders: set[str] = {""}
        self.links: dict[str, str] = {}
        self.entries = 0
        self.counted = 0
        self.written = 0
        self.replaced = 0

    def count_bytes(self, number: int) -> None:
        """Count what the archive unpacks to; refuse it past the limit."""
        self.counted += number
        if self.counted > self.max_bytes:
            raise _RefusedError(
                f"makes the archive unpack to more than {self.max_bytes:,} bytes. If it is meant "
                "to be so large, raise untar.max_bytes in params.yaml."
            )

    def add_folder(self, name: str) -> None:
        """Make a folder, its parents too."""
        self._make(_parts(name))

    def add_file(self, name: str, pieces: Iterable[bytes], executable: bool) -> None:
        """Write a file."""
        relative = self._claim(name)
        path = self.root / relative
        with path.open("xb") as file:  # x: never through a link
            for piece in pieces:
                self.written += file.write(piece)
        path.chmod(_EXECUTABLE if executable else _PLAIN)
        self.files.add(relative)

    def add_link(self, name: str, target: str) -> None:
        """Make a symbolic link whose target, read as text, stays inside."""
        relative = self._claim(name)
        _parts(target, "is a link to", above=True)
        inside = os.path.normpath(PurePosixPath(relative).parent / target)
        if inside.split("/")[0] == "..":
            raise _RefusedError(f"is a link to {target!r}, outside the folder. {_REPACK}")
        (self.root / relative).symlink_to(target)
        self.links[relative] = target

    def add_copy(self, name: str, target: str) -> None:
        """Copy a file that is already here: a hard link would let one file change another."""
        source = "/".join(_parts(target, "is a hard link to"))
        if source not in self.files:
            raise _RefusedError(
                f"is a hard link to {target!r}, which is no file that precedes it. {_REPACK}"
            )
        path = self.root / source
        executable = bool(path.stat().st_mode & 0o100)
        with path.open("rb") as file:
            self.add_file(name, self._counted_pieces(file), executable)

    def check_links(self) -> None:
        """Follow every link for real, now that whatever it leads through is there."""
        root = self.root.resolve()
        for relative, target in self.links.items():
            self.member = relative
            path = root / relative
            # Not resolve(): before Python 3.13 it raises on links in a circle.
            if not Path(os.path.realpath(path)).is_relative_to(root):
                raise _RefusedError(f"is a link to {target!r}, outside the folder. {_REPACK}")
            if not path.exists():  # DVC could not read the folder
                raise _RefusedError(f"is a link to {target!r}, which does not exist. {_REPACK}")

    def _counted_pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        for piece in _pieces(file):
            self.count_bytes(len(piece))
            yield piece

    def _claim(self, name: str) -> str:
        """Check the name of a file or link and make room for it; return it normalised."""
        parts = _parts(name)
        if not parts:
            raise _RefusedError(f"has no name. {_REPACK}")
        self._make(parts[:-1])
        relative = "/".join(parts)
        if relative in self.folders:
            raise _RefusedError(f"is both a file and a folder. {_REPACK}")
        if relative in self.links:
            raise _RefusedError(f"would be written through a link of the same name. {_REPACK}")
        self._count_entry()
        if relative in self.files:
            (self.root / relative).unlink()
            self.files.remove(relative)
            self.replaced += 1
        return relative

    def _make(self, parts: list[str]) -> None:
        relative = "/".join(parts)
        if relative in self.folders:
            return
        self._make(parts[:-1])
        if relative in self.links:
            raise _RefusedError(f"lies below the link {relative!r}. {_REPACK}")
        if relative in self.files:
            raise _RefusedError(f"needs {relative!r} to be both a file and a folder. {_REPACK}")
        self._count_entry()
        folder = self.root / relative
        folder.mkdir()
        folder.chmod(_EXECUTABLE)  # whatever the umask
        self.folders.add(relative)

    def _count_entry(self) -> None:
        self.entries += 1
        if self.entries > self.max_files:
            raise _RefusedError(
                f"makes the archive unpack to more than {self.max_files:,} files and folders. If "
                "it is meant to hold so many, raise untar.max_files in params.yaml."
            )


_REPACK = "Remove the member and pack the archive again, or use another archive."


def _parts(name: str, verb: str = "is", above: bool = False) -> list[str]:
    """Split a member's name, or with `above` a link's target, that stays below its folder."""
    wrong = ""
    if name.startswith("/"):
        wrong = "an absolute name"
    elif re.match(r"[A-Za-z]:", name):
        wrong = "a name with a drive"
    elif "\\" in name:
        wrong = "a name with a backslash"
    elif "\0" in name:
        wrong = "a name with a zero byte"
    elif not name:
        wrong = "an empty name"
    elif not above and ".." in name.split("/"):
        wrong = "a name with '..'"
    if wrong:
        what = wrong if verb == "is" else f"{name!r}, {wrong}"
        raise _RefusedError(f"{verb} {what}. {_REPACK}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if len(parts) > _MAX_DEPTH:
        raise _RefusedError(f"lies more than {_MAX_DEPTH} folders deep. {_REPACK}")
    return parts


class _Stream:
    """A tar archive's decompressed bytes, read forwards only and counted."""

    def __init__(self, stream: IO[bytes], target: _Target) -> None:
        self.stream = stream
        self.target = target
        self.position = 0
        self.last = b""  # the latest read: in the end, the block that closed the archive

    def read(self, number: int) -> bytes:
        if number > _CHUNK:
            raise _RefusedError(f"is followed by a header of {number:,} bytes. {_AGAIN}")
        self.last = self.stream.read(number)
        self.position += len(self.last)
        self.target.count_bytes(len(self.last))
        return self.last

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        if position < self.position:  # a negative length in a header, for example
            raise _RefusedError(f"is followed by a header that points backwards. {_AGAIN}")
        while self.position < position and self.read(min(_CHUNK, position - self.position)):
            pass

    def seekable(self) -> bool:
        return True


_AGAIN = "The archive is damaged: download it again."


def _unpack_tar(stream: IO[bytes], target: _Target) -> None:
    source = _Stream(stream, target)
    with _reading("no tar header at the beginning"):
        # utf-8: names must not depend on the machine's locale.
        tar = tarfile.TarFile(fileobj=cast(IO[bytes], source), encoding="utf-8")
    while True:
        with _reading("is not followed by a whole tar header"):
            member = tar.next()
        if member is None:
            break
        tar.members = []  # type: ignore[attr-defined]  # tarfile would keep all in memory
        target.member = member.name
        _add_tar_member(tar, member, target)
    # tarfile takes a damaged header, or none, for the end: only a block of zeros is.
    if source.last != bytes(tarfile.BLOCKSIZE):
        raise _RefusedError(f"is the last member, but the end mark is missing. {_AGAIN}")
    with _reading("is the last member; what follows it is damaged"):
        while rest := source.read(_CHUNK):  # to the end: a compressed file's checksum is there
            if rest.strip(b"\0"):
                raise _RefusedError(
                    "is the last member, but something follows the end mark: several archives in "
                    "one file, perhaps. Split them and pack one archive."
                )


def _add_tar_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: _Target) -> None:
    if member.isdir():
        target.add_folder(member.name)
    elif member.isreg():
        # A sparse member's holes are not in the stream, but its file would be as long.
        stored = member.size
        if member.sparse is not None:
            stored = _stored_bytes(cast(list[tuple[int, int]], member.sparse), member.size)
        target.count_bytes(member.size - stored)
        with _reading("is damaged"):
            file = tar.extractfile(member)
        assert file is not None  # of a regular file
        target.add_file(member.name, _pieces(file), bool(member.mode & 0o100))
    elif member.issym():
        target.add_link(member.name, member.linkname)
        _second_opinion(member, target)
    elif member.islnk():
        target.add_copy(member.name, member.linkname)
    else:
        raise _RefusedError(f"is {_special(member)}. {_REPACK}")


def _second_opinion(member: tarfile.TarInfo, target: _Target) -> None:
    """Let Python's own filter judge a link too, where this Python has one (3.11.4)."""
    judge = getattr(tarfile, "data_filter", None)
    if judge is None:
        return
    try:
        judge(member, str(target.root.absolute()))
    except tarfile.FilterError:
        raise _RefusedError(
            f"is a link to {member.linkname!r}, outside the folder. {_REPACK}"
        ) from None


def _stored_bytes(sparse: list[tuple[int, int]], total: int) -> int:
    """Check a sparse member's map of (offset, length) and return the sum of its lengths."""
    end = 0
    for offset, length in sparse:
        if offset < end or length < 0 or offset + length > total:
            raise _RefusedError(f"is a sparse file whose map contradicts itself. {_AGAIN}")
        end = offset + length
    return sum(length for _, length in sparse)


def _special(member: tarfile.TarInfo) -> str:
    if member.ischr() or member.isblk():
        return "a device"
    return "a named pipe" if member.isfifo() else f"of the unknown type {member.type!r}"


def _unpack_zip(archive: Path, target: _Target) -> None:
    with _reading("the list of members cannot be read"):
        file = zipfile.ZipFile(archive)
    with file:
        members = file.infolist()
        declared = sum(member.file_size for member in members)
        if declared > target.max_bytes:
            target.member = max(members, key=lambda member: member.file_size).filename
            target.count_bytes(declared)
        require_free_space(target.root, declared, f"Unpacking {archive.name}")
        for member in members:
            target.member = _zip_name(member)
            _add_zip_member(file, member, target)


def _add_zip_member(file: zipfile.ZipFile, member: zipfile.ZipInfo, target: _Target) -> None:
    name = target.member
    if member.flag_bits & (0x1 | 0x40 | 0x2000):
        raise _RefusedError(
            "is encrypted. Unpack the archive with its password and pack it without."
        )
    mode = member.external_attr >> 16 if member.create_system == 3 else 0  # 3: made on Unix
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise _RefusedError(f"is a device, a named pipe or a socket. {_REPACK}")
    if name.endswith("/"):
        target.add_folder(name)
        return
    pieces = _zip_pieces(file, member, target)
    if stat.S_ISLNK(mode):
        target.add_link(name, b"".join(pieces).decode("utf-8", "surrogateescape"))
    else:
        target.add_file(name, pieces, bool(mode & 0o100))


def _zip_pieces(file: zipfile.ZipFile, member: zipfile.ZipInfo, target: _Target) -> Iterator[bytes]:
    with _reading("is damaged"):
        content = file.open(member)
    with content:
        for piece in _pieces(content):
            target.count_bytes(len(piece))
            yield piece


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Return the name as it was meant, complete with any zero byte.

    Some packers (macOS's for one) write UTF-8 without setting the flag that says so; zipfile then
    reads it as code page 437. Text in that code page is hardly ever valid UTF-8 by chance.
    """
    name = member.orig_filename
    if member.flag_bits & 0x800 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while True:
        with _reading("is damaged"):
            piece = file.read(_CHUNK)
        if not piece:
            return
        yield piece


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn whatever a reader raises on damaged input into a refusal."""
    try:
        yield
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise _RefusedError(f"{what} ({reason}). {_AGAIN}") from None


def _where(archive: Path, target: _Target) -> str:
    # repr: a hostile name must not reach the terminal as it is.
    return f"{archive}: {target.member!r}" if target.member else f"{archive}:"


def _disk_reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):  # every name is new by now, so it is the disk's view
        return "this disk takes two of the archive's names for the same"
    return (error.strerror or str(error)).lower()


def _unknown_kind(archive: Path, head: bytes) -> str:
    known = "a .tgz, .tar.gz, .tar or .zip archive"
    if not head:
        return f"{archive} is empty, not {known}. Download it again."
    for magic, name in _OTHER_KINDS.items():
        if head.startswith(magic):
            return f"{archive} is a {name} file, not {known}. Pack its content as one of these."
    return f"{archive} is not {known}: it begins with {head[:24]!r}. Download it again."
