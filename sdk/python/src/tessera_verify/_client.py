"""Requests to the issuer, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import selectors
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

#: The longest answer that is not a snapshot: a page has at most about 1,000 entries.
MAX_ANSWER = 4 * 1024 * 1024
#: The longest snapshot: 12 million records.
MAX_SNAPSHOT = 256 * 1024 * 1024
_MAX_LINE = 8 * 1024 * 1024


class AnswerError(Exception):
    """The issuer answered with an error."""

    def __init__(self, status: int, path: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{path.partition('?')[0]} answered {status}{f' {detail}' if detail else ''}")
        self.status = status
        self.retry_after = retry_after


class Answer(NamedTuple):
    """An answer of the issuer."""

    status: int
    etag: str | None
    body: bytes


class Stream(NamedTuple):
    """An open stream of events, and its connection."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse


class StreamEvent(NamedTuple):
    """An event of a stream: its data, and the time in milliseconds after which to connect again if it ends."""

    data: bytes
    retry: int | None


def _detail(body: bytes) -> str:
    """The code that an answer of Tessera contains, if it is a short text."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return detail if isinstance(detail, str) and len(detail) < 100 and detail.isprintable() else ""


def _error(response: http.client.HTTPResponse, path: str) -> AnswerError:
    after = response.getheader("Retry-After", "")
    body = response.read(4096)
    return AnswerError(response.status, path, _detail(body), float(after) if after.isdigit() else None)


class Client:
    """Sends requests to the issuer. It follows no redirects and uses no proxy."""

    def __init__(self, issuer: str, token: str | None) -> None:
        url = urlsplit(issuer)
        self._is_tls = url.scheme == "https"
        self._host = url.hostname or ""
        self._port = url.port
        self._path = url.path
        self._token = token
        self._context = ssl.create_default_context() if self._is_tls else None

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """Makes a connection, which opens when a request is sent."""
        if self._context is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def send(self, connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None) -> None:
        """Sends a GET request, with the token of the feed."""
        own = {"Accept-Encoding": "identity", "User-Agent": "tessera-verify-python", **(headers or {})}
        if self._token is not None and path.startswith("/auth/"):
            # An old answer would make the feed seem young.
            own |= {"Authorization": f"Bearer {self._token}", "Cache-Control": "no-cache"}
        connection.request("GET", self._path + path, headers=own)

    def receive(
        self, connection: http.client.HTTPConnection, path: str, within: float, limit: int = MAX_ANSWER
    ) -> Answer:
        """Receives the answer: 200 or 304. Other answers raise `AnswerError`. The body must arrive within a time."""
        response = connection.getresponse()
        if response.status not in (200, 304):
            raise _error(response, path)
        body = _body(response, limit, time.monotonic() + within)
        return Answer(response.status, response.getheader("ETag"), body)

    def get(self, path: str, timeout: float, headers: Mapping[str, str] | None = None, limit: int = MAX_ANSWER) -> Answer:
        """Sends a request on a connection of its own."""
        connection = self.connect(timeout)
        try:
            self.send(connection, path, headers)
            return self.receive(connection, path, 4 * timeout, limit)
        finally:
            connection.close()

    def stream(self, path: str, timeout: float) -> Stream:
        """Opens a stream of events. `timeout` is the longest silence."""
        connection = self.connect(timeout)
        try:
            self.send(connection, path, {"Accept": "text/event-stream"})
            response = connection.getresponse()
            if response.status != 200:
                raise _error(response, path)
            kind = response.getheader("Content-Type", "")
            if not kind.startswith("text/event-stream"):
                raise ValueError(f"{path.partition('?')[0]} answered {kind or 'without a type'}, not events")
            return Stream(connection, response)
        except BaseException:
            connection.close()
            raise


def _body(response: http.client.HTTPResponse, limit: int, end: float) -> bytes:
    encoding = response.getheader("Content-Encoding", "identity")
    inflate = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    if inflate is None and encoding != "identity":
        raise ValueError(f"the answer has an encoding that was not asked for: {encoding}")
    body = bytearray()
    while part := response.read1(65_536):
        body += part if inflate is None else inflate.decompress(part, limit + 1 - len(body))
        if len(body) > limit:
            raise ValueError("the answer is too long")
        if time.monotonic() > end:
            raise TimeoutError("the answer takes too long")
    if inflate is not None and not inflate.eof:
        raise ValueError("the answer is not whole")
    return bytes(body)


def events(response: http.client.HTTPResponse) -> Iterator[StreamEvent]:
    """The events of a stream (the format text/event-stream of HTML)."""
    data: list[bytes] = []
    retry: int | None = None
    while line := response.readline(_MAX_LINE):
        if not line.endswith(b"\n"):
            raise ValueError("an event is too long or not whole")
        line = line.rstrip(b"\r\n")
        if not line:
            yield StreamEvent(b"\n".join(data), retry)
            data, retry = [], None
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            data.append(value)
        elif name == b"retry" and value.isdigit():
            retry = int(value)


def is_readable(connection: http.client.HTTPConnection) -> bool:
    """True if an answer has begun to arrive."""
    sock = connection.sock
    if sock is None:
        return False
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))
