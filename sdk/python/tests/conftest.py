from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from feed_server import TOKEN, FeedServer

from tessera_verify import Tessera
from tessera_verify._feed import Moment
from tessera_verify.testing import FakeIssuer


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
def make(server: FeedServer, issuer: FakeIssuer, clock: Clock) -> Iterator[Callable[..., Tessera]]:
    made: list[Tessera] = []

    def one(**options: object) -> Tessera:
        options = {"audience": "tessera", "feed_token": TOKEN, "clock": clock, **options}
        made.append(Tessera(server.url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for tessera in made:
        tessera.stop()
