from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from feed_server import TOKEN, FeedServer

from tessera_verify import Tessera
from tessera_verify._feed import Moment
from tessera_verify._key_store import KeyStore
from tessera_verify.testing import FakeIssuer

#: How long a verifier waits for the server, in seconds. It is longer than `eventually` waits, so a test notices a verifier
#: that waits where it must not.
PATIENCE = 120.0


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until something holds. Only a test that fails waits for so long."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Clock:
    """A clock that tests can move: the monotonic one, the wall, or both."""

    def __init__(self) -> None:
        self.monotonic = 0.0
        self.wall = 0.0

    def __call__(self) -> Moment:
        return Moment(time.monotonic() * 1000 + self.monotonic, time.time() * 1000 + self.wall)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[FeedServer]:
    server = FeedServer().start()
    yield server
    server.stop()


@pytest.fixture
def issuer(server: FeedServer) -> FakeIssuer:
    """Makes tokens of the server's issuer."""
    issuer = FakeIssuer(server.url)
    publish(server, issuer)
    return issuer


def publish(server: FeedServer, issuer: FakeIssuer) -> None:
    """Publishes the keys of the issuer."""
    from tessera_verify.testing import _encoded

    server.keys = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": key.kid,
            "use": "sig",
            "alg": "EdDSA",
            "x": _encoded(key._key.public_bytes_raw()),
        }
        for key in issuer._keys.values()
    ]


@pytest.fixture
def make(
    server: FeedServer, issuer: FakeIssuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Tessera]]:
    """Makes verifiers of the server. They are patient, because on a busy machine nothing may happen for some seconds. A
    test that is about one of these times sets it.
    """
    for name in ("_follower.SILENCE", "_follower.TIMEOUT", "_tessera.START_WAIT"):
        monkeypatch.setattr(f"tessera_verify.{name}", PATIENCE)
    fetch = KeyStore.fetch
    monkeypatch.setattr(KeyStore, "fetch", lambda keys, client, moment, _: fetch(keys, client, moment, PATIENCE))
    made: list[Tessera] = []

    def one(**options: object) -> Tessera:
        options = {"audience": "tessera", "feed_token": TOKEN, "max_age": 60.0, "clock": clock, **options}
        made.append(Tessera(server.url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for tessera in made:
        tessera.stop()
