"""The revocation list in memory: hashes of ids, without names.

Most entries are in two arrays that are sorted by the hash: 12 bytes each. The newest are in a table, and are merged
into the arrays when there are many. Readers take no lock: a writer makes new arrays, and then replaces the old ones.
"""

from __future__ import annotations

import hashlib
import operator
import struct
from array import array
from bisect import bisect_left
from functools import partial
from itertools import compress

RECORD = struct.Struct(">BBHIIQ")
DENY, CUT, LIFT, KEY = 1, 2, 3, 4
NEWEST = 65_536
_FOR_EVER = 0xFFFF_FFFF


def hash_of(kind: str, subject: object) -> int:
    """The hash of an id, as records contain it."""
    digest = hashlib.sha256(f"{kind}:{subject}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


class RevocationList:
    """The tokens, sessions, users and keys that are refused."""

    def __init__(self) -> None:
        self._sorted: tuple[array[int], array[int]] = (array("Q"), array("I"))
        self._newest: dict[int, int] = {}
        self._cuts: dict[int, tuple[int, int]] = {}
        self._keys: dict[int, int] = {}
        self._dropped_before = 0

    def __len__(self) -> int:
        return len(self._sorted[0]) + len(self._newest) + len(self._cuts) + len(self._keys)

    def denies(self, hashed: int) -> bool:
        """True if the token or the session with this hash is refused."""
        # The order matters: a writer replaces the arrays before it empties the table.
        if hashed in self._newest:
            return True
        hashes = self._sorted[0]
        place = bisect_left(hashes, hashed)
        return place < len(hashes) and hashes[place] == hashed

    def cut_of(self, hashed: int) -> int:
        """The time in milliseconds up to which the tokens of a user are refused, or -1."""
        return self._cuts.get(hashed, (-1, 0))[0]

    def refuses_key(self, hashed: int) -> bool:
        """True if the tokens of the key with this hash are refused."""
        return hashed in self._keys

    def apply(self, records: bytes | memoryview) -> bool:
        """Applies records in their order. Returns true if the keys must be read again. It raises `ValueError` if the
        bytes are no records. It changes nothing then.
        """
        if len(records) % RECORD.size:
            raise ValueError("the last record is not whole")
        step = NEWEST * RECORD.size
        batches = [records[start : start + step] for start in range(0, len(records), step)]
        if any(not 1 <= kind <= 4 for kind in records[:: RECORD.size]) or any(records[1 :: RECORD.size]):
            raise ValueError("a record has an unknown kind")
        return any([self._apply_batch(batch) for batch in batches])

    def _apply_batch(self, records: bytes | memoryview) -> bool:
        """Adds what holds after all records before it removes anything: a lift is followed by what still holds."""
        denied: dict[int, int] = {}
        cuts: dict[int, tuple[int, int]] = {}
        keys: dict[int, int] = {}
        lifted: set[int] = set()
        for kind, _, high, low, until, hashed in RECORD.iter_unpack(records):
            if kind == DENY:
                denied[hashed] = max(until, denied.get(hashed, 0))
            elif kind == CUT:
                cut, last = cuts.get(hashed, (0, 0))
                cuts[hashed] = (max(cut, high << 32 | low), max(last, until))
            elif kind == KEY:
                keys[hashed] = max(until, keys.get(hashed, 0))
            else:
                lifted.add(hashed)
                for table in (denied, cuts, keys):
                    table.pop(hashed, None)
        self._add(denied)
        for hashed, (cut, until) in cuts.items():
            known = (0, 0) if hashed in lifted else self._cuts.get(hashed, (0, 0))
            self._cuts[hashed] = (max(cut, known[0]), max(until, known[1]))
        for hashed, until in keys.items():
            self._keys[hashed] = max(until, self._keys.get(hashed, 0))
        self._lift(lifted, denied, cuts, keys)
        return bool(keys)

    def _lift(
        self, lifted: set[int], denied: dict[int, int], cuts: dict[int, tuple[int, int]], keys: dict[int, int]
    ) -> None:
        hashes, untils = self._sorted
        gone = [place for hashed in lifted - denied.keys() if (place := self._place(hashes, hashed)) is not None]
        if gone:
            keep = bytearray(b"\x01") * len(hashes)
            for place in gone:
                keep[place] = 0
            self._sorted = (array("Q", compress(hashes, keep)), array("I", compress(untils, keep)))
        for hashed in lifted:
            if hashed not in denied:
                self._newest.pop(hashed, None)
            if hashed not in cuts:
                self._cuts.pop(hashed, None)
            if hashed not in keys:
                self._keys.pop(hashed, None)

    @staticmethod
    def _place(hashes: array[int], hashed: int) -> int | None:
        place = bisect_left(hashes, hashed)
        return place if place < len(hashes) and hashes[place] == hashed else None

    def _add(self, denied: dict[int, int]) -> None:
        hashes, untils = self._sorted
        for hashed, until in denied.items():
            place = self._place(hashes, hashed)
            if place is None:
                self._newest[hashed] = max(until, self._newest.get(hashed, 0))
            else:
                untils[place] = max(until, untils[place])
        if len(self._newest) >= NEWEST:
            self._merge()

    def _merge(self) -> None:
        """Merges the newest entries into the arrays."""
        hashes, untils = self._sorted
        merged, merged_untils = array("Q"), array("I")
        start = 0
        for hashed, until in sorted(self._newest.items()):
            place = bisect_left(hashes, hashed, start)
            merged.extend(hashes[start:place])
            merged_untils.extend(untils[start:place])
            start = place
            merged.append(hashed)
            merged_untils.append(until)
        merged.extend(hashes[start:])
        merged_untils.extend(untils[start:])
        self._sorted = (merged, merged_untils)
        self._newest = {}

    def drop_before(self, time: int) -> None:
        """Drops the entries whose last token expired before `time`, in seconds of the issuer's clock."""
        if time <= self._dropped_before:
            return
        self._dropped_before = time
        hashes, untils = self._sorted
        keep = bytes(map(partial(operator.le, time), untils))
        if not all(keep):
            self._sorted = (array("Q", compress(hashes, keep)), array("I", compress(untils, keep)))
        for table in (self._newest, self._keys):
            for hashed in [hashed for hashed, until in table.items() if until < time]:
                del table[hashed]
        for hashed in [hashed for hashed, (_, until) in self._cuts.items() if until < time]:
            del self._cuts[hashed]
