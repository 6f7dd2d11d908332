"""The form, the header and the claims of tokens. The vectors have more of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import threading
import time
import uuid
from random import Random
from typing import Any

import pytest

from tessera_verify import Refusal, Refused, Tessera
from tessera_verify._json import base64url, parse_object
from tessera_verify._list import RevocationList, RECORD, hash_of
from tessera_verify._keys import Key, parse_jwks

SECRET = "a secret of at least thirty-two bytes"
KID = Key.hs256(SECRET.encode()).kid
NOW = int(time.time())


@pytest.fixture
def tessera() -> Tessera:
    return Tessera("https://issuer.test", audience=["reports", "billing"], secret=SECRET, feed=False)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: str, payload: str, secret: str = SECRET) -> str:
    text = f"{encoded(header.encode())}.{encoded(payload.encode())}"
    return f"{text}.{encoded(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def header(**members: Any) -> str:
    return json.dumps({"typ": "JWT", "alg": "HS256", "kid": KID, **members})


CLAIMS: dict[str, Any] = {
    "iss": "https://issuer.test", "sub": "somebody", "aud": "reports", "iat": NOW, "nbf": NOW - 5, "exp": NOW + 3600,
    "jti": "0198c5ab-0000-7000-8000-000000000001", "sid": "0198c5ab-0000-4000-8000-000000000002", "type": "access",
    "fresh": True, "auth_time": NOW, "scope": "a b", "email": "me@example.com",
}  # fmt: skip


def claims(**members: Any) -> str:
    return json.dumps({name: value for name, value in {**CLAIMS, **members}.items() if value is not ...})


def reason(tessera: Tessera, token: str) -> str:
    try:
        tessera.verify(token)
    except Refused as denied:
        return denied.refusal.reason
    return "accepted"


def test_a_valid_token_has_its_claims(tessera: Tessera) -> None:
    got = tessera.verify(signed(header(), claims(aud=["x", "billing"])))
    assert (got.sub, got.aud, got.scopes, got.fresh) == ("somebody", ("x", "billing"), ("a", "b"), True)
    assert got.extra == {"email": "me@example.com"}
    assert got.sid == uuid.UUID(CLAIMS["sid"])
    assert got.issued_at_millis == 0x0198C5AB0000
    assert got.raw["jti"] == CLAIMS["jti"]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", "token_malformed"),
        ("a.b", "token_malformed"),
        ("a.b.c.d", "token_malformed"),
        ("é.e30.AAAA", "token_malformed"),
        ("a" * 8193, "token_too_long"),
        ("é" * 4097, "token_too_long"),
        ("a" * 8192, "token_malformed"),
        (signed("[]", claims()), "header_invalid"),
        (signed("", claims()), "header_invalid"),
        (signed(header(crit=["exp"]), claims()), "header_unsupported"),
        (signed(header(jku="https://elsewhere"), claims()), "header_unsupported"),
        (signed(header(typ="at+jwt"), claims()), "header_unsupported"),
        (signed(header(typ="JWS"), claims()), "header_unsupported"),
        (signed(header(typ=None), claims()), "header_invalid"),
        (signed(header(typ="jwt"), claims()), "accepted"),
        (signed(header(typ="rt+jwt"), claims()), "key_unknown"),
        (signed(header(kid="x"), claims()), "key_unknown"),
        (signed('{"alg":"HS256"}', claims()), "header_invalid"),
        (signed(f'{{"alg":"HS256","kid":"x","kid":"{KID}"}}', claims()), "header_invalid"),
        (signed(f'{{"kid":"{KID}"}}', claims()), "header_invalid"),
        (signed(header(alg="none"), claims()), "algorithm_mismatch"),
        (signed(header(alg="hs256"), claims()), "algorithm_mismatch"),
        (signed(header(alg="RS256"), claims()), "algorithm_mismatch"),
        (signed(header(), claims(), "another"), "signature_invalid"),
        (signed(header(), claims()).rsplit(".", 1)[0] + ".", "signature_invalid"),
        (signed(header(), claims()) + "=", "token_malformed"),
        (signed(header(), "[]"), "claims_invalid"),
        (signed(header(), claims()[:-1] + ', "sub": "other"}'), "claims_invalid"),
        (signed(header(), claims()[:-1] + ', "x": {"a": 1, "a": 2}}'), "claims_invalid"),
        (signed(header(), claims()[:-1] + ', "x": NaN}'), "claims_invalid"),
        (signed(header(), claims()[:-1] + ', "x": 1e999}'), "claims_invalid"),
        (signed(header(), claims()[:-1] + ', "x": "\\ud800"}'), "claims_invalid"),
        (signed(header(), claims()[:-1] + ', "x": ' + "[" * 126 + "]" * 126 + "}"), "accepted"),
        (signed(header(), claims()[:-1] + ', "x": ' + "[" * 127 + "]" * 127 + "}"), "claims_invalid"),
        (signed(header(), claims()[:-1] + ', "x": ' + "[" * 2500 + "]" * 2500 + "}"), "claims_invalid"),
        (signed(header(), claims(iat=float(NOW))), "claims_invalid"),
        (signed(header(), claims(iat=True)), "claims_invalid"),
        (signed(header(), claims(iat=-1)), "claims_invalid"),
        (signed(header(), claims(nbf=str(NOW))), "claims_invalid"),
        (signed(header(), claims(nbf=2**64)), "claims_invalid"),
        (signed(header(), claims(exp=...)), "claims_invalid"),
        (signed(header(), claims(sub="")), "claims_invalid"),
        (signed(header(), claims(sid=None)), "claims_invalid"),
        (signed(header(), claims(sid=...)), "accepted"),
        (signed(header(), claims(jti="x")), "claims_invalid"),
        (signed(header(), claims(jti="{0198c5ab-0000-7000-8000-000000000001}")), "accepted"),
        (signed(header(), claims(jti="URN:UUID:0198c5ab-0000-7000-8000-000000000001")), "accepted"),
        (signed(header(), claims(aud=[])), "claims_invalid"),
        (signed(header(), claims(aud=["reports", 1])), "claims_invalid"),
        (signed(header(), claims(fresh=1)), "claims_invalid"),
        (signed(header(), claims(type="id")), "claims_invalid"),
        (signed(header(), claims(gen="x")), "claims_invalid"),
        (signed(header(), claims(type="refresh", gen=1)), "type_mismatch"),
        (signed(header(), claims(iss="https://issuer.test/")), "issuer_mismatch"),
        (signed(header(), claims(aud="elsewhere")), "audience_mismatch"),
        (signed(header(), claims(exp=NOW - 1, iat=NOW - 9)), "token_expired"),
        (signed(header(), claims(nbf=NOW + 600)), "token_not_yet_valid"),
        (signed(header(), claims(iat=NOW + 600)), "token_not_yet_valid"),
        (signed(header(), claims(iat=NOW + 1)), "accepted"),
        (signed(header(), claims(exp=NOW + 86_401)), "lifetime_too_long"),
        (signed(header(), claims(sub=None, iss="x")), "claims_invalid"),
    ],
)  # fmt: skip
def test_each_check_has_its_reason(tessera: Tessera, token: str, expected: str) -> None:
    assert reason(tessera, token) == expected


def test_each_reason_is_one_of_the_crate() -> None:
    assert len({refusal.reason for refusal in Refusal}) == 15


def test_base64url_has_one_spelling() -> None:
    assert base64url("AQ") == b"\x01"
    for other in ("AR", "AQ=", "AQ==", "A", "A Q", "A+", "A/", "AQ\n", "ＡＱ"):
        with pytest.raises(ValueError):
            base64url(other)


def test_json_is_strict() -> None:
    assert parse_object(b'{"a": 18446744073709551615, "b": [1.5, null]}')["a"] == 2**64 - 1
    for other in (b"", b"1", b'{"a":1}x', b"{'a':1}", b'{"a":01}', b'{"a":1,}', b'\xff{}', b'{"\\u0061":1,"a":2}', b'\xef\xbb\xbf{}'):
        with pytest.raises(ValueError):
            parse_object(other)
    assert isinstance(parse_object(b'{"a": -0}')["a"], float)


def test_a_set_of_keys_with_a_secret_or_two_keys_of_a_name_is_refused() -> None:
    point = {"kty": "OKP", "crv": "Ed25519", "x": encoded(bytes(31) + b"\x01")}
    good = {**point, "kid": "a"}
    assert list(parse_jwks(json.dumps({"keys": [good, {"kty": "EC", "crv": "P-521"}]}).encode())) == ["a"]
    for bad in ([good, good], [good, {"kty": "oct", "k": encoded(bytes(32)), "alg": "HS256"}], [], [1], [{**good, "use": "enc"}],
                [{**good, "alg": "ES256"}], [{**good, "x": encoded(bytes(31))}], [{**good, "key_ops": ["sign"]}]):  # fmt: skip
        with pytest.raises(ValueError):
            parse_jwks(json.dumps({"keys": bad}).encode())


def test_the_list_has_the_same_entries_as_a_plain_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessera_verify._list.NEWEST", 50)
    entries, plain = RevocationList(), {}
    for round in range(40):
        batch = [(hash_of("x", (round * 31 + n * 7) % 900), 100 + (n * round) % 300) for n in range(60)]
        lifts = [hash_of("x", (round * 17 + n) % 900) for n in range(5)]
        records = b"".join(RECORD.pack(1, 0, 0, 0, until, hashed) for hashed, until in batch)
        records += b"".join(RECORD.pack(3, 0, 0, 0, 0, hashed) for hashed in lifts)
        entries.apply(records)
        for hashed, until in batch:
            plain[hashed] = max(until, plain.get(hashed, 0))
        for hashed in lifts:
            plain.pop(hashed, None)
    assert len(entries) == len(plain)
    assert all(entries.denies(hash_of("x", n)) == (hash_of("x", n) in plain) for n in range(900))
    entries.drop_before(250)
    kept = {hashed for hashed, until in plain.items() if until >= 250}
    assert all(entries.denies(hash_of("x", n)) == (hash_of("x", n) in kept) for n in range(900))


def test_readers_never_miss_an_entry_while_others_are_merged_and_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessera_verify._list.NEWEST", 100)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    entries, ends, missed = RevocationList(), threading.Event(), list[int]()
    lasting: list[int] = []

    def read() -> None:
        while not ends.is_set():
            missed.extend(hashed for hashed in lasting[-150:] if not entries.denies(hashed))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for round in range(600):
            new = [hash_of("lasting", round * 9 + number) for number in range(9)]
            entries.apply(b"".join(RECORD.pack(1, 0, 0, 0, 2**32 - 1, hashed) for hashed in new))
            lasting.extend(new)
            others = [hash_of("other", round * 20 + number) for number in range(20)]
            entries.apply(b"".join(RECORD.pack(1, 0, 0, 0, round, hashed) for hashed in others))
            entries.apply(b"".join(RECORD.pack(3, 0, 0, 0, 0, hashed) for hashed in others[:9]))
            # What a lift repeats holds all the time.
            entries.apply(b"".join(RECORD.pack(kind, 0, 0, 0, 2**32 - 1, new[0]) for kind in (3, 1)))
            entries.drop_before(round - 20)
    finally:
        ends.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(before)
    assert not missed


def test_a_lift_repeats_what_still_holds() -> None:
    entries = RevocationList()
    entries.apply(RECORD.pack(2, 0, 0, 5000, 90, 7) + RECORD.pack(1, 0, 0, 0, 90, 8))
    entries.apply(RECORD.pack(3, 0, 0, 0, 0, 7) + RECORD.pack(2, 0, 0, 3000, 90, 7))
    assert entries.cut_of(7) == 3000 and entries.denies(8)
    with pytest.raises(ValueError):
        entries.apply(RECORD.pack(3, 0, 0, 0, 0, 8) + RECORD.pack(9, 0, 0, 0, 0, 8))
    assert entries.denies(8)


def test_a_million_entries_take_less_than_25_megabytes() -> None:
    entries = RevocationList()
    # The numbers of a fixed seed, which look like hashes.
    hashes = [random.getrandbits(64) for random in [Random(7)] for _ in range(1_000_500)]
    for part in range(0, 1_000_000, 10_000):
        entries.apply(b"".join(RECORD.pack(1, 0, 0, 0, 9, hashed) for hashed in hashes[part : part + 10_000]))
    assert len(entries) == 1_000_000
    arrays = sum(sys.getsizeof(one) for one in entries._sorted)
    # A number of 64 bits in the table takes 36 bytes, and its place about 80.
    assert arrays + 120 * len(entries._newest) < 25_000_000
    assert all(map(entries.denies, hashes[:1_000_000:997]))
    assert not any(map(entries.denies, hashes[1_000_000:]))
