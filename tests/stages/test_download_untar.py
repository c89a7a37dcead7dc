"""The stages `download` and `untar` as DVC starts them: a process each, in a project's folder."""

import gzip
import hashlib
import io
import os
import pty
import signal
import subprocess
import sys
import tarfile
import termios
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broken_server import Site, breaking_after, serving, stalling_after

ROOT = Path(__file__).resolve().parents[2]
TREE = {f"set/images/cat_{i}.jpg": bytes([i]) * 5000 for i in range(40)}


def tgz(tree: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in tree.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)


# Noise does not compress: an archive that takes a while to come and to unpack.
LARGE = {f"set/{i:04d}": os.urandom(50_000) for i in range(200)}
SLOW = tgz(LARGE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "set.tgz").write_bytes(tgz(TREE))
    recipe(tmp_path, "own/set.tgz")
    return tmp_path


def recipe(project: Path, url: str, limits: str = "{}", **checks: str | int | None) -> None:
    lines = [f"    {name}: {'null' if value is None else value}" for name, value in checks.items()]
    text = "\n".join([f'    url: "{url}"', *lines])
    (project / "params.yaml").write_text(
        f"recipes:\n  r:\n   download:\n{text}\n   untar: {limits}\n", encoding="utf-8"
    )


def environment(**settings: str) -> dict[str, str]:
    quiet = {k: v for k, v in os.environ.items() if k != "THAW_MIRROR"}
    return quiet | {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"} | settings


def command(stage: str, name: str = "r") -> list[str]:
    return [sys.executable, "-m", "stages", stage, name]


def stage(project: Path, name: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name),
        cwd=project,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def bad(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def found(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(SLOW) as site:
        yield site


def start(project: Path, name: str, until: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """Start a stage and return it as soon as `until` says so."""
    process = subprocess.Popen(
        command(name), cwd=project, env=environment(), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not until():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def test_a_local_archive_is_copied_and_unpacked(project: Path) -> None:
    printed = good(stage(project, "download"))
    archive = project / "data/r/archive/set.tgz"
    assert found(archive.parent) == {"set.tgz": tgz(TREE)}
    sha256 = sha256_of(archive)
    assert "recipes.r.download, write" in printed
    assert f'  sha256: "{sha256}"' in printed.splitlines()
    assert "40 files, 0.2 MB" in good(stage(project, "untar"))
    assert found(project / "data/r/raw") == TREE
    # Another address: the folder still holds one file.
    with zipfile.ZipFile(project / "own" / "other.zip", "w") as file:
        file.writestr("a", b"x")
    recipe(project, "own/other.zip", sha256=sha256_of(project / "own" / "other.zip"))
    assert "sha256:" not in good(stage(project, "download"))
    assert [path.name for path in archive.parent.iterdir()] == ["other.zip"]
    good(stage(project, "untar"))
    assert found(project / "data/r/raw") == {"a": b"x"}


def test_a_failed_check_ends_the_stage_with_the_key_and_no_traceback(project: Path) -> None:
    recipe(project, "own/set.tgz", bytes=5, md5_first_mib=None)
    message = bad(stage(project, "download"))
    assert message.startswith("download r: ")
    assert f"recipes.r.download.bytes: expected 5, got {len(tgz(TREE))}." in message
    assert not (project / "data").exists()


def test_a_mirror_is_asked_before_the_address(project: Path) -> None:
    recipe(project, "https://published.invalid/set.tgz")
    good(stage(project, "download", THAW_MIRROR="own"))
    assert found(project / "data/r/archive") == {"set.tgz": tgz(TREE)}


def test_a_download_killed_twice_goes_on_each_time(project: Path, site: Site) -> None:
    recipe(project, f"{site.address}/set.tgz", sha256=hashlib.sha256(SLOW).hexdigest())
    site.answers = [stalling_after(3_000_000), stalling_after(2_000_000)]

    def held() -> int:
        return sum(path.stat().st_size for path in project.glob(".thaw/downloads/*/partial"))

    for there in (3_000_000, 5_000_000):
        kill(start(project, "download", lambda there=there: held() == there))
        assert not (project / "data").exists()
    good(stage(project, "download"))
    assert site.asked("Range") == [None, "bytes=3000000-", "bytes=5000000-"]
    assert found(project / "data/r/archive") == {"set.tgz": SLOW}
    assert held() == 0


def test_an_unpacking_killed_midway_leaves_nothing_under_the_final_name(project: Path) -> None:
    data = project / "data/r"
    (data / "archive").mkdir(parents=True)
    (data / "archive" / "set.tgz").write_bytes(SLOW)
    kill(start(project, "untar", (data / ".raw.part/set/0003").exists))
    assert sorted(path.name for path in data.iterdir()) == [".raw.part", "archive"]
    good(stage(project, "untar"))
    assert sorted(path.name for path in data.iterdir()) == ["archive", "raw"]
    assert found(data / "raw") == LARGE


def test_a_terminal_shows_a_bar_also_from_where_a_transfer_goes_on(
    project: Path, site: Site
) -> None:
    recipe(project, f"{site.address}/set.tgz")
    site.answers = [breaking_after(len(SLOW) // 2)]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                shown.append(os.read(ours, 65536))
            except OSError:  # the other side has closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(
        command("download"),
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    bar = b"".join(shown).decode()
    assert done.returncode == 0
    assert "set.tgz: " in bar
    assert "100%" in bar
    assert f"{len(SLOW) / 1e6:.1f}M/{len(SLOW) / 1e6:.1f}M".encode() in b"".join(shown)
    assert b"%)" not in done.stdout  # no lines beside the bar


def test_limits_come_from_the_parameters(project: Path) -> None:
    archive = project / "data/r/archive"
    archive.mkdir(parents=True)
    (project / "own" / "set.tgz").rename(archive / "set.tgz")
    recipe(project, "own/set.tgz", limits="{max_files: 20}")
    assert "raise untar.max_files in params.yaml" in bad(stage(project, "untar"))
    assert [path.name for path in (project / "data/r").iterdir()] == ["archive"]


def test_untar_before_download_says_what_to_do(project: Path) -> None:
    assert "Run `dvc repro download@r` first." in bad(stage(project, "untar"))


def test_a_sample_is_drawn_and_checked_like_any_archive(project: Path) -> None:
    recipe(project, "sample:bears", sha256=f'"{"0" * 64}"')
    message = bad(stage(project, "download"))
    assert "sha256: expected 0000" in message
    assert not (project / "data").exists()
    # It is the same each time, so the one that was told now passes.
    recipe(project, "sample:bears", sha256=f'"{message.split("got ")[1][:64]}"')
    good(stage(project, "download"))
    (archive,) = (project / "data/r/archive").iterdir()
    with tarfile.open(archive) as tar:
        assert len(tar.getnames()) > 10
    assert not [path for path in project.glob(".thaw/downloads/*/*") if path.name != "lock"]
