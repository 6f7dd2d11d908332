"""The verifier, which decides whether a token is valid: an ordered list of small checks (RFC 8725)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ._claims import Claims, parse_claims
from ._json import base64url, parse_object
from ._keys import Key
from ._refusal import Refusal, Refused

MAX_TOKEN_LENGTH = 8 * 1024
DEFAULT_LEEWAY = 2
MAX_LEEWAY = 60
MAX_ACCESS_LIFETIME = 86_400
MAX_REFRESH_LIFETIME = 10 * 366 * 86_400

_UNSUPPORTED = ("crit", "b64", "cty", "zip", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256")
_TYPS = ("jwt", "rt+jwt", "at+jwt")


class Parts(NamedTuple):
    """The parts of a token in compact form (RFC 7515, section 7.1), and the header's members that are used."""

    typ: str
    algorithm: str
    kid: str
    payload: bytes
    signature: bytes
    signed: bytes


def _require(holds: bool, refusal: Refusal) -> None:
    if not holds:
        raise Refused(refusal)


def _segments(token: str) -> tuple[bytes, bytes, bytes, bytes]:
    signed, dot, signature = token.rpartition(".")
    header, other, payload = signed.partition(".")
    _require(bool(dot) and bool(other), Refusal.MALFORMED)
    try:
        return base64url(header), base64url(payload), base64url(signature), signed.encode("ascii")
    except ValueError:
        raise Refused(Refusal.MALFORMED) from None


def _header(data: bytes) -> tuple[str, str, str | None]:
    try:
        members: dict[str, Any] = parse_object(data)
        for name in ("typ", "alg", "kid"):
            if name in members and not isinstance(members[name], str):
                raise ValueError(f"{name} is not a text")
    except ValueError:
        raise Refused(Refusal.HEADER_INVALID) from None
    _require(not any(name in members for name in _UNSUPPORTED), Refusal.HEADER_UNSUPPORTED)
    typ: str = members.get("typ", "JWT")
    typ = typ.lower() if typ.isascii() else typ
    _require(typ in _TYPS, Refusal.HEADER_UNSUPPORTED)
    _require("alg" in members, Refusal.HEADER_INVALID)
    return typ, members["alg"], members.get("kid")


def split(token: str) -> Parts:
    """Splits a token, and checks the form of its parts and its header."""
    _require(len(token.encode("utf-8", "surrogatepass")) <= MAX_TOKEN_LENGTH, Refusal.TOO_LONG)
    header, payload, signature, signed = _segments(token)
    typ, algorithm, kid = _header(header)
    _require(typ != "at+jwt", Refusal.HEADER_UNSUPPORTED)
    if kid is None:
        raise Refused(Refusal.HEADER_INVALID)
    return Parts(typ, algorithm, kid, payload, signature, signed)


class Verifier:
    """Decides whether an access token of a session is valid. It reads no clock and sends no requests."""

    def __init__(self, issuer: str, audiences: Sequence[str], leeway: int = DEFAULT_LEEWAY) -> None:
        self.issuer = issuer
        self.audiences = tuple(audiences)
        self.leeway = min(leeway, MAX_LEEWAY)

    def verify(self, token: str, keys: Mapping[str, Key], now: int) -> tuple[Claims, str]:
        """Returns the claims and the name of the key, or raises `Refused` for the first check that fails. It does not
        check whether the token was revoked.
        """
        parts = split(token)
        claims = self._signed(parts, keys)
        _require(claims.iss == self.issuer, Refusal.ISSUER_MISMATCH)
        self._check_audience(claims)
        self._check_times(claims, now)
        _require(claims.type == "access", Refusal.TYPE_MISMATCH)
        return claims, parts.kid

    def _signed(self, parts: Parts, keys: Mapping[str, Key]) -> Claims:
        key = keys.get(parts.kid)
        if key is None or not key.is_for(parts.typ):
            raise Refused(Refusal.KEY_UNKNOWN)
        _require(parts.algorithm == key.algorithm, Refusal.ALGORITHM_MISMATCH)
        _require(key.verify(parts.signed, parts.signature), Refusal.SIGNATURE_INVALID)
        try:
            claims = parse_claims(parts.payload)
        except ValueError:
            raise Refused(Refusal.CLAIMS_INVALID) from None
        expected = "refresh" if parts.typ == "rt+jwt" else "access"
        _require(claims.type == expected, Refusal.TYPE_MISMATCH)
        return claims

    def _check_audience(self, claims: Claims) -> None:
        if claims.type == "access":
            ours = any(audience in self.audiences for audience in claims.aud)
        else:
            ours = all(audience == self.issuer for audience in claims.aud)
        _require(ours, Refusal.AUDIENCE_MISMATCH)

    def _check_times(self, claims: Claims, now: int) -> None:
        # A token must not be accepted on or after `exp`, whatever the leeway is.
        _require(now < claims.exp, Refusal.EXPIRED)
        latest = now + self.leeway
        _require(claims.nbf <= latest and claims.iat <= latest, Refusal.NOT_YET_VALID)
        longest = MAX_ACCESS_LIFETIME if claims.type == "access" else MAX_REFRESH_LIFETIME
        _require(claims.exp - claims.iat <= longest, Refusal.LIFETIME_TOO_LONG)
