"""Fetch a file, however often the connection breaks, and prove that it is the right one.

A transfer grows in a scratch folder of its own, named by its address, and goes on from there after
a broken connection, a killed process or a restart of the machine. It reaches its destination only
when it is whole and every check has passed.
"""

import fcntl
import hashlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tqdm import tqdm

from thaw.core.errors import PassingError, UserError
from thaw.core.files import (
    file_sha256,
    hash_in_name,
    read_json,
    remove,
    replacing,
    require_free_space,
    write_json,
)
from thaw.params.download import Download, file_name, scheme, shown
from thaw.unpack import HEAD, archive_kind

SCRATCH = Path(".thaw", "downloads")

_MIB = 2**20
_ARCHIVE_SUFFIXES = (".tgz", ".tar.gz", ".tar", ".zip")
_RETRIED = (408, 425, 429)  # and every 5xx
_LONGEST_WAIT = 60.0  # seconds, also when a server asks for more


@dataclass(frozen=True)
class Patience:
    """How long a transfer is tried.

    Attributes:
        tries: failures in a row after which to give up; one that brought at least another MiB
            starts the count again, so a file of any length gets through.
        first_wait: seconds before the second try; each further wait is twice as long.
        timeout: seconds without any answer or data that count as a failure.
    """

    tries: int = 6
    first_wait: float = 1.0
    timeout: float = 30.0


PATIENCE = Patience()


def fetch(
    wanted: Download,
    folder: Path,
    *,
    where: str,
    mirror: str | None = None,
    scratch: Path = SCRATCH,
    patience: Patience = PATIENCE,
) -> Path:
    """Fetch the file at an address into `folder`, checked, under the address's own file name.

    Args:
        wanted: address (``http``, ``https``, ``file`` or a path) and checks.
        folder: where the file goes; one of the same name is replaced.
        where: the parameters' path for messages, such as ``recipes.pets.download``.
        mirror: a folder or an address prefix that is asked for web addresses' file names first.
            What it serves must pass the same checks; else the address itself is asked.
        scratch: folder of unfinished transfers.
        patience: when to give up.

    Returns:
        The file's path.

    Raises:
        UserError: the file is not there, is refused to us, does not come whole after all tries,
            is a web page or no archive though its name says so, fails a check, or does not fit.
    """
    order = _Order(file_name(wanted.url), wanted, folder, where, scratch, patience)
    if mirror and scheme(wanted.url) in ("http", "https"):
        try:
            return _fetch_from(_mirrored(mirror, order.name), "THAW_MIRROR", order)
        except UserError as error:
            print(f"The mirror cannot help: {error}", flush=True)
            print(f"Asking {shown(wanted.url)} instead.", flush=True)
    return _fetch_from(wanted.url, where, order)


def verify(file: Path, name: str, wanted: Download, *, source: str, where: str) -> None:
    """Make every check that `wanted` gives, and delete the file if one fails.

    Args:
        file: the file to check.
        name: its published name; one that ends as an archive's must hold an archive.
        wanted: the checks.
        source: where the file came from, for messages.
        where: the parameters' path, for messages.

    Raises:
        UserError: what was expected, what came, and what to do.
    """
    with file.open("rb") as opened:
        first = opened.read(_MIB)
    try:
        _refuse_wrong_kind(first, name, "", source)
    except UserError:
        remove(file)
        raise
    got = {
        "bytes": file.stat().st_size,
        "md5_first_mib": hashlib.md5(first, usedforsecurity=False).hexdigest(),
        "sha256": file_sha256(file),
    }
    wrong = []
    for check, value in got.items():
        expected = getattr(wanted, check)
        if expected is not None and str(expected).lower() != str(value):
            wrong.append(f"{where}.{check}: expected {expected}, got {value}.")
    named = hash_in_name(name)
    if named and not str(got["sha256"]).startswith(named):
        wrong.append(f"sha256: the name says that it begins with {named}, it is {got['sha256']}.")
    if wrong:
        remove(file)
        raise UserError(
            f"{name} from {source} is not the expected file.\n"
            + "\n".join(wrong)
            + "\nWhat was fetched has been deleted. Run again in case the transfer was at fault; "
            "if the file has been replaced on purpose and you trust it, put its values into "
            "params.yaml."
        )


def place(file: Path, target: Path) -> None:
    """Move a verified file to `target`; a reader never sees a part of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.stat().st_dev == target.parent.stat().st_dev:
        file.replace(target)
        return
    # Scratch and data lie on different disks.
    require_free_space(target.parent, file.stat().st_size, target.name)
    with replacing(target) as part:
        shutil.copyfile(file, part)
    remove(file)


@contextmanager
def alone_in(folder: Path) -> Iterator[Path]:
    """Create `folder` and keep other processes out of it; a killed one lets go by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another process fetches the same file: waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def scratch_folder(scratch: Path, address: str) -> Path:
    """Return the folder in which the transfer from `address` grows."""
    return scratch / hashlib.sha256(address.encode()).hexdigest()


def _mirrored(mirror: str, name: str) -> str:
    try:
        plain = scheme(mirror) == "path"
    except ValueError as error:
        raise UserError(f"THAW_MIRROR: {error}") from None
    return f"{mirror.rstrip('/')}/{name if plain else quote(name)}"


@dataclass(frozen=True)
class _Order:
    """What is to be fetched, apart from the address that is asked for it."""

    name: str
    wanted: Download
    folder: Path
    where: str
    scratch: Path
    patience: Patience


def _fetch_from(address: str, named_by: str, order: _Order) -> Path:
    """Fetch, verify and place the file; `named_by` is the setting that led to `address`."""
    print(f"{order.name} from {shown(address)}", flush=True)
    local = scheme(address) in ("file", "path")
    source = _local_path(address, named_by) if local else None
    target = order.folder / order.name
    with alone_in(scratch_folder(order.scratch, address)) as own:
        partial = own / "partial"
        if source is not None:
            _copy(source, partial, order.name)
        else:
            _Transfer(address, named_by, order, own).run()
        verify(partial, order.name, order.wanted, source=shown(address), where=order.where)
        place(partial, target)
        remove(own / "state.json")
    return target


def _local_path(address: str, named_by: str) -> Path:
    if scheme(address) == "path":
        path = Path(address).expanduser()
    else:
        parts = urlsplit(address)
        if parts.netloc not in ("", "localhost"):
            raise UserError(
                f"{named_by}: {address}: a file address names no host. Write file:///folder/file."
            )
        path = Path(url2pathname(parts.path))
    if path.is_dir():
        raise UserError(f"{named_by}: {path} is a folder. Pack it as a .tgz or .zip archive.")
    if not path.is_file():
        raise UserError(f"{named_by}: {path.absolute()} does not exist. Correct the path.")
    return path


def _copy(source: Path, partial: Path, name: str) -> None:
    total = source.stat().st_size
    remove(partial)
    require_free_space(partial.parent, total, name)
    with source.open("rb") as file, partial.open("wb") as copy, _progress(name, 0, total) as told:
        while piece := file.read(_MIB):
            copy.write(piece)
            told(len(piece))


class _BrokenError(Exception):
    """A failure that another try may mend; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Transfer:
    """One file on its way from a web server into ``partial`` in a scratch folder.

    ``state.json`` beside it holds what identifies the version that the partial belongs to: the
    server's ETag or modification date, and the whole length. Only a partial with such a validator
    is gone on with; the server compares it (If-Range) and sends the file anew if it has changed.
    """

    def __init__(self, url: str, named_by: str, order: _Order, folder: Path) -> None:
        self.url = url
        self.named_by = named_by
        self.order = order
        self.name = order.name
        self.patience = order.patience
        self.partial = folder / "partial"
        self.state = folder / "state.json"
        self.failures = 0
        self.furthest = self._have()

    def run(self) -> None:
        """Fetch until the partial is whole.

        Raises:
            UserError: another try would not help.
            PassingError: too many failed.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_BrokenError),
            stop=lambda _: self.failures >= self.patience.tries,
            wait=self._wait,
            before_sleep=self._tell,
            reraise=True,
        )
        with httpx.Client(
            follow_redirects=True,
            timeout=self.patience.timeout,
            # identity: lengths, ranges and checksums are those of the file itself.
            headers={"Accept-Encoding": "identity", "User-Agent": "thaw"},
        ) as client:
            try:
                retrying(self._attempt, client)
            except _BrokenError as broken:
                raise PassingError(
                    f"{self.named_by}: {shown(self.url)}: gave up after {self.failures} tries in "
                    f"a row: {broken}. {_megabytes(self._have())} are kept, and the next run goes "
                    f"on from there. Without a network, put {self.name} into a folder and set "
                    "THAW_MIRROR to it."
                ) from None

    def _attempt(self, client: httpx.Client) -> None:
        try:
            self._request(client)
        except _BrokenError:
            have = self._have()
            if have >= self.furthest + _MIB:
                self.furthest = have
                self.failures = 0
            self.failures += 1
            raise

    def _request(self, client: httpx.Client) -> None:
        known = self._known()
        have = self._have()
        if have and have == known.get("length"):
            return  # whole: an earlier process was stopped before it could check it
        headers = {}
        if have:
            headers = {"Range": f"bytes={have}-", "If-Range": known["validator"]}
        try:
            with client.stream("GET", self.url, headers=headers) as response:
                self._receive(response, have)
        except httpx.TimeoutException:
            raise _BrokenError(f"no answer for {self.patience.timeout:g} s") from None
        except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                self._refuse(
                    "the server's certificate is not valid. Correct the clock, or set "
                    "SSL_CERT_FILE to your network's certificates"
                )
            raise _BrokenError(str(error) or "the connection broke") from None
        except httpx.TooManyRedirects:
            self._refuse("the address leads in a circle. Look for a newer address")
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError):
            # Their texts may quote an address with its password.
            self._refuse("the address, or one it leads to, is malformed. Correct it")

    def _receive(self, response: httpx.Response, have: int) -> None:
        status = response.status_code
        if status >= 500 or status in _RETRIED:
            asked = response.headers.get("Retry-After", "")
            raise _BrokenError(
                f"the server answered {status}", float(asked) if asked.isdigit() else 0
            )
        if status == 416 and have:  # the file has become shorter than what is held
            self._start_over()
            raise _BrokenError("the file has changed on the server")
        if status == 206 and have:
            known = self._known()
            start, total = _content_range(response)
            if (
                start != have
                or known["length"] not in (None, total)
                or _validator(response) not in (None, known["validator"])
            ):
                self._start_over()
                raise _BrokenError("the server sent another range than it was asked for")
            self._write(response.iter_raw(), have, total)
        elif status == 200:
            self._begin(response)
        else:
            self._refuse(_status_reason(status))

    def _begin(self, response: httpx.Response) -> None:
        """Receive a whole file; what is held is given up only for the right kind of file."""
        pieces = response.iter_raw()
        head = b""
        while len(head) < HEAD and (piece := next(pieces, b"")):
            head += piece
        content_type = response.headers.get("Content-Type", "")
        _refuse_wrong_kind(head, self.name, content_type, shown(str(response.url)))
        total = _length(response)
        expected = self.order.wanted.bytes
        if total is not None and expected is not None and total != expected:
            self._refuse(
                f"{self.order.where}.bytes: expected {expected}, but the server has {total}. If "
                "the file has been replaced on purpose and you trust it, correct params.yaml"
            )
        if self._have():
            print(f"{self.name}: changed, or cannot be gone on with: starting over.", flush=True)
        self._start_over()
        write_json(self.state, {"validator": _validator(response), "length": total})
        if total is None and "Transfer-Encoding" not in response.headers:
            total = expected  # else a broken connection would look like the file's end
        self._write(chain([head], pieces), 0, total)

    def _write(self, pieces: Iterable[bytes], have: int, total: int | None) -> None:
        if total is not None:
            require_free_space(self.partial.parent, total - have, self.name)
        with (
            self.partial.open("ab", buffering=0) as file,  # what has come survives a kill
            _progress(self.name, have, total) as told,
        ):
            for piece in pieces:
                file.write(piece)
                told(len(piece))
        now = self.partial.stat().st_size
        if total is not None and now < total:
            raise _BrokenError(f"the connection ended after {now:,} of {total:,} bytes")
        if total is not None and now > total:
            self._start_over()
            raise _BrokenError(f"more came than the announced {total:,} bytes")
        write_json(self.state, self._known() | {"length": now})

    def _have(self) -> int:
        """Return how many bytes are held that may be gone on with."""
        if not self.partial.exists():
            return 0
        known = self._known()
        size = self.partial.stat().st_size
        length = known.get("length")
        resumable = known.get("validator") is not None or size == length
        return size if resumable and (length is None or size <= length) else 0

    def _known(self) -> dict[str, Any]:
        try:
            known = read_json(self.state)
        except (FileNotFoundError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _start_over(self) -> None:
        remove(self.partial)
        remove(self.state)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, _BrokenError) else 0.0
        own = self.patience.first_wait * 2.0 ** (self.failures - 1)
        return min(max(own, asked), _LONGEST_WAIT)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        print(
            f"{self.name}: {error}; {_megabytes(self._have())} so far. Trying again in {wait:g} s "
            f"({self.failures} of {self.patience.tries}).",
            flush=True,
        )

    def _refuse(self, reason: str) -> NoReturn:
        raise UserError(f"{self.named_by}: {shown(self.url)}: {reason}.")


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return the first byte's position and the whole length, each if told."""
    found = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not found:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _length(response: httpx.Response) -> int | None:
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isdigit() else None


def _validator(response: httpx.Response) -> str | None:
    """Return what If-Range may be given: a strong ETag, else the date of the last change."""
    etag: str = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    changed: str | None = response.headers.get("Last-Modified")
    return changed


def _status_reason(status: int) -> str:
    if status in (401, 403, 407):
        return f"the server refuses access ({status}). The file may be private or have moved"
    if status in (404, 410):
        return f"the server does not have it ({status}). Correct the address"
    return f"the server answered {status}. Correct the address"


def _refuse_wrong_kind(head: bytes, name: str, content_type: str, source: str) -> None:
    """Refuse a web page in a file's place, and anything but an archive under an archive's name."""
    if archive_kind(head):
        return
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    page = text.startswith((b"<!doctype html", b"<html", b"<head"))
    if page or content_type.lower().startswith(("text/html", "application/xhtml")):
        raise UserError(
            f"{name}: {source} sent a web page{_title(head)} instead of the file. The address may "
            "need a login or a confirmation: fetch the file with a browser, put it into a folder "
            "and set THAW_MIRROR to that folder."
        )
    if name.lower().endswith(_ARCHIVE_SUFFIXES):
        raise UserError(
            f"{name}: what {source} sent is no archive: it begins with {head[:24]!r}. "
            "Correct the address."
        )


def _title(head: bytes) -> str:
    found = re.search(rb"<title[^>]*>([^<]{1,80})", head, re.IGNORECASE)
    return f" ({found[1].decode('utf-8', 'replace').strip()!r})" if found else ""


@contextmanager
def _progress(name: str, have: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with every number of bytes: a bar on a terminal, else lines."""
    if sys.stderr.isatty():
        with tqdm(
            desc=name, initial=have, total=total, unit="B", unit_scale=True, dynamic_ncols=True
        ) as bar:

            def advance(number: int) -> None:
                bar.update(number)

            yield advance
        return
    started = time.monotonic()
    step = max((total or 0) // 10, _MIB if total else 64 * _MIB)
    done, told = have, have // step

    def tell(number: int) -> None:
        nonlocal done, told
        done += number
        if done // step > told:
            told = done // step
            share = f" ({100 * done // total} %)" if total else ""
            print(f"{name}: {_megabytes(done)}{share}", flush=True)

    yield tell
    seconds = time.monotonic() - started
    print(f"{name}: {_megabytes(done)} in {seconds:.1f} s", flush=True)


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"
