"""Where an archive comes from, and how to tell that it is the right one."""

import re
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import Field

from thaw.params.base import did_you_mean, params

SCHEMES = ("http", "https", "file", "sample")


@params
class Download:
    """An archive's address and its checks; every check that is given is made.

    Attributes:
        url: ``https://…``, ``http://…``, ``file:///…``, a path relative to the project's root, or
            ``sample:NAME`` for an archive that Thaw draws itself.
        sha256: of the whole file, in hexadecimal.
        bytes: length of the whole file.
        md5_first_mib: MD5 of the first 2**20 bytes in hexadecimal, as fastai publishes it.
    """

    url: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    bytes: Annotated[int, Field(gt=0)] | None = None
    md5_first_mib: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")] | None = None

    def __post_init__(self) -> None:
        """Refuse an address that no transfer could begin with."""
        if scheme(self.url) == "sample":
            if not self.url.removeprefix("sample:"):
                raise ValueError("'sample:' lacks a name. Write sample:pets, for example.")
            return
        file_name(self.url)


def scheme(url: str) -> str:
    """Return ``http``, ``https``, ``file``, ``sample``, or ``path`` for a plain path.

    Raises:
        ValueError: any other scheme, or an address without a host.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", url)  # two letters at least: C:\ is a path
    if not found:
        return "path"
    name = found[1].lower()
    if name not in SCHEMES:
        raise ValueError(
            f"'{name}:' addresses cannot be fetched; {did_you_mean(name, list(SCHEMES))} A file "
            "fetched by other means can be named by its path."
        )
    if name in ("http", "https") and not _split(url)[0]:
        raise ValueError(f"{name}: the address has no host. Write {name}://host/file.tgz.")
    return name


def file_name(url: str) -> str:
    """Return the name that the file at `url` is stored under: the last part of its path.

    Raises:
        ValueError: the address ends in no usable name.
    """
    path = url if scheme(url) == "path" else unquote(_split(url)[1])
    name = path.rsplit("/", 1)[-1]
    if name in ("", ".", "..") or not name.isprintable() or "\\" in name:
        raise ValueError("the address does not end in a file's name. Write …/archive.tgz.")
    return name


def shown(url: str) -> str:
    """Return `url` for messages: no user, password, query or fragment."""
    if scheme(url) not in ("http", "https"):
        return url
    host, path = _split(url)
    return f"{scheme(url)}://{host}{path}"


def _split(url: str) -> tuple[str, str]:
    """Return host (with port, without credentials) and path; neither is ever guessed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # The reason may quote the address, and with it a password.
        raise ValueError("the address is malformed. Write https://host/file.tgz.") from None
    return parts.netloc.rpartition("@")[2], parts.path
