"""Archives, honest and hostile, built byte by byte where no packer would make them."""

import bz2
import gzip
import io
import os
import random
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw.core.errors import UserError
from thaw.unpack import Unpacked, archive_kind, unpack

ROOMY = {"max_bytes": 50_000_000, "max_files": 1000}
TREE = {
    "set/a.jpg": b"first",
    "set/deep/er/b.jpg": bytes(1000),
    "set/._a.jpg": b"macOS",
    "set/empty": b"",
    "set/\u00e9t\u00e9 \u732b.txt": b"names",
    "set/512": b"x" * 512,
}


def member(name: str, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar_of(*entries: tuple[tarfile.TarInfo, bytes], **settings) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **settings) as tar:
        for info, content in entries:
            if content:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_tree(tree: dict[str, bytes]) -> bytes:
    return tar_of(*[(member(name), content) for name, content in tree.items()])


def zip_of(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for info, content in entries:
            file.writestr(info, content)
    return buffer.getvalue()


def zip_member(name: str, mode: int = 0, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name  # past zipfile's own corrections
    info.external_attr = mode << 16
    info.create_system = system
    return info


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target), b""


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target), b""


def file(name: str, content: bytes = b"content") -> tuple[tarfile.TarInfo, bytes]:
    return member(name), content


def opened(tmp_path: Path, content: bytes, **limits: int) -> Unpacked:
    archive = tmp_path / "set.archive"
    archive.write_bytes(content)
    return unpack(archive, tmp_path / "data" / "raw", **(ROOMY | limits))


def found(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(tmp_path: Path, content: bytes, **limits: int) -> str:
    """Unpack what must be refused and must leave nothing, here or outside; return the message."""
    with pytest.raises(UserError) as caught:
        opened(tmp_path, content, **limits)
    everything = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert everything <= {"set.archive", "data"}
    assert str(caught.value).startswith(str(tmp_path / "set.archive"))
    return str(caught.value)


PACKED: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "tar": tar_tree,
    "tgz": lambda tree: gzip.compress(tar_tree(tree)),
    "two gzip parts": lambda tree: (
        gzip.compress(tar_tree(tree)[:700]) + gzip.compress(tar_tree(tree)[700:])
    ),
    "ustar": lambda tree: tar_of(
        *[file(name, content) for name, content in tree.items()], format=tarfile.USTAR_FORMAT
    ),
    "gnu": lambda tree: tar_of(
        *[file(name, content) for name, content in tree.items()], format=tarfile.GNU_FORMAT
    ),
    "zip": lambda tree: zip_of(*tree.items()),
}


@pytest.mark.parametrize("kind", PACKED)
def test_every_file_comes_out_whatever_the_archive_is_called(tmp_path: Path, kind: str) -> None:
    assert opened(tmp_path, PACKED[kind](TREE)) == Unpacked(6, sum(map(len, TREE.values())))
    assert found(tmp_path / "data" / "raw") == TREE
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]


names = st.lists(
    st.text(
        st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]),
        min_size=1,
        max_size=12,
    ).filter(lambda part: part not in (".", "..") and part[1:2] != ":"),
    min_size=1,
    max_size=3,
).map("/".join)


@settings(max_examples=40, deadline=None)
@given(name=names, kind=st.sampled_from(sorted(PACKED)))
def test_any_harmless_name_survives(name: str, kind: str) -> None:
    # The packer for ustar knows short names only, and no characters that need another header.
    with tempfile.TemporaryDirectory() as folder:
        content = PACKED[kind]({name: name.encode()})
        assert opened(Path(folder), content) == Unpacked(1, len(name.encode()))
        assert found(Path(folder) / "data" / "raw") == {name: name.encode()}


def test_a_long_name_in_an_extended_header_survives(tmp_path: Path) -> None:
    name = "/".join(["folder" * 20] * 8) + "/file"
    opened(tmp_path, tar_tree({name: b"x"}))
    assert found(tmp_path / "data" / "raw") == {name: b"x"}


def test_modes_are_plain_whatever_the_archive_and_the_umask_say(tmp_path: Path) -> None:
    folder = member("set", type=tarfile.DIRTYPE, mode=0o000)
    tar = tar_of(
        (folder, b""),
        (member("set/plain", mode=0o4600), b"x"),
        (member("set/run", mode=0o6711), b"x"),
        (member("set/none", mode=0o000), b"x"),
        (member("new/file", mode=0o666), b"x"),
    )
    previous = os.umask(0o077)
    try:
        opened(tmp_path, tar)
    finally:
        os.umask(previous)
    raw = tmp_path / "data" / "raw"
    modes = {p.relative_to(raw).as_posix(): stat.S_IMODE(p.stat().st_mode) for p in raw.rglob("*")}
    assert modes == {
        "set": 0o755, "set/plain": 0o644, "set/run": 0o755, "set/none": 0o644,
        "new": 0o755, "new/file": 0o644,
    }  # fmt: skip


def test_zip_modes_links_and_folders_are_kept(tmp_path: Path) -> None:
    content = zip_of(
        (zip_member("set/", stat.S_IFDIR | 0o700), b""),
        (zip_member("set/run", stat.S_IFREG | 0o700), b"x"),
        (zip_member("set/plain", stat.S_IFREG | 0o600), b"x"),
        (zip_member("set/dos", stat.S_IFLNK | 0o777, system=0), b"plain"),
        (zip_member("set/link", stat.S_IFLNK | 0o777), b"plain"),
        (zip_member("bare/", 0), b""),
    )
    opened(tmp_path, content)
    raw = tmp_path / "data" / "raw"
    assert stat.S_IMODE((raw / "set/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((raw / "set/plain").stat().st_mode) == 0o644
    assert (raw / "set/link").readlink() == Path("plain")
    assert not (raw / "set/dos").is_symlink()  # only Unix packers say what is a link
    assert (raw / "bare").is_dir()


def test_zip_names_in_utf8_without_the_flag_are_read_as_meant(tmp_path: Path) -> None:
    content = zip_of(("caf\u00e9/\u00fc.jpg", b"x"), ("na\u00efve", b"y"))
    unflagged = bytearray(content)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(magic)
        while start >= 0:
            unflagged[start + offset + 1] &= ~0x08
            start = content.find(magic, start + 4)
    opened(tmp_path, bytes(unflagged))
    assert set(found(tmp_path / "data" / "raw")) == {"caf\u00e9/\u00fc.jpg", "na\u00efve"}


def test_zip_names_in_an_old_code_page_are_read_as_zip_defines(tmp_path: Path) -> None:
    content = zip_of(("caf?.jpg", b"x")).replace(b"caf?", b"caf\x82")
    opened(tmp_path, content)
    assert set(found(tmp_path / "data" / "raw")) == {"caf\u00e9.jpg"}


def test_links_inside_the_folder_are_kept(tmp_path: Path) -> None:
    tar = tar_of(
        link("set/forward", "../other/file"),  # its target comes later
        file("other/file"),
        hard_link("set/hard", "other/file"),
        link("set/folder", "../other"),
    )
    assert opened(tmp_path, tar) == Unpacked(2, 14)
    raw = tmp_path / "data" / "raw"
    assert (raw / "set/forward").read_bytes() == b"content"
    assert (raw / "set/folder/file").read_bytes() == b"content"
    assert (raw / "set/hard").read_bytes() == b"content"
    assert (raw / "set/hard").stat().st_nlink == 1  # a copy: a change in one is none in the other


def test_an_old_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw"
    for name in ("raw", ".raw.part", ".raw.old"):  # the hidden ones: of a killed process
        (tmp_path / "data" / name / "stale").mkdir(parents=True)
    opened(tmp_path, tar_tree(TREE))
    assert found(raw) == TREE
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]


def test_a_refused_archive_leaves_the_old_folder_alone(tmp_path: Path) -> None:
    opened(tmp_path, tar_tree(TREE))
    with pytest.raises(UserError):
        opened(tmp_path, tar_of(file("new"), file("../out")))
    assert found(tmp_path / "data" / "raw") == TREE
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]


def test_the_later_of_two_files_of_one_name_wins_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert opened(tmp_path, tar_of(file("a", b"old"), file("./a", b"later"))).files == 1
    assert found(tmp_path / "data" / "raw") == {"a": b"later"}
    assert "names that occur twice: 1" in capsys.readouterr().out


BAD_NAMES = [
    ("/etc/cron.d/x", "is an absolute name"),
    ("../out", "is a name with '..'"),
    ("a/../../out", "is a name with '..'"),
    ("a/..", "is a name with '..'"),
    ("C:/windows/x", "is a name with a drive"),
    ("c:x", "is a name with a drive"),
    ("a\\..\\..\\out", "is a name with a backslash"),
    ("\\\\server\\share", "is a name with a backslash"),
    ("/".join(["d"] * 101), "lies more than 100 folders deep"),
]


@pytest.mark.parametrize(("name", "reason"), BAD_NAMES)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    told = f": {name!r} {reason}"
    assert told in refused(tmp_path, tar_of(file("good"), file(name)))
    assert told in refused(tmp_path, gzip.compress(tar_of(file("good"), file(name))))
    assert told in refused(tmp_path, tar_of((member(name, type=tarfile.DIRTYPE), b"")))
    assert told in refused(tmp_path, zip_of(("good", b"x"), (zip_member(name), b"x")))


def test_a_zip_name_that_hides_behind_a_zero_byte_is_refused(tmp_path: Path) -> None:
    content = zip_of(("a.jpg?../../out", b"x")).replace(b".jpg?", b".jpg\0")
    assert "is a name with a zero byte" in refused(tmp_path, content)


def test_files_without_a_name_are_refused(tmp_path: Path) -> None:
    assert "has no name" in refused(tmp_path, tar_of(file("good"), file("./.")))


BAD_LINKS = [
    ("/etc/passwd", "an absolute name"),
    ("../../out", "outside the folder"),
    ("../a/../../out", "outside the folder"),
    ("C:/x", "a name with a drive"),
    ("..\\..\\out", "a name with a backslash"),
    ("missing", "which does not exist"),
    ("link", "which does not exist"),  # itself
]


@pytest.mark.parametrize(("target", "reason"), BAD_LINKS)
def test_links_that_lead_elsewhere_are_refused(tmp_path: Path, target: str, reason: str) -> None:
    message = refused(tmp_path, tar_of(file("good"), link("a/link", target)))
    assert f"'a/link' is a link to {target!r}, {reason}" in message
    zipped = zip_of(("good", b"x"), (zip_member("a/link", stat.S_IFLNK | 0o777), target.encode()))
    assert f"'a/link' is a link to {target!r}, {reason}" in refused(tmp_path, zipped)


def test_links_that_leave_only_together_are_refused(tmp_path: Path) -> None:
    # Read as text, both stay inside; followed, the first makes the second leave.
    up, out = link("a/b/up", "../.."), link("out", "a/b/up/../x")
    inside = member("a/b", type=tarfile.DIRTYPE), b""
    (tmp_path / "data").mkdir()
    assert "outside the folder" in refused(tmp_path, tar_of(inside, up, out))
    assert "outside the folder" in refused(tmp_path, tar_of(inside, out, up))
    zipped = zip_of(
        ("a/b/", b""),
        (zip_member("out", stat.S_IFLNK), b"a/b/up/../x"),
        (zip_member("a/b/up", stat.S_IFLNK), b"../.."),
    )
    assert "outside the folder" in refused(tmp_path, zipped)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    inside = file("real/kept", b"kept")
    assert "lies below the link 'door'" in refused(
        tmp_path, tar_of(inside, link("door", "real"), file("door/kept", b"changed"))
    )
    assert "through a link of the same name" in refused(
        tmp_path, tar_of(inside, link("door", "real/kept"), file("door", b"changed"))
    )
    assert "through a link of the same name" in refused(
        tmp_path, tar_of(inside, link("door", "real/kept"), link("door", "real"))
    )


def test_a_copy_of_a_hard_link_is_not_changed_by_a_later_file(tmp_path: Path) -> None:
    opened(tmp_path, tar_of(file("a", b"old"), hard_link("b", "a"), file("b", b"new")))
    assert found(tmp_path / "data" / "raw") == {"a": b"old", "b": b"new"}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "an absolute name"),
        ("../out", "a name with '..'"),
        ("later", "no file that precedes it"),
        ("link", "no file that precedes it"),  # to a symbolic link: to whatever that points at
    ],
)
def test_hard_links_to_anything_but_an_earlier_file_are_refused(
    tmp_path: Path, target: str, reason: str
) -> None:
    tar = tar_of(file("good"), link("link", "good"), hard_link("hard", target), file("later"))
    message = refused(tmp_path, tar)
    assert f"'hard' is a hard link to {target!r}" in message
    assert reason in message


def test_names_that_are_file_and_folder_are_refused(tmp_path: Path) -> None:
    assert "to be both a file and a folder" in refused(tmp_path, tar_of(file("a"), file("a/b")))
    assert "is both a file and a folder" in refused(tmp_path, tar_of(file("a/b"), file("a")))
    assert "both a file and a folder" in refused(tmp_path, zip_of(("a", b"x"), ("a/", b"")))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a named pipe"),
        (b"Z", "is of the unknown type b'Z'"),
    ],
)
def test_what_is_no_file_folder_or_link_is_refused(
    tmp_path: Path, kind: bytes, reason: str
) -> None:
    message = refused(tmp_path, tar_of(file("good"), (member("special", type=kind), b"")))
    assert f"'special' {reason}" in message


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_special_files_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    content = zip_of(("good", b"x"), (zip_member("special", kind | 0o644), b""))
    assert "'special' is a device, a named pipe or a socket" in refused(tmp_path, content)


def test_exactly_the_limits_are_allowed(tmp_path: Path) -> None:
    tree = {"a/one": b"x" * 600, "a/two": b"y" * 400}
    tar = tar_tree(tree)
    opened(tmp_path, tar, max_bytes=len(tar), max_files=3)  # the folder is the third
    assert "more than 10,239 bytes" in refused_anew(tmp_path, tar, max_bytes=len(tar) - 1)
    assert "more than 2 files and folders" in refused_anew(tmp_path, tar, max_files=2)
    zipped = zip_of(*tree.items())
    opened(tmp_path, zipped, max_bytes=1000, max_files=3)
    assert "raise untar.max_bytes" in refused_anew(tmp_path, zipped, max_bytes=999)
    assert "raise untar.max_files" in refused_anew(tmp_path, zipped, max_files=2)


def refused_anew(tmp_path: Path, content: bytes, **limits: int) -> str:
    elsewhere = Path(tempfile.mkdtemp(dir=tmp_path.parent))
    return refused(elsewhere, content, **limits)


def test_a_gzip_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    bomb = gzip.compress(tar_of(file("good"), file("zeros", bytes(20_000_000))))
    assert len(bomb) < 50_000
    assert "'zeros' makes the archive unpack to more than 1,000,000 bytes" in refused(
        tmp_path, bomb, max_bytes=1_000_000
    )


def test_zeros_after_the_end_mark_count_too(tmp_path: Path) -> None:
    bomb = gzip.compress(tar_of(file("good")) + bytes(5_000_000))
    assert "more than 1,000,000 bytes" in refused(tmp_path, bomb, max_bytes=1_000_000)


def test_a_zip_bomb_that_declares_its_size_is_refused_at_once(tmp_path: Path) -> None:
    bomb = zip_of(("good", b"x"), ("zeros", bytes(5_000_000)))
    assert "'zeros' makes the archive" in refused(tmp_path, bomb, max_bytes=1_000_000)


def test_a_zip_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    honest = zip_of(("zeros", bytes(5_000_000)))
    declared = struct.pack("<L", 5_000_000)
    assert honest.count(declared) == 2
    assert "'zeros' is damaged" in refused(
        tmp_path, honest.replace(declared, struct.pack("<L", 10)), max_bytes=1_000_000
    )


def test_overlapping_zip_members_count_each_time(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(400_000))
        file.filelist *= 5  # the list of members names the same bytes five times
    assert "more than 1,000,000 bytes" in refused(tmp_path, buffer.getvalue(), max_bytes=10**6)


def test_holes_of_a_sparse_member_count(tmp_path: Path) -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes"}
    sparse["GNU.sparse.realsize"] = "3000000"
    stored = b"1\n2999997\n3\n".ljust(512, b"\0") + b"end"
    tar = tar_of((member("x", pax_headers=sparse), stored), format=tarfile.PAX_FORMAT)
    assert len(tar) < 11_000
    opened(tmp_path, tar)
    assert found(tmp_path / "data" / "raw") == {"holes": bytes(2_999_997) + b"end"}
    assert "'holes' makes" in refused_anew(tmp_path, tar, max_bytes=1_000_000)


@pytest.mark.parametrize("numbers", [b"2\n10\n3\n5\n3\n", b"1\n5\n-3\n", b"1\n2999998\n3\n"])
def test_a_sparse_map_that_contradicts_itself_is_refused(tmp_path: Path, numbers: bytes) -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes"}
    sparse["GNU.sparse.realsize"] = "3000000"
    stored = numbers.ljust(512, b"\0") + b"endend"
    tar = tar_of((member("x", pax_headers=sparse), stored), format=tarfile.PAX_FORMAT)
    assert "contradicts itself" in refused(tmp_path, tar)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    huge = member("@LongLink", type=tarfile.GNUTYPE_LONGNAME)
    tar = tar_of(file("good"), (huge, bytes(10_000_000)))
    assert "followed by a header of 10,000,384 bytes" in refused(tmp_path, gzip.compress(tar))


def test_a_negative_length_is_refused(tmp_path: Path) -> None:
    # tarfile would read the same header for ever.
    info = member("odd", type=tarfile.FIFOTYPE, size=0)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"Q"  # a type that carries data
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    refused(tmp_path, tar_of(file("good"))[:1024] + bytes(header) + bytes(1024))
    header[156:157] = tarfile.REGTYPE
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    refused(tmp_path, tar_of(file("good"))[:1024] + bytes(header) + bytes(1024))


def test_nested_headers_without_end_are_refused(tmp_path: Path) -> None:
    longer = member("@LongLink", type=tarfile.GNUTYPE_LONGNAME)
    tar = tar_of(file("good"), *[(longer, b"name")] * 2000, file("last"))
    assert "'good' is not followed by a whole tar header" in refused(tmp_path, tar)


LONG = tar_tree({f"set/{i:03d}": random.Random(i).randbytes(1000) for i in range(30)})


@pytest.mark.parametrize("kept", [100, 512, 1000, 1536, 2048, 20_000, len(LONG) - 10_240])
def test_a_tar_archive_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    message = refused(tmp_path, LONG[: -(-kept // 512) * 512] if kept > 1000 else LONG[:kept])
    assert "ownload it again" in message


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_compressed_archive_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    packed = gzip.compress(LONG)
    assert "damaged" in refused(tmp_path, packed[: int(len(packed) * share) + 10])


def test_a_compressed_archive_without_its_checksum_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(LONG)
    assert "'set/029' is the last member; what follows it" in refused(tmp_path, packed[:-8])
    wrong = packed[:-8] + bytes(4) + packed[-4:]
    assert "CRC" in refused(tmp_path, wrong)


def test_a_damaged_header_in_the_middle_is_refused(tmp_path: Path) -> None:
    # tarfile itself takes it for the end, and says nothing of what is missing.
    start = LONG.index(b"set/010")
    damaged = LONG[:start] + b"S" + LONG[start + 1 :]
    assert "'set/009' is the last member, but the end mark is missing" in refused(tmp_path, damaged)


def test_a_second_archive_behind_the_end_mark_is_refused(tmp_path: Path) -> None:
    assert "something follows the end mark" in refused(tmp_path, tar_tree(TREE) + LONG)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_zip_archive_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    packed = zip_of(*TREE.items())
    assert "cannot be read" in refused(tmp_path, packed[: max(5, int(len(packed) * share))])


def test_a_zip_member_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    packed = bytearray(zip_of(("good", b"x"), ("bad", bytes(range(256)))))
    packed[packed.index(b"bad") + 40] ^= 1
    assert "'bad' is damaged" in refused(tmp_path, bytes(packed))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    packed = bytearray(zip_of(("good", b"x"), ("secret", b"y")))
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    message = refused(tmp_path, bytes(packed))
    assert "'secret' is encrypted" in message
    assert "password" in message


def test_a_zip_that_would_not_fit_is_refused_beforehand(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("large", b"x")
        file.filelist[0].file_size = 10**17
    with pytest.raises(UserError, match="needs 100,000,000,000 MB"):
        opened(tmp_path, buffer.getvalue(), max_bytes=10**18)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_name_that_the_disk_refuses_is_told(tmp_path: Path) -> None:
    assert "cannot be written: file name too long" in refused(tmp_path, tar_tree({"n" * 300: b"x"}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<!doctype html>", "begins with b'<!doctype html>'"),
        (bz2.compress(LONG), "is a bzip2 file"),
        (b"\xfd7zXZ\0" + bytes(100), "is a xz file"),
        (gzip.compress(b"no tar" * 1000), "no tar header at the beginning"),
        (gzip.compress(b""), "no tar header at the beginning"),
        (gzip.compress(tar_of()), "holds no files"),
        (gzip.compress(tar_of((member("a", type=tarfile.DIRTYPE), b""))), "holds no files"),
        (zip_of(), "holds no files"),
        (bytes(10_240), "is not a .tgz"),
    ],
    # Named: the contents have the second in them at which they were packed.
    ids=[
        "nothing",
        "a page",
        "bzip2",
        "xz",
        "no tar",
        "gzip of nothing",
        "no files",
        "a folder alone",
        "zip without files",
        "zeros",
    ],
)
def test_what_is_no_archive_or_an_empty_one_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    assert reason in refused(tmp_path, content)


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    message = refused(tmp_path, tar_of(file("../\x1b[2J\n\udcff")))
    assert message.isprintable()
    message.encode()


def test_the_kind_is_told_by_content() -> None:
    assert archive_kind(LONG) == "tar"
    assert archive_kind(gzip.compress(b"")) == "gzip"
    assert archive_kind(zip_of(("a", b"x"))) == "zip"
    assert archive_kind(LONG[:511]) is None
    assert archive_kind(b"") is None
