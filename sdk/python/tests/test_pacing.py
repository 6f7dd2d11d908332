"""How often a service asks a server that is away, busy or broken.

A request is noted before it is answered, and the next one waits after the answer. So these are the shortest times that are
possible, however busy this machine is.
"""

from __future__ import annotations

import time

import pytest
from conftest import Clock, eventually

from tessera_verify import State, Unavailable

JWKS = "/.well-known/jwks.json"
PAGE = "/auth/revocations"
SNAPSHOT = "/auth/revocations/snapshot"
STREAM = "/auth/revocations/stream"


@pytest.fixture
def longest_waits(monkeypatch):
    """Makes every random wait as long as it can be."""
    monkeypatch.setattr("tessera_verify._follower.random.uniform", lambda low, high: high)


def waits(server, path, count):
    """Waits for some more requests for a path, and returns the times between them."""
    before = server.asked(path)
    eventually(lambda: server.asked(path) >= before + count, 60.0)
    times = server.times_of(path)[before : before + count]
    return [later - earlier for earlier, later in zip(times, times[1:])]


def expect_doubling(found):
    """The waits are at least 0.2, 0.4, 0.8 seconds, and so on."""
    for turn, wait in enumerate(found):
        assert wait >= 0.19 * 2**turn, found


def test_a_server_that_is_down_is_asked_less_and_less_often(server, make, longest_waits):
    make().start()
    server.down = True
    server.cut()
    # The first attempt follows the lost connection.
    expect_doubling(waits(server, STREAM, 5)[1:])


def test_a_server_that_is_down_at_the_start_is_asked_less_and_less_often(server, make, monkeypatch, longest_waits):
    monkeypatch.setattr("tessera_verify._tessera.START_WAIT", 0.1)
    server.down = True
    make().start()
    expect_doubling(waits(server, SNAPSHOT, 4)[1:])


def test_keys_that_cannot_be_read_are_asked_for_with_pauses_beside_the_stream(server, make, monkeypatch):
    monkeypatch.setattr("tessera_verify._tessera.START_WAIT", 0.1)
    server.busy, server.busy_paths = (503, 0), (JWKS,)
    make().start()
    # Each pause is half a second at least. These are intervals between requests that are sent, which can arrive late.
    assert sum(waits(server, JWKS, 5)) >= 1.5


def test_a_server_that_never_goes_on_from_a_place_is_asked_less_and_less_often(server, make, longest_waits):
    make().start()
    server.gone = True
    server.cut()
    expect_doubling(waits(server, STREAM, 5)[1:])


def test_streams_that_end_after_one_event_are_opened_less_and_less_often(server, make, longest_waits):
    make().start()
    server.brief = True
    server.cut()
    expect_doubling(waits(server, STREAM, 5)[1:])


def test_services_do_not_come_back_together(server, make):
    """Each draws its own time, from a range that grows."""
    tessera = make().start()
    follower = tessera._follower
    # Each heartbeat of the stream would set the failures to zero.
    tessera.stop()
    for failures, longest in ((1, 0.2), (3, 0.8), (6, 5.0), (100, 5.0)):
        follower._failures = failures
        drawn = [follower._backoff() for _ in range(200)]
        assert all(0.1 <= wait <= longest for wait in drawn)
        spread = longest - 0.1
        assert min(drawn) < 0.1 + 0.3 * spread and max(drawn) > 0.1 + 0.7 * spread


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_after_the_time_that_it_says(server, make, status):
    tessera = make().start()
    server.busy = (status, 2)
    server.cut()
    assert waits(server, STREAM, 2)[0] >= 1.9
    server.busy = None
    eventually(lambda: tessera.state is State.FRESH, 20.0)


def test_a_time_to_wait_that_is_too_long_is_cut(server, make, monkeypatch):
    monkeypatch.setattr("tessera_verify._follower._LONGEST_RETRY", 0.3)
    make().start()
    server.busy = (503, 86_400)
    server.cut()
    assert waits(server, STREAM, 2)[0] >= 0.3


def test_the_times_of_a_stale_service_are_asked_once_a_second_and_later_if_the_server_says_so(server, make):
    tessera = make(max_age=0.5).start()
    server.behind = 10_000
    eventually(lambda: tessera.state is State.STALE)
    # These are intervals between requests that are sent, which can arrive late. Three of them take three seconds.
    assert sum(waits(server, PAGE, 4)) >= 2.0
    server.busy, server.busy_paths = (503, 3), (PAGE,)
    # The second request is sent after the first one arrived, and the third one three seconds after the second was sent.
    assert sum(waits(server, PAGE, 3)) >= 2.9


def test_requests_of_a_serverless_function_do_not_flood_a_server_that_is_down(server, issuer, make, clock: Clock):
    tessera = make(mode="pull")
    token = issuer.token()
    tessera.verify(token)
    server.down = True
    clock.monotonic += 61_000
    asked, began = len(server.requests), time.monotonic()
    for _ in range(200):
        with pytest.raises(Unavailable):
            tessera.verify(token)
    # One attempt in a second.
    assert len(server.requests) - asked <= 1 + (time.monotonic() - began)
