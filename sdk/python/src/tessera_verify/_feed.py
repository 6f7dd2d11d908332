"""What a service knows from the revocation feed, and how old this knowledge can be. Nothing here reads a clock or sends
a request.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, cast

from ._claims import Claims
from ._json import parse_object
from ._list import CUT, DENY, KEY, LIFT, RECORD, RevocationList, hash_of

#: How many exchanges count.
EXCHANGES = 4
#: By how many milliseconds the newest event can be ahead of what exchanges prove, before the issuer's clock jumped.
JUMP = 1000
#: For how many seconds an entry is kept after its last token expired.
KEPT_FOR = 300
_KINDS = {"deny": DENY, "cut": CUT, "lift": LIFT, "key": KEY}
_CURSOR = re.compile(r"[!-~]{1,255}\Z")
_MAGIC = b"TSRF\x01"
_HEAD = struct.Struct(">QQI")


class Moment(NamedTuple):
    """A time on this machine, in milliseconds: by its monotonic clock, and by its wall clock."""

    monotonic: float
    wall: float

    def since(self, earlier: Moment) -> float:
        """The larger of both spans, because monotonic clocks stand still while a machine is suspended."""
        return max(self.monotonic - earlier.monotonic, self.wall - earlier.wall, 0.0)


class State(str, Enum):
    """What a service can say about revocations now."""

    UNKNOWN = "unknown"
    FRESH = "fresh"
    STALE = "stale"
    OFF = "off"


class Exchange(NamedTuple):
    """A request that was sent at a local moment, and answered with the time of the issuer's clock."""

    sent: Moment
    now: int

    def latest(self, moment: Moment) -> int:
        """The latest time that the issuer's clock can show at a moment. The clock here can be slow by a thousandth."""
        return self.now + math.ceil(moment.since(self.sent) * 1001 / 1000)


@dataclass(frozen=True)
class Event:
    """A part of the feed: records, the cursor after them, and the times of the issuer's clock in milliseconds. `at` is
    the time up to which it is complete, and 0 if more follows. `after` is the cursor before it, if the server says it.
    """

    cursor: str
    now: int
    at: int
    records: bytes | memoryview = b""
    after: str | None = None


class LostEventError(ValueError):
    """An event before this one is missing."""

    def __init__(self) -> None:
        super().__init__("an event was lost on the way: check the proxies between this service and Tessera")


def _cursor(value: Any) -> str:
    if not isinstance(value, str) or not _CURSOR.match(value):
        raise ValueError("the cursor is not a short text")
    return value


def _time(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**48:
        raise ValueError("a time is not a number of milliseconds")
    return value


def parse_snapshot(body: bytes) -> Event:
    """Parses a snapshot. Raises `ValueError` if the bytes are something else, or not whole."""
    if body[: len(_MAGIC)] != _MAGIC or len(body) <= len(_MAGIC):
        raise ValueError("not a snapshot of the revocation feed")
    start = len(_MAGIC) + 1 + body[len(_MAGIC)]
    records = start + _HEAD.size
    if len(body) < records:
        raise ValueError("the snapshot is not whole")
    now, at, count = _HEAD.unpack(body[start:records])
    if len(body) - records != count * RECORD.size:
        raise ValueError("the snapshot is not whole")
    cursor = body[len(_MAGIC) + 1 : start].decode("ascii")
    return Event(_cursor(cursor), _time(now), _time(at), memoryview(body)[records:])


def parse_event(data: bytes) -> Event:
    """Parses the data of an event of the stream. Raises `ValueError` if it has another form."""
    members = parse_object(data)
    try:
        records = base64.b64decode(str(members.get("records") or ""), validate=True)
    except binascii.Error:
        raise ValueError("the records are not base64") from None
    if len(records) % RECORD.size:
        raise ValueError("the last record is not whole")
    after = members.get("after")
    if after is not None and not isinstance(after, str):
        raise ValueError("the place of an event is not a text")
    return Event(_cursor(members.get("cursor")), _time(members.get("now")), _time(members.get("at")), records, after)


def parse_page(data: bytes) -> Event:
    """Parses the answer to a long poll. Raises `ValueError` if it has another form."""
    members = parse_object(data)
    entries = members.get("entries", [])
    if not isinstance(entries, list):
        raise ValueError("entries is not a list")
    try:
        records = b"".join(_record(entry) for entry in cast("list[dict[str, Any]]", entries))
    except (KeyError, TypeError, struct.error):
        raise ValueError("an entry has another form") from None
    return Event(_cursor(members.get("cursor")), _time(members.get("now")), _time(members.get("at")), records)


def _record(entry: dict[str, Any]) -> bytes:
    at = _time(entry["at"])
    return RECORD.pack(_KINDS[entry["kind"]], 0, at >> 32, at & 0xFFFF_FFFF, entry["until"], int(entry["hash"], 16))


class Feed:
    """The revocation list, and the arithmetic of its age."""

    def __init__(self, max_age: float, open_for: float | None = None) -> None:
        self.list = RevocationList()
        self.cursor: str | None = None
        self._max_age = max_age * 1000
        self._open_for = None if open_for is None else open_for * 1000
        self._exchanges: tuple[Exchange, ...] = ()
        self._has_snapshot = False
        self._at = 0
        self._newest_at = 0

    def exchanged(self, sent: Moment, now: int) -> None:
        """Learns from an answer with the issuer's time `now` to a request that was sent at `sent`."""
        self._exchanges = (*self._exchanges, Exchange(sent, now))[-EXCHANGES:]

    def receive(self, event: Event, moment: Moment) -> bool:
        """Learns from an event. Returns true if the keys must be read again. Raises `LostEventError`, and learns nothing,
        if an event before this one is missing.
        """
        if event.after is not None and event.after != self.cursor:
            raise LostEventError
        keys_changed = self.list.apply(event.records)
        self.cursor = event.cursor
        if event.at != 0:
            self._at = event.at
            self._newest_at = max(self._newest_at, event.at)
            # The issuer's clock jumped ahead: earlier answers prove nothing about it any more.
            if self._has_jumped(self._latest(moment)):
                self._exchanges = ()
        return keys_changed

    def take_snapshot(self, event: Event, moment: Moment) -> bool:
        """Learns from a snapshot. What is known stays."""
        keys_changed = self.receive(event, moment)
        self._has_snapshot = True
        return keys_changed

    def drop_expired(self) -> None:
        """Drops the entries whose tokens have all expired by the issuer's clock, some minutes later."""
        self.list.drop_before(self._newest_at // 1000 - KEPT_FOR)

    def _latest(self, moment: Moment) -> int | None:
        """The latest time that the issuer's clock can show at this moment."""
        return min((exchange.latest(moment) for exchange in self._exchanges), default=None)

    def _has_jumped(self, latest: int | None) -> bool:
        return latest is not None and latest + JUMP < self._at

    def age(self, moment: Moment) -> int | None:
        """The age that this knowledge can have, in milliseconds. `None` if nothing is proven about it."""
        latest = self._latest(moment)
        if latest is None or self._at == 0 or self._has_jumped(latest):
            return None
        return max(latest - self._at, 0)

    def state(self, moment: Moment) -> State:
        """The state at this moment."""
        if not self._has_snapshot:
            return State.UNKNOWN
        age = self.age(moment)
        return State.FRESH if age is not None and age <= self._max_age else State.STALE

    def is_open(self, moment: Moment) -> bool:
        """True if a stale service can still accept tokens, because its owner chose so."""
        age = self.age(moment)
        return self._open_for is not None and age is not None and age <= self._max_age + self._open_for

    def judged_at(self, moment: Moment) -> int:
        """The time by which tokens are judged, in seconds: no clock that is behind makes a token valid again."""
        return int(max(moment.wall, self._newest_at) // 1000)

    def refuses(self, claims: Claims, kid: str) -> bool:
        """True if the token, its session, its key or its user's tokens up to a time are refused."""
        return (
            self.list.denies(hash_of("jti", claims.jti))
            or (claims.sid is not None and self.list.denies(hash_of("sid", claims.sid)))
            or claims.issued_at_millis <= self.list.cut_of(hash_of("sub", claims.sub))
            or self.list.refuses_key(hash_of("key", kid))
        )
