"""A service that follows the feed of a server, with the faults of networks, servers and clocks."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import threading
import time

import pytest
from conftest import Clock, eventually, publish

from tessera_verify import Claims, Refusal, Refused, State, Tessera, Unavailable
from tessera_verify._list import hash_of

JWKS = "/.well-known/jwks.json"
PAGE = "/auth/revocations"
#: The age at which knowledge is too old, in the tests that are about it.
MAX_AGE = 3.0


def refused(tessera: Tessera, token: str) -> bool:
    try:
        tessera.verify(token)
    except Refused as denied:
        return denied.refusal is Refusal.REVOKED
    except Unavailable:
        return False
    return False


def unavailable(tessera: Tessera, token: str) -> bool:
    try:
        tessera.verify(token)
    except Unavailable:
        return True
    except Refused:
        return False
    return False


def accepted(tessera: Tessera, token: str) -> Claims:
    """Waits until the service is available, and returns the claims. A busy machine can make it stale for a moment."""
    claims: list[Claims] = []

    def is_available() -> bool:
        try:
            claims.append(tessera.verify(token))
        except Unavailable:
            return False
        return True

    eventually(is_available)
    return claims[0]


def accepted_stale(tessera: Tessera) -> int:
    [count] = re.findall(r'accepted_stale_total\{reason="stale"\} (\d+)', tessera.metrics())
    return int(count)


def test_a_logout_is_known_within_a_second(server, issuer, make):
    tessera = make().start()
    other, times = issuer.token(), [60.0]
    # A busy machine is often late, so one of several tries must be in time.
    while times[-1] > 1.0 and len(times) < 20:
        token = issuer.token()
        server.end_session(tessera.verify(token).sid)
        began = time.monotonic()
        eventually(lambda token=token: refused(tessera, token))
        times.append(time.monotonic() - began)
    assert times[-1] <= 1.0, times
    assert not tessera.verify(other).stale


def test_the_first_request_starts_the_thread(server, issuer, make):
    assert make().verify(issuer.token()).iss == server.url


def test_a_snapshot_has_what_happened_before_the_start(server, issuer, make):
    token = issuer.token()
    server.append(1, hash_of("jti", issuer._claims(token)["jti"]))
    assert refused(make().start(), token)


def test_a_cut_refuses_tokens_up_to_its_time_and_a_lift_ends_it(server, issuer, make):
    tessera = make().start()
    old = issuer.token("somebody")
    time.sleep(0.002)
    server.append(2, hash_of("sub", "somebody"))
    time.sleep(0.002)
    new = issuer.token("somebody")
    eventually(lambda: refused(tessera, old))
    assert tessera.verify(new).sub == "somebody"
    server.append(3, hash_of("sub", "somebody"))
    eventually(lambda: not refused(tessera, old))


def test_a_key_record_refuses_its_tokens_and_the_keys_are_read_again(server, issuer, make):
    tessera = make().start()
    token = issuer.token()
    tessera.verify(token)
    asked, read = server.asked(JWKS), tessera._keys._read
    server.append(4, hash_of("key", list(issuer._keys)[0]))
    eventually(lambda: refused(tessera, token))
    # The answer must be there: it must not replace the keys that follow.
    eventually(lambda: server.asked(JWKS) > asked and tessera._keys._read != read)
    issuer.rotate()
    publish(server, issuer)
    tessera.verify(issuer.token())


def test_a_held_stream_makes_the_service_stale_and_it_recovers_by_itself(server, issuer, make):
    tessera = make(max_age=MAX_AGE).start()
    token = issuer.token()
    accepted(tessera, token)
    server.held = True
    eventually(lambda: unavailable(tessera, token))
    server.held = False
    accepted(tessera, token)


def test_a_server_whose_reads_are_behind_makes_the_service_stale(server, issuer, make):
    tessera = make(max_age=MAX_AGE).start()
    token = issuer.token()
    accepted(tessera, token)
    server.behind = MAX_AGE * 1500
    eventually(lambda: unavailable(tessera, token))


def test_a_stream_that_a_proxy_delays_cannot_seem_young(server, issuer, make, monkeypatch):
    """The proxy passes each event on, but late. The request beside the stream tells the true time."""
    monkeypatch.setattr("tessera_verify._follower.EXCHANGE_EVERY", 200.0)
    tessera = make(max_age=MAX_AGE).start()
    token = issuer.token()
    accepted(tessera, token)
    server.late = int(MAX_AGE * 2000)
    eventually(lambda: unavailable(tessera, token))


def test_an_event_that_gets_lost_on_the_way_is_read_again(server, issuer, make):
    tessera = make().start()
    tokens = [issuer.token(), issuer.token(), issuer.token()]
    opened = server.asked("/auth/revocations/stream")
    for number, token in enumerate(tokens, 1):
        server.lost = number
        server.end_session(issuer._claims(token)["sid"])
        eventually(lambda: refused(tessera, token))
        assert server.lost == 0
    assert server.asked("/auth/revocations/stream") >= opened + 3
    assert server.asked("/auth/revocations/snapshot") == 1


def test_a_server_that_does_not_say_where_events_begin_is_followed_too(server, issuer, make):
    server.says_after = False
    tessera = make().start()
    token = issuer.token()
    server.end_session(tessera.verify(token).sid)
    eventually(lambda: refused(tessera, token))
    assert server.asked("/auth/revocations/stream") == 1


def test_a_server_that_stops_says_when_to_come_back(server, issuer, make, monkeypatch):
    monkeypatch.setattr("tessera_verify._follower._LONGEST_RETRY", 0.7)
    tessera = make().start()
    follower = tessera._follower
    # The thread would set these too.
    tessera.stop()
    follower._failures, waits = 1, []
    for retry in (None, 0.4, 3600.0):
        follower._retry = retry
        waits.append(follower._backoff())
    assert waits[0] <= 0.2 and waits[1:] == [0.5, 0.7]
    assert follower._retry is None


def test_a_half_open_connection_is_left(server, issuer, make, monkeypatch):
    """Nothing arrives any more, and nothing says that the connection is broken."""
    monkeypatch.setattr("tessera_verify._follower.SILENCE", 0.3)
    tessera = make(max_age=MAX_AGE).start()
    server.held = True
    opened = server.asked("/auth/revocations/stream")
    eventually(lambda: server.asked("/auth/revocations/stream") > opened + 1)
    server.held = False
    eventually(lambda: tessera.state is State.FRESH)
    accepted(tessera, issuer.token())


def test_slow_keys_do_not_hold_up_the_feed(server, issuer, make, monkeypatch):
    monkeypatch.setattr("tessera_verify._key_store.READ_EVERY", 50.0)
    monkeypatch.setattr("tessera_verify._key_store.RETRY", 50.0)
    tessera = make(max_age=MAX_AGE).start()
    server.sends_keys.clear()
    asked = server.asked(JWKS)
    eventually(lambda: server.asked(JWKS) > asked)
    end = time.monotonic() + MAX_AGE * 2
    while time.monotonic() < end:
        # A busy machine can make the service stale. It must recover while the keys still hang.
        assert accepted(tessera, issuer.token()).iss == server.url
        time.sleep(0.02)
    # It gives up in the end, and asks again.
    asked = server.asked(JWKS)
    with monkeypatch.context() as patch:
        patch.setattr("tessera_verify._follower.TIMEOUT", 0.1)
        eventually(lambda: server.asked(JWKS) > asked)
    assert accepted(tessera, issuer.token()).iss == server.url


def test_a_cut_stream_is_opened_again_and_nothing_is_missed(server, issuer, make):
    tessera = make().start()
    tokens = [issuer.token() for _ in range(20)]
    for token in tokens:
        server.end_session(issuer._claims(token)["sid"])
        server.cut()
        time.sleep(0.01)
    eventually(lambda: all(refused(tessera, token) for token in tokens))
    assert server.asked("/auth/revocations/snapshot") == 1


def test_a_place_that_is_gone_leads_to_a_snapshot_and_nothing_is_forgotten(server, issuer, make):
    tessera = make().start()
    before, after = issuer.token(), issuer.token()
    server.end_session(issuer._claims(before)["sid"])
    eventually(lambda: refused(tessera, before))
    # A backup is restored: it has another past.
    server.records, server.epoch = [], "second"
    server.end_session(issuer._claims(after)["sid"])
    server.cut()
    eventually(lambda: refused(tessera, after))
    assert refused(tessera, before)
    assert 'resyncs_total{why="gone"} 1' in tessera.metrics()


def test_a_token_stays_refused_while_the_issuer_is_away(server, issuer, make):
    tessera = make(max_age=MAX_AGE).start()
    token, other = issuer.token(), issuer.token()
    server.end_session(accepted(tessera, token).sid)
    eventually(lambda: refused(tessera, token))
    server.down = True
    server.cut()
    eventually(lambda: unavailable(tessera, other))
    assert refused(tessera, token)


def test_an_open_service_accepts_marked_tokens_for_a_time(server, issuer, make, clock):
    tessera = make(max_age=MAX_AGE, when_stale="open", open_for=60).start()
    token = issuer.token()
    eventually(lambda: not tessera.verify(token).stale)
    marked = accepted_stale(tessera)
    server.down = True
    server.cut()
    eventually(lambda: tessera.verify(token).stale)
    assert accepted_stale(tessera) == marked + 1
    clock.monotonic += 61_000
    assert unavailable(tessera, token)


def test_without_an_answer_the_start_ends_and_requests_get_503(issuer, make, monkeypatch, server):
    monkeypatch.setattr("tessera_verify._tessera.START_WAIT", 0.2)
    server.down = True
    tessera = make().start()
    assert tessera.state is State.UNKNOWN
    assert unavailable(tessera, issuer.token())
    with pytest.raises(Refused):
        tessera.verify("x")
    server.down = False
    eventually(lambda: not unavailable(tessera, issuer.token()))


def test_a_snapshot_that_is_not_whole_is_not_used(issuer, make, monkeypatch, server):
    monkeypatch.setattr("tessera_verify._tessera.START_WAIT", 0.3)
    server.truncated = True
    assert make().start().state is State.UNKNOWN


def test_a_wrong_token_of_the_feed_is_named_in_the_log(make, monkeypatch, caplog):
    monkeypatch.setattr("tessera_verify._tessera.START_WAIT", 0.3)
    with caplog.at_level(logging.WARNING, "tessera_verify"):
        make(feed_token="tsr_wrong").start()
        eventually(lambda: "TESSERA_FEED_TOKEN must be" in caplog.text)
    assert "tsr_wrong" not in caplog.text


@pytest.mark.parametrize("which", ["monotonic", "wall"])
def test_a_machine_that_slept_answers_503_until_it_has_asked(server, issuer, make, clock: Clock, which: str):
    """A suspended machine: one of both clocks stands still."""
    tessera = make().start()
    token = issuer.token()
    tessera.verify(token)
    # It gets no answer that was sent after the machine slept.
    server.held, server.busy, server.busy_paths = True, (503, 0), (PAGE,)
    setattr(clock, which, getattr(clock, which) + 100_000)
    assert unavailable(tessera, token)
    server.held, server.busy = False, None
    server.cut()
    eventually(lambda: tessera.state is State.FRESH)
    tessera.verify(token)


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_this_machine_can_be_wrong(server, issuer, make, clock: Clock, hours: int):
    clock.wall += hours * 3_600_000
    tessera = make().start()
    token = issuer.token()
    if hours > 0:
        with pytest.raises(Refused) as denied:
            tessera.verify(token)
        assert denied.value.refusal is Refusal.EXPIRED
    else:
        # The times of the feed count if they are later.
        tessera.verify(token)
        expired = issuer.token(expires_in=-10)
        with pytest.raises(Refused) as denied:
            tessera.verify(expired)
        assert denied.value.refusal is Refusal.EXPIRED


def test_no_jump_of_a_clock_makes_a_revoked_token_valid(server, issuer, make, clock: Clock):
    tessera = make().start()
    token = issuer.token()
    server.end_session(tessera.verify(token).sid)
    eventually(lambda: refused(tessera, token))
    for jump in (7_200_000, -7_200_000):
        server.clock += jump
        server.cut()
        eventually(lambda: tessera.state is State.FRESH)
        tessera._feed.drop_expired()
        with pytest.raises(Refused):
            tessera.verify(token)


def test_the_issuers_clock_jumps_ahead_and_the_service_is_stale_until_it_has_asked(server, issuer, make):
    tessera = make().start()
    server.busy, server.busy_paths = (503, 0), (PAGE,)
    server.clock += 60_000
    eventually(lambda: tessera.state is State.STALE)
    # It asks once a second.
    server.busy = None
    eventually(lambda: tessera.state is State.FRESH)


def test_unknown_keys_cause_one_request_in_ten_seconds(server, issuer, make):
    tessera = make().start()
    issuer.rotate()
    publish(server, issuer)
    before = server.asked(JWKS)
    assert tessera.verify(issuer.token()).iss == server.url
    issuer.rotate()
    for _ in range(50):
        with pytest.raises(Refused):
            tessera.verify(issuer.token())
    assert server.asked(JWKS) == before + 1


def test_a_flood_of_unknown_keys_waits_only_in_a_few_threads(server, issuer, make):
    tessera = make().start()
    issuer.rotate()
    server.jwks_delay = 1.0
    token, answers = issuer.token(), []

    def ask() -> None:
        with pytest.raises(Refused) as denied:
            tessera.verify(token)
        answers.append(denied.value.refusal)

    before = server.asked(JWKS)
    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [Refusal.KEY_UNKNOWN] * 60
    assert server.asked(JWKS) == before + 1


def test_bad_keys_empty_nothing(server, issuer, make, monkeypatch):
    monkeypatch.setattr("tessera_verify._key_store.READ_EVERY", 50.0)
    monkeypatch.setattr("tessera_verify._key_store.RETRY", 50.0)
    tessera = make().start()
    token = issuer.token()
    for bad in ([], [{"kty": "oct", "k": "AAAA"}], [{"kty": "OKP"}], server.keys * 2):
        server.keys = bad
        read = server.asked(JWKS)
        eventually(lambda: server.asked(JWKS) > read + 1)
        tessera.verify(token)


def test_old_keys_serve_for_a_day(server, issuer, make, clock: Clock, monkeypatch):
    tessera = make(feed_token=None, feed=False).start()
    token = issuer.token(expires_in=86_400)
    server.down = True
    clock.monotonic += 86_300_000
    tessera.verify(token)
    clock.monotonic += 200_000
    assert unavailable(tessera, token)


def test_pull_asks_once_before_the_verdict(server, issuer, make, clock: Clock):
    tessera = make(mode="pull").start()
    token = issuer.token()
    tessera.verify(token)
    asked = len(server.requests)
    tessera.verify(token)
    assert len(server.requests) == asked
    server.end_session(issuer._claims(token)["sid"])
    clock.monotonic += 61_000
    assert refused(tessera, token)
    assert len(server.requests) == asked + 1
    server.records, server.epoch = [], "second"
    clock.monotonic += 61_000
    assert refused(tessera, token)
    server.down = True
    clock.monotonic += 61_000
    assert unavailable(tessera, issuer.token())


def test_pull_has_no_thread(server, issuer, make):
    make(mode="pull").verify(issuer.token())
    assert not any(thread.name == "tessera-verify" for thread in threading.enumerate())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_follows_the_feed_itself(server, issuer, make):
    tessera = make().start()
    token = issuer.token()
    tessera.verify(token)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            tessera.verify(token)
            theirs.sendall(b"accepted")
            eventually(lambda: refused(tessera, token))
            theirs.sendall(b"refused")
        finally:
            os._exit(0)
    ours.settimeout(60)
    assert ours.recv(8) == b"accepted"
    server.end_session(issuer._claims(token)["sid"])
    assert ours.recv(8) == b"refused"
    os.waitpid(child, 0)
    eventually(lambda: refused(tessera, token))


def test_stop_ends_the_thread_and_start_begins_another(server, issuer, make):
    tessera = make(max_age=MAX_AGE).start()
    token = issuer.token()
    tessera.stop()
    eventually(lambda: not any(thread.name == "tessera-verify" for thread in threading.enumerate()))
    eventually(lambda: unavailable(tessera, token))
    server.end_session(issuer._claims(token)["sid"])
    tessera.start()
    assert refused(tessera, token)
    accepted(tessera, issuer.token())


def test_all_requests_wait_for_the_start(server, issuer, make):
    server.jwks_delay = 0.5
    tessera, token, answers = make(), issuer.token(), []
    threads = [threading.Thread(target=lambda: answers.append(tessera.verify(token).iss)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [server.url] * 8


def test_an_event_loop_goes_on_while_a_request_waits(server, issuer, make):
    async def run() -> tuple[int, str]:
        ticks, waiting = 0, asyncio.ensure_future(tessera.verify_async(token))
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
            if ticks > 10:
                # The request gets its keys only if the loop went on.
                server.sends_keys.set()
        return ticks, waiting.result().iss

    server.sends_keys.clear()
    tessera, token = make(), issuer.token()
    ticks, issued_by = asyncio.run(run())
    assert issued_by == server.url and ticks > 10
    # The same for a key that is not known.
    issuer.rotate()
    publish(server, issuer)
    token = issuer.token()
    server.sends_keys.clear()
    ticks, issued_by = asyncio.run(run())
    assert issued_by == server.url and ticks > 10
