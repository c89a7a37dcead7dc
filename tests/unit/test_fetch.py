"""Transfers from a real server on loopback that fails in the ways real servers fail."""

import datetime
import gzip
import hashlib
import ipaddress
import random
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken_server import (
    Site,
    breaking_after,
    ignoring_ranges,
    in_chunks,
    saying,
    serving,
    stalling_after,
    well,
    without_length,
)

from thaw.core.errors import UserError
from thaw.fetch import Patience, alone_in, fetch, place, scratch_folder
from thaw.params.base import parse
from thaw.params.download import Download, file_name, shown

MIB = 2**20
QUICK = Patience(tries=3, first_wait=0.01, timeout=20.0)
PAGE = b"<!DOCTYPE html><html><head><title>Sign in first</title></head><body>...</body></html>"


def archive(length: int, seed: int = 0) -> bytes:
    """Return `length` bytes that begin as a gzip file does."""
    return gzip.compress(b"", mtime=0)[:10] + random.Random(seed).randbytes(length - 10)


CONTENT = archive(300_000)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(CONTENT) as site:
        yield site


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def get(url: str, *, mirror: str | None = None, patience: Patience = QUICK, **checks) -> bytes:
    wanted = Download(url=url, **checks)
    path = fetch(wanted, Path("got"), where="recipes.r.download", mirror=mirror, patience=patience)
    assert path == Path("got", file_name(url))
    assert [p.name for p in Path("got").iterdir()] == [path.name]
    assert leftovers() == []
    return path.read_bytes()


def leftovers() -> list[str]:
    """Return what transfers have left, but for the empty files that serve as locks."""
    files = Path(".thaw").rglob("*")
    return sorted(path.name for path in files if path.is_file() and path.name != "lock")


def partial(url: str) -> Path:
    return scratch_folder(Path(".thaw/downloads"), url) / "partial"


def refused(url: str, **settings) -> str:
    with pytest.raises(UserError) as caught:
        get(url, **settings)
    assert not Path("got").exists()
    return str(caught.value)


def test_a_good_server_is_asked_once_and_for_the_file_as_it_is(site: Site) -> None:
    assert get(f"{site.address}/data/set.tgz?key=1") == CONTENT
    assert [path for path, _ in site.requests] == ["/data/set.tgz?key=1"]
    assert site.asked("Range") == [None]
    assert site.asked("Accept-Encoding") == ["identity"]


def test_a_broken_connection_is_gone_on_with_where_it_broke(site: Site) -> None:
    site.answers = [breaking_after(100_000), breaking_after(50_000)]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert site.asked("Range") == [None, "bytes=100000-", "bytes=150000-"]
    assert site.asked("If-Range") == [None, '"first"', '"first"']


def test_the_next_process_goes_on_where_the_last_one_gave_up(site: Site) -> None:
    url = f"{site.address}/set.tgz"
    site.answers = [breaking_after(100_000)] + [saying(500)] * 2
    message = refused(url)
    assert "gave up after 3 tries" in message
    assert "0.1 MB are kept" in message
    assert partial(url).read_bytes() == CONTENT[:100_000]
    assert get(url) == CONTENT
    assert site.asked("Range")[3:] == ["bytes=100000-"]


def test_failures_that_bring_the_file_nearer_do_not_use_up_the_tries(site: Site) -> None:
    site.content = archive(7 * MIB)
    site.answers = [breaking_after(MIB)] * 6
    assert get(f"{site.address}/set.tgz") == site.content
    assert len(site.requests) == 7


def test_a_server_that_always_starts_anew_and_breaks_is_given_up(site: Site) -> None:
    site.content = archive(3 * MIB)
    site.validators = {}
    site.answers = [breaking_after(2 * MIB)] * 20
    assert "gave up after 3 tries" in refused(f"{site.address}/set.tgz")
    assert len(site.requests) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_errors_are_tried_again(site: Site, status: int) -> None:
    site.answers = [saying(status), saying(status)]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert len(site.requests) == 3


def test_lasting_errors_of_a_passing_kind_are_given_up(site: Site) -> None:
    site.answers = [saying(503)] * 20
    message = refused(f"{site.address}/set.tgz")
    assert "the server answered 503" in message
    assert "THAW_MIRROR" in message
    assert len(site.requests) == QUICK.tries


def test_waits_grow_and_a_server_may_ask_for_a_longer_one(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.answers = [saying(503), saying(503), saying(429, Retry_After="1"), saying(503)]
    get(f"{site.address}/set.tgz", patience=Patience(tries=5, first_wait=0.01))
    lines = [line for line in capsys.readouterr().out.splitlines() if "Trying again" in line]
    waits = [line.split("again in ")[1].split(" s")[0] for line in lines]
    assert waits == ["0.01", "0.02", "1", "0.08"]


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "does not have it"), (403, "refuses access"), (400, "400")]
)
def test_lasting_errors_are_not_tried_again(site: Site, status: int, reason: str) -> None:
    site.answers = [saying(status)]
    message = refused(f"{site.address}/set.tgz")
    assert message.startswith(f"recipes.r.download: {site.address}/set.tgz: ")
    assert reason in message
    assert len(site.requests) == 1


def test_a_stalled_connection_is_left_and_gone_on_with(site: Site) -> None:
    site.answers = [stalling_after(100_000)]
    assert get(f"{site.address}/set.tgz", patience=Patience(20, 0.01, 0.5)) == CONTENT
    assert site.asked("Range")[:2] == [None, "bytes=100000-"]


def test_a_port_where_nobody_listens_is_given_up_with_the_reason() -> None:
    with serving(CONTENT) as closed:
        address = closed.address
    assert "refused" in refused(f"{address}/set.tgz")


def test_a_server_that_ignores_ranges_sends_the_file_anew(site: Site) -> None:
    site.answers = [breaking_after(100_000), ignoring_ranges]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert site.asked("Range") == [None, "bytes=100000-"]


def test_a_file_that_changes_meanwhile_is_never_mixed(site: Site) -> None:
    url = f"{site.address}/set.tgz"
    site.answers = [breaking_after(100_000)] + [saying(503)] * 2
    refused(url)
    site.content, site.validators = archive(200_000, seed=1), {"ETag": '"second"'}
    assert get(url) == site.content
    assert site.asked("Range")[-1] == "bytes=100000-"


def test_a_date_serves_where_the_etag_is_weak(site: Site) -> None:
    changed = "Wed, 01 Jan 2020 00:00:00 GMT"
    site.validators = {"ETag": 'W/"weak"', "Last-Modified": changed}
    site.answers = [breaking_after(100_000)]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert site.asked("If-Range") == [None, changed]


def test_without_etag_and_date_a_broken_transfer_starts_over(site: Site) -> None:
    site.validators = {}
    site.answers = [breaking_after(100_000)]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert site.asked("Range") == [None, None]


def test_a_range_past_the_end_starts_over(site: Site) -> None:
    # The file shrinks under the same ETag.
    site.answers = [breaking_after(200_000), lambda handler: shrink(handler.site) or well(handler)]
    assert get(f"{site.address}/set.tgz") == CONTENT[:150_000]
    assert site.asked("Range") == [None, "bytes=200000-", None]


def shrink(site: Site) -> None:
    site.content = CONTENT[:150_000]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Range": "bytes 5-104/300000", "ETag": '"first"'},
        {"Content_Range": "bytes 100000-100099/300001", "ETag": '"first"'},
        {"Content_Range": "bytes 100000-100099/300000", "ETag": '"other"'},
        {},
    ],
    ids=["other start", "other length", "other version", "none told"],
)
def test_a_range_that_was_not_asked_for_is_thrown_away(site: Site, headers: dict[str, str]) -> None:
    site.answers = [breaking_after(100_000), saying(206, b"?" * 100, **headers)]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert site.asked("Range") == [None, "bytes=100000-", None]


def test_more_than_announced_is_thrown_away(site: Site) -> None:
    long = {"Content_Range": "bytes 100000-299999/300000", "ETag": '"first"'}
    site.answers = [breaking_after(100_000), saying(206, b"?" * 200_001, **long)]
    assert get(f"{site.address}/set.tgz") == CONTENT


def test_a_chunked_transfer_that_breaks_is_gone_on_with(site: Site) -> None:
    site.answers = [in_chunks(100_000)]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert site.asked("Range") == [None, "bytes=100000-"]


def test_a_chunked_transfer_of_unknown_length_is_believed(site: Site) -> None:
    site.answers = [in_chunks()]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert len(site.requests) == 1


def test_the_bytes_in_the_parameters_tell_a_silent_break_from_the_end(site: Site) -> None:
    site.answers = [without_length(100_000), without_length()]
    assert get(f"{site.address}/set.tgz", bytes=len(CONTENT)) == CONTENT
    assert site.asked("Range") == [None, "bytes=100000-"]


def test_a_chunked_transfer_tells_its_own_end(site: Site) -> None:
    site.answers = [in_chunks()]
    message = refused(f"{site.address}/set.tgz", bytes=300_001)
    assert "bytes: expected 300001, got 300000" in message
    assert len(site.requests) == 1  # not taken for a break, and not tried again


def test_a_whole_partial_is_checked_and_not_fetched_again(site: Site) -> None:
    url = f"{site.address}/set.tgz"
    site.answers = [breaking_after(100_000)] + [saying(503)] * 2
    refused(url)
    partial(url).write_bytes(CONTENT)  # as after a kill between the last byte and the checks
    assert get(url) == CONTENT
    assert len(site.requests) == 3


def test_a_damaged_note_about_a_partial_starts_over(site: Site) -> None:
    url = f"{site.address}/set.tgz"
    site.answers = [breaking_after(100_000)] + [saying(503)] * 2
    refused(url)
    partial(url).with_name("state.json").write_text('{"validator": ')
    assert get(url) == CONTENT
    assert site.asked("Range")[-1] is None


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/html; charset=utf-8", PAGE), ("application/gzip", b"\n " + PAGE)],
    ids=["told by type", "told by content"],
)
def test_a_web_page_in_the_place_of_an_archive_is_refused(
    site: Site, content_type: str, body: bytes
) -> None:
    site.answers = [saying(200, body, Content_Type=content_type)]
    url = f"{site.address}/set.tgz"
    message = refused(url, bytes=len(CONTENT))
    assert "sent a web page ('Sign in first')" in message
    assert len(site.requests) == 1
    assert leftovers() == []


def test_a_web_page_does_not_cost_what_was_fetched_before_it(site: Site) -> None:
    site.answers = [breaking_after(100_000), saying(200, PAGE, Content_Type="text/html")]
    url = f"{site.address}/set.tgz"
    assert "web page" in refused(url)
    assert get(url) == CONTENT
    assert site.asked("Range") == [None, "bytes=100000-", "bytes=100000-"]


def test_an_archive_under_a_wrong_content_type_is_accepted(site: Site) -> None:
    site.answers = [saying(200, CONTENT, Content_Type="text/html")]
    assert get(f"{site.address}/set.tgz") == CONTENT


@pytest.mark.parametrize("name", ["set.tgz", "set.tar.gz", "SET.TAR", "set.zip"])
def test_what_is_no_archive_is_refused_under_the_name_of_one(site: Site, name: str) -> None:
    site.content = b'{"error": "quota"}'
    assert """it begins with b'{"error": "quota"}'""" in refused(f"{site.address}/{name}")


def test_other_names_may_hold_anything(site: Site) -> None:
    site.content = b"weights"
    assert get(f"{site.address}/resnet34.pth") == b"weights"


def test_a_redirect_is_followed_for_the_first_request_and_for_ranges(site: Site) -> None:
    away = saying(302, Location="/elsewhere/stored?signature=x")
    site.answers = [away, breaking_after(100_000), away]
    assert get(f"{site.address}/set.tgz") == CONTENT
    assert site.asked("Range") == [None, None, "bytes=100000-", "bytes=100000-"]


def test_redirects_in_a_circle_or_to_another_scheme_are_refused(site: Site) -> None:
    site.answers = [saying(302, Location="/set.tgz")] * 50
    assert "in a circle" in refused(f"{site.address}/set.tgz")
    site.answers = [saying(302, Location="ftp://user:secret@host/set.tgz")]
    message = refused(f"{site.address}/set.tgz")
    assert "malformed" in message
    assert "secret" not in message


def checks_of(content: bytes) -> dict[str, str | int]:
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "md5_first_mib": hashlib.md5(content[:MIB]).hexdigest(),
    }


def test_right_checks_pass_also_in_upper_case(site: Site) -> None:
    site.content = archive(MIB + 5)
    checks = checks_of(site.content)
    checks["sha256"] = str(checks["sha256"]).upper()
    assert get(f"{site.address}/set.tgz", **checks) == site.content


@pytest.mark.parametrize("wrong", ["sha256", "md5_first_mib"])
def test_a_failed_check_tells_both_values_and_deletes_the_file(site: Site, wrong: str) -> None:
    url = f"{site.address}/set.tgz"
    right = checks_of(CONTENT)
    expected = "0" * len(str(right[wrong]))
    message = refused(url, **(right | {wrong: expected}))
    assert f"recipes.r.download.{wrong}: expected {expected}, got {right[wrong]}." in message
    assert message.count("expected 0") == 1
    assert "params.yaml" in message
    assert not partial(url).exists()


def test_a_file_that_differs_only_after_the_first_mib_passes_only_fastais_check(
    site: Site,
) -> None:
    right = archive(MIB + 1000)
    site.content = right[:-1] + bytes([right[-1] ^ 1])
    url = f"{site.address}/set.tgz"
    checks = checks_of(right)
    assert "sha256: expected" in refused(url, **checks)
    del checks["sha256"]
    assert get(url, **checks) == site.content


def test_a_wrong_length_is_refused_before_the_transfer(site: Site) -> None:
    site.answers = [stalling_after(10_000)]  # the rest would never come
    message = refused(f"{site.address}/set.tgz", bytes=299_999)
    assert "recipes.r.download.bytes: expected 299999, but the server has 300000" in message


def test_a_file_larger_than_the_disk_is_refused_before_the_transfer(site: Site) -> None:
    site.answers = [saying(200, CONTENT, Content_Length=str(10**17))]
    message = refused(f"{site.address}/set.tgz")
    assert "needs 100,000,000,000 MB" in message
    assert len(site.requests) == 1


def test_no_message_tells_passwords_or_queries(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = site.address.replace("//", "//ann:pass%40word@") + "/set.tgz?token=hidden"
    told = []
    for answers in ([saying(503)] * 3, [saying(404)], [saying(200, PAGE)], [saying(200, b"no")]):
        site.answers = list(answers)
        told.append(refused(secret))
    told.append(refused(secret, sha256="0" * 64))
    site.answers = [breaking_after(1000)]
    get(secret)
    printed = capsys.readouterr()
    for text in [*told, printed.out, printed.err]:
        assert "pass" not in text
        assert "ann" not in text.replace("cannot", "")
        assert "hidden" not in text
    assert site.asked("Authorization")[-1] == "Basic YW5uOnBhc3NAd29yZA=="


def test_a_mirror_folder_is_asked_first(site: Site, project: Path) -> None:
    (project / "mirror").mkdir()
    (project / "mirror" / "a set.tgz").write_bytes(CONTENT)
    url = f"{site.address}/a%20set.tgz"
    for mirror in ("mirror", str(project / "mirror") + "/", (project / "mirror").as_uri()):
        assert get(url, mirror=mirror, **checks_of(CONTENT)) == CONTENT
    assert site.requests == []


def test_weights_of_another_hash_than_their_name_says_are_passed_over(
    site: Site, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    url = f"{site.address}/net-{digits}.pth"
    mirror = project / "mirror"
    mirror.mkdir()
    (mirror / f"net-{digits}.pth").write_bytes(archive(1000))
    assert get(url, mirror=str(mirror)) == CONTENT
    assert f"sha256: the name says that it begins with {digits}" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"net-00000000\.pth from .* is not the expected file"):
        get(f"{site.address}/net-00000000.pth")


def test_a_mirror_address_is_asked_first(site: Site) -> None:
    url = "https://published.invalid/data/a%20set.tgz"
    assert get(url, mirror=f"{site.address}/kept/") == CONTENT
    assert [path for path, _ in site.requests] == ["/kept/a%20set.tgz"]


def test_a_mirror_without_the_file_or_with_a_wrong_one_is_told_and_passed_over(
    site: Site, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{site.address}/set.tgz"
    mirror = project / "mirror"
    mirror.mkdir()
    assert get(url, mirror=str(mirror), **checks_of(CONTENT)) == CONTENT
    assert f"THAW_MIRROR: {mirror}/set.tgz does not exist" in capsys.readouterr().out
    (mirror / "set.tgz").write_bytes(archive(1000))
    assert get(url, mirror=str(mirror), **checks_of(CONTENT)) == CONTENT
    assert "bytes: expected 300000, got 1000" in capsys.readouterr().out
    assert (mirror / "set.tgz").read_bytes() == archive(1000)
    assert get(url, mirror="s3://bucket") == CONTENT
    assert "THAW_MIRROR: 's3:' addresses cannot be fetched" in capsys.readouterr().out


def test_local_files_are_copied_and_checked(site: Site, project: Path) -> None:
    (project / "own").mkdir()
    source = project / "own" / "a set.tgz"
    source.write_bytes(CONTENT)
    for url in ("own/a set.tgz", str(source), source.as_uri()):
        # A mirror is for the web's files.
        assert get(url, mirror=site.address, **checks_of(CONTENT)) == CONTENT
    assert site.requests == []
    assert source.read_bytes() == CONTENT
    Path("got/a set.tgz").unlink()
    Path("got").rmdir()
    assert "sha256: expected" in refused("own/a set.tgz", sha256="0" * 64)
    assert source.read_bytes() == CONTENT


def test_local_paths_that_are_no_file_are_refused(project: Path) -> None:
    (project / "own").mkdir()
    assert f"{project / 'own' / 'set.tgz'} does not exist" in refused("own/set.tgz")
    assert "is a folder" in refused("own")
    assert "names no host" in refused("file://server/share/set.tgz")
    (project / "own" / "set.zip").write_bytes(PAGE)
    assert "web page" in refused("own/set.zip")


def test_two_processes_do_not_write_the_same_transfer(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{site.address}/set.tgz"
    with alone_in(scratch_folder(Path(".thaw/downloads"), url)):
        second = threading.Thread(target=get, args=(url,))
        second.start()
        printed, deadline = "", time.monotonic() + 20
        while "waiting for it" not in printed and time.monotonic() < deadline:
            printed += capsys.readouterr().out
            time.sleep(0.01)
        assert "waiting for it" in printed
        assert site.requests == []
    second.join(20)
    assert Path("got/set.tgz").read_bytes() == CONTENT


def test_lines_tell_the_progress_where_there_is_no_terminal(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.content = archive(12 * MIB)
    get(f"{site.address}/set.tgz")
    lines = [line for line in capsys.readouterr().out.splitlines() if "%" in line]
    shares = [int(line.split("(")[1].split(" %")[0]) for line in lines]
    assert shares == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100] or shares[:-1] == [
        10, 20, 30, 40, 50, 60, 70, 80, 90,
    ]  # fmt: skip


def test_a_file_gets_to_another_disk_too(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second disk at /dev/shm")
    source = memory / f"thaw-{tmp_path.name}-{random.Random().getrandbits(64)}"
    source.write_bytes(CONTENT)
    try:
        place(source, tmp_path / "archive" / "set.tgz")
        assert not source.exists()
    finally:
        source.unlink(missing_ok=True)
    assert (tmp_path / "archive" / "set.tgz").read_bytes() == CONTENT
    assert len(list((tmp_path / "archive").iterdir())) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(project: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(project))
    with serving(CONTENT, context) as site:
        message = refused(f"{site.address}/set.tgz")
    assert "certificate is not valid" in message
    assert site.requests == []


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/b/set.tgz", "set.tgz"),
        ("https://host/a%20set.tgz?x=/other#part", "a set.tgz"),
        ("HTTP://host:8080/set.zip", "set.zip"),
        ("file:///a/b/set.tar", "set.tar"),
        ("archives/set #1?.tar.gz", "set #1?.tar.gz"),
        ("../set.zip", "set.zip"),
    ],
)
def test_the_file_is_named_as_the_address_ends(url: str, name: str) -> None:
    assert file_name(url) == name
    assert Download(url=url).url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://bucket/set.tgz", "'s3:' addresses cannot be fetched"),
        ("htps://host/set.tgz", "did you mean 'https'?"),
        ("https:///set.tgz", "has no host"),
        ("https://host/", "does not end in a file's name"),
        ("https://host", "does not end in a file's name"),
        ("https://host/a/%2e%2e", "does not end in a file's name"),
        ("https://host/a%5Cb", "does not end in a file's name"),
        ("https://host/a%0Ab", "does not end in a file's name"),
        ("data/", "does not end in a file's name"),
        ("", "does not end in a file's name"),
        ("sample:", "lacks a name"),
        ("https://ann:secret@[host/set.tgz", "malformed"),
    ],
)
def test_addresses_that_cannot_work_are_refused_with_the_key(url: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Download, {"url": url}, "recipes.r.download")
    assert "recipes.r.download" in str(caught.value)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def test_checks_of_a_wrong_form_are_all_refused() -> None:
    wrong = {"url": "a/b", "sha256": "12ab", "bytes": 0, "md5_first_mib": "g" * 32}
    with pytest.raises(UserError) as caught:
        parse(Download, wrong, "recipes.r.download")
    lines = str(caught.value).splitlines()
    assert sorted(line.split(":")[0] for line in lines) == [
        f"recipes.r.download.{key}" for key in ("bytes", "md5_first_mib", "sha256")
    ]


def test_addresses_are_shown_without_what_is_private() -> None:
    assert shown("https://ann:secret@host:81/a/set.tgz?token=x#y") == "https://host:81/a/set.tgz"
    assert shown("../set.tgz") == "../set.tgz"
