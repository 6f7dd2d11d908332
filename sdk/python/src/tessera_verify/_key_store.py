"""The keys of the issuer, as the service knows them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from ._client import Answer, Client
from ._feed import Moment
from ._keys import Key, parse_jwks

JWKS = "/.well-known/jwks.json"
#: How often the keys are read, and how long they serve while the issuer is away.
READ_EVERY = 300_000.0
SERVE = 86_400_000.0
RETRY = 10_000.0
RETRY_FIRST = 1_000.0


class KeyStore:
    """The secret, or the published keys of the issuer. A failed read empties nothing."""

    def __init__(self, secret: bytes | None) -> None:
        self._fixed: dict[str, Key] | None = None
        if secret is not None:
            self._fixed = {key.kid: key for key in (Key.hs256(secret), Key.refresh(secret))}
        self._keys: dict[str, Key] = {}
        self._etag: str | None = None
        self._read: Moment | None = None
        self._tried: Moment | None = None
        self._wait = 0.0

    @property
    def are_published(self) -> bool:
        """True if the keys come from the issuer."""
        return self._fixed is None

    def current(self, moment: Moment) -> Mapping[str, Key] | None:
        """The keys, or `None` if they are not known, or were read too long ago."""
        if self._fixed is not None:
            return self._fixed
        age = self.age(moment)
        return self._keys if age is not None and age <= SERVE else None

    def age(self, moment: Moment) -> float | None:
        """The time since the published keys were read, in milliseconds."""
        return None if self._read is None else moment.since(self._read)

    def set(self, keys: Mapping[str, Key], moment: Moment) -> None:
        """Replaces the keys."""
        self._keys, self._read, self._wait = dict(keys), moment, READ_EVERY
        self._tried = moment

    def is_due(self, moment: Moment) -> bool:
        """True if the keys must be read now."""
        if self._fixed is not None:
            return False
        return self._tried is None or moment.since(self._tried) >= self._wait

    def hurry(self) -> None:
        """Makes the next read due at once."""
        self._wait = 0.0

    def began(self, moment: Moment) -> dict[str, str]:
        """Notes that a read begins. Returns its headers."""
        self._tried = moment
        self._wait = (RETRY_FIRST if self._read is None else RETRY) * random.uniform(0.5, 1.0)
        return {} if self._etag is None else {"If-None-Match": self._etag}

    def finished(self, answer: Answer, sent: Moment) -> None:
        """Takes the keys of an answer. It raises `ValueError` and keeps the old keys if they cannot be used."""
        if answer.status == 200:
            keys = parse_jwks(answer.body)
            self._keys, self._etag = keys, answer.etag
        elif self._read is None:
            raise ValueError("the keys did not change, but they were never read")
        self._read, self._wait = sent, READ_EVERY

    def fetch(self, client: Client, moment: Moment, timeout: float) -> None:
        """Reads the keys on a connection of its own."""
        headers = self.began(moment)
        self.finished(client.get(JWKS, timeout, headers), moment)
