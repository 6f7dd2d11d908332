"""The thread that follows the feed of the issuer, and reads its keys."""

from __future__ import annotations

import http.client
import logging
import random
import socket
import threading
import zlib
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from ._client import MAX_SNAPSHOT, AnswerError, Client, Stream, events, is_readable
from ._feed import Feed, Moment, State, parse_event, parse_page, parse_snapshot
from ._key_store import JWKS, KeyStore

log = logging.getLogger("tessera_verify")

#: The longest silence of a stream, in seconds. The server sends an event every 2 seconds.
SILENCE = 4.0
TIMEOUT = 5.0
#: How long the thread waits for an answer beside the stream that has begun to arrive.
ASIDE = 1.0
#: How often a request proves the time of the issuer's clock, in milliseconds: always, and while the feed is stale.
EXCHANGE_EVERY = 30_000.0
EXCHANGE_STALE = 1_000.0
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
#: The longest time after which the server wants a client back that is obeyed.
_LONGEST_RETRY = 30.0
_PAGE = "/auth/revocations"
FAULTS = (OSError, http.client.HTTPException, ValueError, zlib.error, AnswerError)


class _Pending(NamedTuple):
    path: str
    sent: Moment


class Control:
    """A second connection, for what is asked beside the stream. It never waits: it sends at one event of the stream, and
    reads at a later one.
    """

    def __init__(self, client: Client, feed: Feed, keys: KeyStore, clock: Callable[[], Moment]) -> None:
        self._client, self._feed, self._keys, self._clock = client, feed, keys, clock
        self._connection: http.client.HTTPConnection | None = None
        self._pending: _Pending | None = None
        self._exchanged: Moment | None = None
        #: The time for which the server does not want to be asked, in milliseconds.
        self._pause = 0.0

    def close(self) -> None:
        """Closes the connection. What was asked is asked again."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._pending = None, None

    def turn(self) -> None:
        """Reads an answer that has arrived, and sends the next request that is due."""
        try:
            if self._pending is not None:
                self._finish(self._pending)
            if self._pending is None:
                self._begin()
        except FAULTS as error:
            log.warning("a request to Tessera failed: %s", error)
            if isinstance(error, AnswerError):
                self._pause = min(error.retry_after or 0.0, _LONGEST_RETRY) * 1000
            self.close()

    def exchanged(self, moment: Moment) -> None:
        """Notes that the stream itself proved the time of the issuer's clock."""
        self._exchanged = moment

    def _begin(self) -> None:
        moment = self._clock()
        if self._keys.is_due(moment):
            self._send(JWKS, moment, self._keys.began(moment))
            return
        wait = EXCHANGE_EVERY if self._feed.state(moment) is State.FRESH else EXCHANGE_STALE
        if self._exchanged is None or moment.since(self._exchanged) >= max(wait, self._pause):
            self._exchanged, self._pause = moment, 0.0
            self._send(_PAGE, moment, {})

    def _send(self, path: str, moment: Moment, headers: dict[str, str]) -> None:
        if self._connection is None:
            self._connection = self._client.connect(ASIDE)
        self._pending = _Pending(path, moment)
        self._client.send(self._connection, path, headers)

    def _finish(self, pending: _Pending) -> None:
        connection, moment = self._connection, self._clock()
        if connection is None or not is_readable(connection):
            if moment.since(pending.sent) > TIMEOUT * 1000:
                raise TimeoutError(f"{pending.path} did not answer")
            return
        self._pending = None
        answer = self._client.receive(connection, pending.path, ASIDE)
        if pending.path == JWKS:
            self._keys.finished(answer, pending.sent)
        else:
            self._feed.exchanged(pending.sent, parse_page(answer.body).now)


class Follower:
    """Follows the feed in one daemon thread, until `stop` is called."""

    def __init__(
        self,
        client: Client,
        feed: Feed | None,
        keys: KeyStore,
        clock: Callable[[], Moment],
        changed: Callable[[], None],
        resynced: Callable[[str], None],
    ) -> None:
        self._client, self._feed, self._keys = client, feed, keys
        self._clock, self._changed, self._resynced = clock, changed, resynced
        self._stop = threading.Event()
        self._stream: Stream | None = None
        self._failures = 0
        self._retry: float | None = None
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="tessera-verify", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True if the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        stream = self._stream
        if stream is not None and stream.connection.sock is not None:
            try:
                stream.connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(TIMEOUT)

    def _run(self) -> None:
        while not self._stop.is_set():
            wait = 0.0
            try:
                self._read_keys()
                if self._feed is None:
                    self._changed()
                    self._stop.wait(1.0)
                    continue
                self._follow(self._feed)
                # A stream that lasted has set this to zero.
                self._failures += 1
            except AnswerError as error:
                wait = error.retry_after or 0.0
                self._failed(error)
            except FAULTS as error:
                self._failed(error)
            except Exception:  # The thread must go on, or the service would be stale for ever.
                log.exception("the feed of Tessera could not be read")
                self._failures += 1
            self._stop.wait(min(wait, _LONGEST_RETRY) + self._backoff())

    def _backoff(self) -> float:
        retry, self._retry = self._retry, None
        if retry is not None:
            # A server that stops gives each client its own time to come back.
            return min(_FIRST_WAIT + retry, _LONGEST_RETRY)
        longest = min(_FIRST_WAIT * 2 ** min(self._failures, 10), _LONGEST_WAIT)
        return random.uniform(_FIRST_WAIT, max(longest, _FIRST_WAIT))

    def _failed(self, error: BaseException) -> None:
        if self._stop.is_set():
            return
        self._failures += 1
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, AnswerError) and error.status in (401, 403):
            said = f"{error}: TESSERA_FEED_TOKEN must be a valid API token with the scope revocations:read"
        level = logging.WARNING if said != self._said else logging.DEBUG
        self._said = said
        log.log(level, "the feed of Tessera could not be read, and is tried again: %s", said)

    def _read_keys(self) -> None:
        """Reads the keys if they are due. Its failure keeps nobody from following the feed."""
        moment = self._clock()
        if not self._keys.is_due(moment):
            return
        try:
            self._keys.fetch(self._client, moment, TIMEOUT)
            self._changed()
        except FAULTS as error:
            log.warning("the keys of Tessera could not be read, and are tried again: %s", error)

    def _follow(self, feed: Feed) -> None:
        if feed.cursor is None:
            self._take_snapshot(feed)
        path = f"{_PAGE}/stream?after={quote(feed.cursor or '', safe='')}&v=1"
        sent = self._clock()
        try:
            self._stream = self._client.stream(path, SILENCE)
        except AnswerError as error:
            if error.status not in (400, 410):
                raise
            # What this verifier knows stays. The snapshot adds to it.
            feed.cursor = None
            self._resynced("gone" if error.status == 410 else "refused")
            log.info("Tessera does not know the place in the feed any more: a snapshot follows")
            return
        control = Control(self._client, feed, self._keys, self._clock)
        try:
            self._receive(feed, self._stream, control, sent)
        finally:
            control.close()
            self._stream.connection.close()
            self._stream = None

    def _receive(self, feed: Feed, stream: Stream, control: Control, sent: Moment) -> None:
        is_first, dropped = True, self._clock()
        for data, retry in events(stream.response):
            if self._stop.is_set():
                return
            self._retry = self._retry if retry is None else retry / 1000
            if not data:
                continue
            event = parse_event(data)
            moment = self._clock()
            if is_first:
                feed.exchanged(sent, event.now)
                control.exchanged(sent)
            if feed.receive(event, moment):
                self._keys.hurry()
            if not is_first:
                # A connection that brings one event and ends is a failure too.
                self._failures = 0
            is_first, self._said = False, ""
            if moment.since(dropped) > 60_000:
                feed.drop_expired()
                dropped = moment
            self._changed()
            control.turn()

    def _take_snapshot(self, feed: Feed) -> None:
        take_snapshot(self._client, feed, self._clock)
        self._changed()


def take_snapshot(client: Client, feed: Feed, clock: Callable[[], Moment]) -> None:
    """Takes a snapshot of the feed."""
    sent = clock()
    headers = {"Accept-Encoding": "gzip", "Accept": "application/vnd.tessera.revocations"}
    event = parse_snapshot(client.get(f"{_PAGE}/snapshot?v=1", 2 * TIMEOUT, headers, MAX_SNAPSHOT).body)
    moment = clock()
    feed.exchanged(sent, event.now)
    feed.take_snapshot(event, moment)
    feed.drop_expired()


def pull(client: Client, feed: Feed, clock: Callable[[], Moment], resynced: Callable[[str], None]) -> bool:
    """Asks once for what is new, without a thread. Returns true if the keys must be read again."""
    if feed.cursor is None:
        take_snapshot(client, feed, clock)
        return False
    keys_changed, limit = False, 1_000
    for _ in range(100):
        sent = clock()
        path = f"{_PAGE}?after={quote(feed.cursor or '', safe='')}&wait=0&limit={limit}&v=1"
        try:
            event = parse_page(client.get(path, TIMEOUT / 2).body)
        except AnswerError as error:
            if error.status not in (400, 410):
                raise
            resynced("gone" if error.status == 410 else "refused")
            take_snapshot(client, feed, clock)
            return True
        moment = clock()
        feed.exchanged(sent, event.now)
        keys_changed = feed.receive(event, moment) or keys_changed
        if event.at != 0:
            break
    feed.drop_expired()
    return keys_changed
