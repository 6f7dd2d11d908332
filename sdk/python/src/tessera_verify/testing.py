"""An issuer for your tests. It opens no port, and the verifier is the one that runs in production.

With pytest, use the fixture `tessera_issuer`:

    def test_reports(tessera_issuer, client):
        tessera_issuer.serve(app_tessera)
        token = tessera_issuer.token(sub="56df201e-…", scope="reports")
        assert client.get("/reports", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        tessera_issuer.revoke(token)
        assert client.get("/reports", headers={"Authorization": f"Bearer {token}"}).status_code == 401
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from base64 import urlsafe_b64encode
from typing import Any, TypeVar

from jwt.algorithms import get_default_algorithms

from ._feed import Event, Feed
from ._json import base64url, parse_object
from ._key_store import KeyStore
from ._keys import Key, parse_jwk
from ._list import CUT, DENY, KEY, RECORD, hash_of
from ._tessera import Tessera
from ._verifier import Verifier

T = TypeVar("T", bound=Tessera)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _uuid7(milliseconds: int) -> uuid.UUID:
    random = secrets.randbits(74)
    number = milliseconds << 80 | 7 << 76 | (random >> 62) << 64 | 2 << 62 | random & ((1 << 62) - 1)
    return uuid.UUID(int=number)


class _Signer:
    """A key that signs: Ed25519, or an HMAC if the package cryptography is not installed."""

    def __init__(self) -> None:
        algorithms = get_default_algorithms()
        if "EdDSA" in algorithms:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            self._private: Any = Ed25519PrivateKey.generate()
            self._name = "EdDSA"
            public = self._private.public_key().public_bytes_raw()
            kid = secrets.token_urlsafe(32)
            jwk = {"kty": "OKP", "crv": "Ed25519", "x": _encoded(public), "kid": kid, "use": "sig"}
            self.key = parse_jwk(jwk)
        else:
            self._private = secrets.token_bytes(32)
            self._name = "HS256"
            self.key = Key.hs256(self._private)
        self._algorithm = algorithms[self._name]

    def sign(self, claims: dict[str, Any]) -> str:
        header = {"typ": "JWT", "alg": self._name, "kid": self.key.kid}
        signed = ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        return f"{signed}.{_encoded(self._algorithm.sign(signed.encode(), self._private))}"


class FakeIssuer:
    """Makes tokens for your tests, and revokes them."""

    def __init__(self, issuer: str = "https://issuer.test", audience: str = "tessera") -> None:
        self.issuer = issuer
        self.audience = audience
        self._signer = _Signer()
        self._keys: dict[str, Key] = {self._signer.key.kid: self._signer.key}
        self._records: list[bytes] = []
        self._is_stale = False
        self._served: list[tuple[Tessera, dict[str, Any]]] = []

    def environment(self) -> dict[str, str]:
        """Variables with which `Tessera.from_env()` starts in a test. No request is sent."""
        return {
            "TESSERA_ISSUER": self.issuer,
            "TESSERA_AUDIENCE": self.audience,
            "TESSERA_FEED_TOKEN": "tsr_for_tests",
        }

    def tessera(self, of: type[T], **options: Any) -> T:
        """Makes a verifier that trusts this issuer: `issuer.tessera(Tessera)`."""
        made = of(self.issuer, audience=self.audience, feed_token="tsr_for_tests", **options)
        return self.serve(made)

    def serve(self, tessera: T) -> T:
        """Makes an existing verifier trust this issuer alone, until `close` is called."""
        names = ("_keys", "_feed", "_verifier", "_beat")
        self._served.append((tessera, {name: getattr(tessera, name) for name in names}))
        settings = tessera.settings
        feed = Feed(settings.max_age, settings.open_for if settings.when_stale == "open" else None)
        keys = KeyStore(None)
        applied = 0

        def beat() -> None:
            nonlocal applied
            moment = tessera._clock()
            keys.set(self._keys, moment)
            new, applied = b"".join(self._records[applied:]), len(self._records)
            now = int(moment.wall)
            # While the issuer is away, an old event is the newest.
            at = now if not self._is_stale else now - int(settings.max_age * 1000) - 1000
            feed.exchanged(moment, now)
            feed.take_snapshot(Event(f"fake.{applied}.0", now, at, new), moment)

        tessera._keys, tessera._feed = keys, feed
        tessera._verifier = Verifier(self.issuer, (self.audience,), settings.leeway)
        tessera._beat = beat
        return tessera

    def close(self) -> None:
        """Undoes `serve`."""
        while self._served:
            tessera, before = self._served.pop()
            for name, value in before.items():
                setattr(tessera, name, value)

    def token(
        self,
        sub: str | None = None,
        *,
        fresh: bool = True,
        scope: str = "",
        expires_in: int = 900,
        **claims: Any,
    ) -> str:
        """Makes an access token. Without `sub`, it is a new user's. Other claims can be given by name; `None` leaves one out."""
        now = time.time()
        issued = int(now)
        members: dict[str, Any] = {
            "iss": self.issuer,
            "sub": sub or str(uuid.uuid4()),
            "aud": self.audience,
            "iat": issued,
            "nbf": issued - 5,
            "exp": issued + expires_in,
            "jti": str(_uuid7(int(now * 1000))),
            "sid": str(uuid.uuid4()),
            "type": "access",
            "fresh": fresh,
            "auth_time": issued,
            "scope": scope,
            **claims,
        }
        return self._signer.sign({name: value for name, value in members.items() if value is not None})

    def _claims(self, token: str) -> dict[str, Any]:
        return parse_object(base64url(token.split(".")[1]))

    def _record(self, kind: int, hashed: int) -> None:
        at, until = int(time.time() * 1000), int(time.time()) + 86_400
        self._records.append(RECORD.pack(kind, 0, at >> 32, at & 0xFFFF_FFFF, until, hashed))

    def revoke(self, token: str) -> None:
        """Revokes one token."""
        self._record(DENY, hash_of("jti", self._claims(token)["jti"]))

    def end_session(self, token: str) -> None:
        """Ends the session of a token, as a logout does."""
        self._record(DENY, hash_of("sid", self._claims(token)["sid"]))

    def revoke_user(self, sub: str) -> None:
        """Revokes all tokens that a user got until now, as a new password does."""
        self._record(CUT, hash_of("sub", sub))

    def rotate(self) -> None:
        """Makes a new key, which signs from now on, and retires the old one: its tokens are refused."""
        self._record(KEY, hash_of("key", self._signer.key.kid))
        self._signer = _Signer()
        self._keys = {self._signer.key.kid: self._signer.key}

    def make_stale(self) -> None:
        """Makes the feed too old: guards answer 503, unless `when_stale="open"`."""
        self._is_stale = True

    def make_fresh(self) -> None:
        """Ends what `make_stale` began."""
        self._is_stale = False
