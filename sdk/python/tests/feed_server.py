"""A small server with the keys and the revocation feed of an issuer. Tests can delay it, stop it and move its clock."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tessera_verify._feed import _HEAD, _MAGIC
from tessera_verify._list import RECORD, hash_of

TOKEN = "tsr_of_the_feed"
KINDS = {1: "deny", 2: "cut", 3: "lift", 4: "key"}


class FeedServer:
    """The feed of one issuer. The attributes are the faults."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.epoch = "first"
        self.low = 0
        self.keys: list[dict[str, Any]] = []
        self.heartbeat = 0.05
        #: Added to the issuer's clock, in milliseconds.
        self.clock = 0.0
        #: How far the reads of the server are behind, in milliseconds.
        self.behind = 0.0
        #: How late the events of the stream arrive, in milliseconds, although requests are answered at once.
        self.late = 0
        #: How many events with records get lost on the way, and whether the server says where each event begins.
        self.lost = 0
        self.says_after = True
        self.held = False
        self.down = False
        #: The status and the header `Retry-After` of a server that wants to be asked later, and for which paths.
        self.busy: tuple[int, int] | None = None
        self.busy_paths = ("/auth/revocations/stream",)
        #: True if the server never goes on from a place, and if a stream ends after its first event.
        self.gone = False
        self.brief = False
        self.truncated = False
        self.jwks_delay = 0.0
        #: The keys are sent only while this is set.
        self.sends_keys = threading.Event()
        self.sends_keys.set()
        #: Held while a request is noted, so that each has its own time.
        self.noting = threading.Lock()
        self.requests: list[str] = []
        self.times: list[float] = []
        self.changed = threading.Condition()
        self.generation = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self, port: int = 0) -> FeedServer:
        feed = self

        class Handler(_Handler):
            server_feed = feed

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        assert self._server is not None
        self.cut()
        self.sends_keys.set()
        self._server.shutdown()
        self._server.server_close()

    def now(self) -> int:
        return int(time.time() * 1000 + self.clock)

    def at(self) -> int:
        return int(self.now() - self.behind)

    def cut(self) -> None:
        """Closes every stream."""
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def append(self, kind: int, hashed: int, at: int | None = None, until: int | None = None) -> None:
        at = self.now() if at is None else at
        until = at // 1000 + 900 if until is None else until
        with self.changed:
            self.records.append(RECORD.pack(kind, 0, at >> 32, at & 0xFFFF_FFFF, until, hashed))
            self.changed.notify_all()

    def end_session(self, sid: object) -> None:
        self.append(1, hash_of("sid", sid))

    def cursor(self, place: int | None = None) -> str:
        return f"{self.epoch}.{len(self.records) if place is None else place}.tag"

    def place(self, cursor: str) -> int | None:
        epoch, _, rest = cursor.partition(".")
        number = rest.partition(".")[0]
        is_known = epoch == self.epoch and number.isdigit() and self.low <= int(number) <= len(self.records)
        return int(number) if is_known else None

    def asked(self, path: str) -> int:
        return sum(1 for request in self.requests if request == path)

    def times_of(self, path: str) -> list[float]:
        """When requests for a path arrived, in seconds."""
        return [when for request, when in zip(self.requests, self.times) if request == path]


class _Handler(BaseHTTPRequestHandler):
    server_feed: FeedServer
    generation = 0
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        feed, url = self.server_feed, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with feed.noting:
            feed.times.append(time.monotonic())
            feed.requests.append(url.path)
        # A cut from now on also ends the answer to this request.
        self.generation = feed.generation
        if feed.down:
            self.close_connection = True
            return
        if feed.busy is not None and url.path in feed.busy_paths:
            status, seconds = feed.busy
            return self._send(status, {"detail": "SERVICE_BUSY"}, {"Retry-After": str(seconds)})
        if url.path == "/.well-known/jwks.json":
            return self._jwks(feed)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"detail": "Unauthorized"})
        if url.path == "/auth/revocations/snapshot":
            return self._snapshot(feed)
        place = feed.place(query["after"]) if "after" in query else len(feed.records)
        if place is None or (feed.gone and "after" in query):
            return self._send(410, {"detail": "REVOCATION_CURSOR_GONE"})
        if url.path == "/auth/revocations/stream":
            return self._stream(feed, place)
        if url.path == "/auth/revocations":
            return self._page(feed, place, int(query.get("limit", 10_000)))
        self._send(404, {"detail": "Not Found"})

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _jwks(self, feed: FeedServer) -> None:
        time.sleep(feed.jwks_delay)
        feed.sends_keys.wait()
        data = json.dumps({"keys": feed.keys}).encode()
        tag = f'"{hash(data)}"'
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            return
        self._send(200, data, {"ETag": tag})

    def _snapshot(self, feed: FeedServer) -> None:
        records, cursor = list(feed.records), feed.cursor().encode()
        head = _MAGIC + bytes([len(cursor)]) + cursor + _HEAD.pack(feed.now(), feed.at(), len(records))
        body = gzip.compress(head + b"".join(records))
        if feed.truncated:
            body = body[:-4]
        self._send(200, body, {"Content-Encoding": "gzip", "Content-Type": "application/vnd.tessera.revocations"})

    def _page(self, feed: FeedServer, place: int, limit: int) -> None:
        entries = []
        for record in feed.records[place : place + limit]:
            kind, _, high, low, until, hashed = RECORD.unpack(record)
            entries.append({"kind": KINDS[kind], "hash": f"{hashed:016x}", "at": high << 32 | low, "until": until})
        cursor = feed.cursor(place + len(entries))
        at = feed.at() if place + len(entries) == len(feed.records) else 0
        self._send(200, {"cursor": cursor, "now": feed.now(), "at": at, "entries": entries})

    def _stream(self, feed: FeedServer, place: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        generation = self.generation
        self.close_connection = True
        try:
            while generation == feed.generation:
                with feed.changed:
                    if not feed.held:
                        new, before, place = feed.records[place:], place, len(feed.records)
                        self._event(feed, before, place, b"".join(new))
                    if feed.brief:
                        self.wfile.write(b"0\r\n\r\n")
                        return
                    feed.changed.wait_for(
                        lambda: len(feed.records) > place or generation != feed.generation, feed.heartbeat
                    )
        except OSError:
            pass

    def _event(self, feed: FeedServer, before: int, place: int, records: bytes) -> None:
        if records and feed.lost > 0:
            feed.lost -= 1
            return
        cursor = feed.cursor(place)
        now, at = feed.now() - feed.late, feed.at() - feed.late
        data = {"cursor": cursor, "now": now, "at": at, "records": base64.b64encode(records).decode()}
        if feed.says_after:
            data["after"] = feed.cursor(before)
        event = f"id: {cursor}\ndata: {json.dumps(data)}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()
