"""The metrics of a verifier, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

from ._feed import Feed, Moment, State
from ._key_store import KeyStore
from ._refusal import Denied

_PREFIX = "tessera_verify_"


class Metrics:
    """Counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refusals: Counter[str] = Counter()
        self._resyncs: Counter[str] = Counter()
        self._stale = 0

    def reset_lock(self) -> None:
        """Makes a new lock after a fork. The old one can be held by a thread that does not exist any more."""
        self._lock = threading.Lock()

    def refused(self, denied: Denied) -> None:
        """Counts a refusal."""
        with self._lock:
            self._refusals[denied.reason] += 1

    def resynced(self, why: str) -> None:
        """Counts a snapshot that was taken because the place in the feed was lost."""
        with self._lock:
            self._resyncs[why] += 1

    def accepted_stale(self) -> None:
        """Counts a token that was accepted although the feed is stale."""
        with self._lock:
            self._stale += 1

    def text(self, feed: Feed | None, keys: KeyStore, moment: Moment) -> str:
        """The metrics, one a line."""
        state = State.OFF if feed is None else feed.state(moment)
        lines = ["# TYPE tessera_verify_state gauge"]
        lines += [f'{_PREFIX}state{{state="{one.value}"}} {int(one is state)}' for one in State]
        if feed is not None:
            age = feed.age(moment)
            if age is not None:
                lines += _gauge("feed_age_seconds", age / 1000)
            sequence = (feed.cursor or "").split(".")[1:2]
            if sequence and sequence[0].isdigit():
                lines += _gauge("feed_seq", int(sequence[0]))
            lines += _gauge("entries", len(feed.list))
        keys_age = keys.age(moment)
        if keys_age is not None:
            lines += _gauge("keys_age_seconds", keys_age / 1000)
        with self._lock:
            lines += _counter("refusals_total", "reason", self._refusals)
            lines += _counter("resyncs_total", "why", self._resyncs)
            lines += _counter("accepted_stale_total", "reason", Counter(stale=self._stale))
        return "\n".join(lines) + "\n"


def _gauge(name: str, value: float) -> list[str]:
    return [f"# TYPE {_PREFIX}{name} gauge", f"{_PREFIX}{name} {value:g}" if value < 1e6 else f"{_PREFIX}{name} {value}"]


def _counter(name: str, label: str, counts: Counter[str]) -> list[str]:
    lines = [f'{_PREFIX}{name}{{{label}="{key}"}} {count}' for key, count in sorted(counts.items())]
    return [f"# TYPE {_PREFIX}{name} counter", *lines]
