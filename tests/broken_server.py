"""A web server on loopback that serves one file, well or in one of the ways servers fail."""

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Site:
    """The file served, how, and what was asked for.

    `answers` are given to the first requests, one each; every later request is served well.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.validators = {"ETag": '"first"'}
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.address = ""
        self.over = threading.Event()

    def asked(self, header: str) -> list[str | None]:
        """Return what each request said in `header`."""
        return [headers.get(header.lower()) for _, headers in self.requests]


@contextmanager
def serving(content: bytes, secure: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve `content` under every path, on a free port."""
    site = Site(content)

    class OfSite(Handler):
        pass

    OfSite.site = site
    server = QuietServer(("127.0.0.1", 0), OfSite)
    server.daemon_threads = True
    if secure:
        # The handshake belongs to the connection's own thread: it may fail.
        server.socket = secure.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    site.address = f"http{'s' if secure else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class QuietServer(ThreadingHTTPServer):
    """Clients that leave are part of the tests."""

    def handle_error(self, *arguments: object) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        (site.answers.pop(0) if site.answers else well)(self)

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def begin(self) -> bytes:
        """Send the head of a right answer, to a range too; return the body that must follow."""
        site = self.site
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, *site.validators.values())
        whole = len(site.content)
        if asked and same:
            start = int(asked[1])
            if start >= whole:
                self.head(416, {"Content-Range": f"bytes */{whole}", "Content-Length": "0"})
                return b""
            told = {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"}
            told["Content-Length"] = str(whole - start)
            self.head(206, told | site.validators)
            return site.content[start:]
        self.head(200, {"Content-Length": str(whole)} | site.validators)
        return site.content

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


def well(handler: Handler) -> None:
    handler.wfile.write(handler.begin())


def breaking_after(number: int) -> Answer:
    """Announce everything, send `number` bytes of it and hang up."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(handler.begin()[:number])
        handler.hang_up()

    return answer


def stalling_after(number: int) -> Answer:
    """Send `number` bytes and then nothing, with the connection open."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(handler.begin()[:number])
        handler.wfile.flush()
        handler.site.over.wait(60)
        handler.hang_up()

    return answer


def saying(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with this status and body; underscores in the headers' names stand for hyphens."""

    def answer(handler: Handler) -> None:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.head(status, {"Content-Length": str(len(body)), "Connection": "close"} | told)
        handler.wfile.write(body)
        handler.hang_up()

    return answer


def ignoring_ranges(handler: Handler) -> None:
    del handler.headers["Range"]
    handler.wfile.write(handler.begin())


def without_length(number: int | None = None) -> Answer:
    """Send the rest of the file, or `number` bytes of it, and end with the connection."""

    def answer(handler: Handler) -> None:
        site = handler.site
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        span = {"Content-Range": f"bytes {start}-{len(site.content) - 1}/*"} if asked else {}
        handler.head(206 if asked else 200, span | site.validators | {"Connection": "close"})
        handler.wfile.write(site.content[start:][:number])
        handler.hang_up()

    return answer


def in_chunks(number: int | None = None) -> Answer:
    """Send the file in chunked encoding; with `number`, break off after so many bytes."""

    def answer(handler: Handler) -> None:
        handler.head(200, {"Transfer-Encoding": "chunked"} | handler.site.validators)
        body = handler.site.content[:number]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))
        if number is None:
            handler.wfile.write(b"0\r\n\r\n")
        handler.hang_up()

    return answer
