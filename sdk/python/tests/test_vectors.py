"""The vectors, on which the verifiers of all languages agree. The crate `tessera-verify` writes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tessera_verify import Refused
from tessera_verify._claims import Claims
from tessera_verify._feed import Event, Feed, LostEventError, Moment, State, parse_event, parse_snapshot
from tessera_verify._key_store import KeyStore
from tessera_verify._keys import parse_jwks
from tessera_verify._list import RECORD, RevocationList, hash_of
from tessera_verify._verifier import Verifier

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
TOKENS: dict[str, Any] = json.loads((VECTORS / "tokens.json").read_text())
FEEDS: dict[str, Any] = json.loads((VECTORS / "feeds.json").read_text())
EVENTS: dict[str, Any] = json.loads((VECTORS / "events.json").read_text())
MUTATIONS: dict[str, Any] = json.loads((VECTORS / "mutations.json").read_text())


def cases(part: str) -> list[Any]:
    return [pytest.param(case["token"], case["reason"], id=case["name"]) for case in TOKENS[part]["tokens"]]


def reason(token: str, keys: Any) -> str | None:
    verifier = Verifier(TOKENS["issuer"], [TOKENS["audience"]], TOKENS["leeway"])
    try:
        verifier.verify(token, keys, TOKENS["now"])
    except Refused as denied:
        return denied.refusal.reason
    return None


@pytest.mark.parametrize(("token", "expected"), cases("with_secret"))
def test_tokens_of_a_secret(token: str, expected: str | None) -> None:
    keys = KeyStore(TOKENS["with_secret"]["secret"].encode()).current(Moment(0, 0))
    assert reason(token, keys) == expected


@pytest.mark.parametrize(("token", "expected"), cases("with_jwks"))
def test_tokens_of_published_keys(token: str, expected: str | None) -> None:
    assert reason(token, parse_jwks(json.dumps(TOKENS["with_jwks"]["jwks"]).encode())) == expected


def mutated(members: list[list[str]], name: str, value: str) -> str:
    """The text of an object in which one member has another value. It comes last."""
    kept = [member for member in members if member[0] != name]
    return "{" + ",".join(f'"{known}":{text}' for known, text in [*kept, [name, value]]) + "}"


def signed(header: str, claims: str) -> str:
    encoded = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, claims)]
    digest = hmac.new(MUTATIONS["secret"].encode(), b".".join(encoded), hashlib.sha256).digest()
    return b".".join([*encoded, base64.urlsafe_b64encode(digest).rstrip(b"=")]).decode()


@pytest.mark.parametrize("part", ["header", "claims"])
def test_odd_values_of_each_member(part: str) -> None:
    keys = KeyStore(MUTATIONS["secret"].encode()).current(Moment(0, 0))
    verifier = Verifier(MUTATIONS["issuer"], [MUTATIONS["audience"]])
    whole = {name: "{" + ",".join(f'"{known}":{text}' for known, text in MUTATIONS[name]) + "}" for name in ("header", "claims")}
    count, wrong = 0, []
    for name, values in MUTATIONS["headers_with" if part == "header" else "claims_with"].items():
        for value, expected in values.items():
            token = signed(**{**whole, part: mutated(MUTATIONS[part], name, value)})
            try:
                verifier.verify(token, keys, MUTATIONS["now"])  # type: ignore[arg-type]
                got = None
            except Refused as denied:
                got = denied.refusal.reason
            count += 1
            if got != expected:
                wrong.append((name, value, expected, got))
    assert not wrong and count >= 300


def test_the_bytes_of_records() -> None:
    record = FEEDS["record"]
    kind, zero, high, low, until, hashed = RECORD.unpack(base64.b64decode(record["bytes"]))
    assert (kind, zero, high << 32 | low, until) == (record["kind"], 0, record["at"], record["until"])
    assert f"{hashed:016x}" == record["hash"]
    for case in FEEDS["malformed"]:
        with pytest.raises(ValueError):
            RevocationList().apply(base64.b64decode(case["records"]))
    for token in FEEDS["tokens"]:
        for of, expected in token["hashes"].items():
            assert f"{hash_of(of, token[of]):016x}" == expected
        assert claims_of(token).issued_at_millis == token["issued_at_millis"]


def claims_of(token: dict[str, Any]) -> Claims:
    jti, sid = uuid.UUID(token["jti"]), uuid.UUID(token["sid"])
    return Claims("", token["sub"], ("",), token["iat"], 0, 0, jti, sid, "access", False, 0, "")


def moment(local: dict[str, int]) -> Moment:
    return Moment(local["monotonic"], local["wall"])


def take(feed: Feed, step: dict[str, Any], now: Moment) -> None:
    match step["do"]:
        case "look":
            pass
        case "exchange":
            feed.exchanged(moment(step["sent"]), step["now"])
        case "snapshot":
            feed.take_snapshot(parse_snapshot(base64.b64decode(step["body"])), now)
        case "event":
            feed.receive(Event("cursor", 0, step["at"], base64.b64decode(step["records"])), now)
        case "drop_expired":
            feed.drop_expired()
        case other:
            raise AssertionError(f"a step that this test does not know: {other}")


def what_follows(feed: Feed, now: Moment) -> dict[str, Any]:
    state = feed.state(now)
    verdict = "accepted" if state is State.FRESH else "unavailable"
    if state is State.STALE and feed.is_open(now):
        verdict = "accepted_stale"
    return {
        "state": state.value,
        "age": feed.age(now),
        "judged_at": feed.judged_at(now),
        "verdict": verdict,
        "revoked": [token["name"] for token in FEEDS["tokens"] if feed.refuses(claims_of(token), "")],
        "key_revoked": feed.list.refuses_key(hash_of("key", "a-key")),
        "entries": len(feed.list),
    }


@pytest.mark.parametrize("scene", FEEDS["scenes"], ids=lambda scene: scene["name"])
def test_the_states_that_follow(scene: dict[str, Any]) -> None:
    open_for = scene["open_for"]
    feed = Feed(scene["max_age"] / 1000, None if open_for is None else open_for / 1000)
    for number, step in enumerate(scene["steps"]):
        now = moment(step["local"])
        take(feed, step, now)
        assert what_follows(feed, now) == step["then"], f"step {number}: {step['do']}"


@pytest.mark.parametrize("case", EVENTS["events"], ids=lambda case: case["name"])
def test_what_follows_from_an_event(case: dict[str, Any]) -> None:
    feed = Feed(5.0)
    feed.cursor = EVENTS["cursor"]
    try:
        feed.receive(parse_event(case["data"].encode()), Moment(0, 0))
        outcome = "applied"
    except LostEventError:
        outcome = "lost"
    except ValueError:
        outcome = "malformed"
    assert outcome == case["outcome"]
    assert (feed.cursor == EVENTS["cursor"]) == (outcome != "applied")
