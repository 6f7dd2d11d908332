"""The keys that verify tokens, each with one algorithm. PyJWT checks the signatures, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any, cast

from jwt.algorithms import get_default_algorithms

from ._json import base64url, parse_object

_ALGORITHMS = get_default_algorithms()
_OF_CURVES = {("EC", "P-256"): "ES256", ("EC", "P-384"): "ES384", ("OKP", "Ed25519"): "EdDSA"}
_OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)


class Key:
    """A key that verifies: a secret, or the public key of an issuer."""

    def __init__(self, kid: str, algorithm: str, key: Any, typs: tuple[str, ...]) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self._key = key
        self._typs = typs
        self._verifier = _ALGORITHMS[algorithm]

    @classmethod
    def hs256(cls, secret: bytes) -> Key:
        """The HMAC key of a secret. Its `kid` is a keyed digest of the secret."""
        digest = hmac.new(secret, b"tessera key id", hashlib.sha256).digest()
        kid = urlsafe_b64encode(digest).decode()[:16]
        return cls(kid, "HS256", secret, ("jwt",))

    @classmethod
    def refresh(cls, secret: bytes) -> Key:
        """The key of refresh tokens, which is derived from the secret (HKDF, RFC 5869). No guard accepts such a token,
        but it is refused for the right reason.
        """
        extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
        derived = hmac.new(extracted, b"tessera refresh tokens\x01", hashlib.sha256).digest()
        key = cls.hs256(derived)
        return cls(key.kid, "HS256", derived, ("rt+jwt",))

    def is_for(self, typ: str) -> bool:
        """True if tokens with this `typ` can have a signature of this key."""
        return typ in self._typs

    def verify(self, message: bytes, signature: bytes) -> bool:
        """True if this key made the signature."""
        try:
            return bool(self._verifier.verify(message, self._key, signature))
        except Exception:  # A library's error about a signature is a refusal, of whatever class it is.
            return False

    def __repr__(self) -> str:
        return f"Key({self.kid!r}, {self.algorithm!r})"


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    if name in members and not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    return value


def _algorithm(jwk: dict[str, Any]) -> str:
    kty, crv, named = _text(jwk, "kty"), _text(jwk, "crv"), _text(jwk, "alg")
    if kty == "RSA" and crv is None and named in _OF_RSA:
        return named
    forced = _OF_CURVES.get((kty or "", crv or ""))
    if forced is None or named not in (None, forced):
        raise ValueError("the algorithm is not known")
    return forced


def _check_numbers(jwk: dict[str, Any], algorithm: str) -> None:
    lengths = {"ES256": 32, "ES384": 48, "EdDSA": 32}
    names = {"ES256": "xy", "ES384": "xy", "EdDSA": "x"}.get(algorithm, "ne")
    numbers = {name: base64url(_text(jwk, name) or "=") for name in names}
    expected = lengths.get(algorithm)
    if expected is not None and any(len(number) != expected for number in numbers.values()):
        raise ValueError("a coordinate has the wrong length")
    if algorithm in _OF_RSA:
        modulus = int.from_bytes(numbers["n"], "big")
        if not 2048 <= modulus.bit_length() <= 8192:
            raise ValueError("the modulus is too short or too long")
        if _has_roca_fingerprint(modulus):
            raise ValueError("anybody can factor the modulus")


def _has_roca_fingerprint(modulus: int) -> bool:
    """True for the keys of the faulty generator of CVE-2017-15361, which anybody can factor."""
    return all(
        modulus % prime in {pow(65_537, power, prime) for power in range(prime)} for prime in _ROCA_PRIMES
    )


def parse_jwk(jwk: dict[str, Any]) -> Key:
    """Makes the key of a JWK. Raises `ValueError` if it is no public key for signatures."""
    ops: Any = jwk.get("key_ops", ["verify"])
    if _text(jwk, "use") not in (None, "sig") or not isinstance(ops, list) or "verify" not in ops:
        raise ValueError("the key is not for signatures")
    algorithm = _algorithm(jwk)
    _check_numbers(jwk, algorithm)
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"{algorithm} needs the package cryptography: install tessera-verify[crypto]")
    public: dict[str, Any] = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
    try:
        key = _ALGORITHMS[algorithm].from_jwk(public)
    except Exception as error:
        raise ValueError("the key cannot be used") from error
    return Key(_text(jwk, "kid") or "", algorithm, key, ("jwt", "at+jwt"))


def parse_jwks(data: bytes) -> dict[str, Key]:
    """Makes the keys of a published set, by their names. It skips keys that cannot be used. It raises `ValueError` if
    this is not a set, if two keys have one name, or if a secret was published.
    """
    listed = parse_object(data).get("keys")
    if not isinstance(listed, list):
        raise ValueError("not a JWK set")
    keys = [cast("dict[str, Any]", jwk) for jwk in cast("list[object]", listed) if isinstance(jwk, dict)]
    if len(keys) != len(cast("list[object]", listed)):
        raise ValueError("not a JWK set")
    names = [_text(jwk, "kid") for jwk in keys if "kid" in jwk]
    if len(set(names)) != len(names):
        raise ValueError("two keys have the same name")
    if any(not isinstance(jwk.get("kty"), str) or jwk["kty"] == "oct" for jwk in keys):
        raise ValueError("a published key is a secret or has no type")
    usable: dict[str, Key] = {}
    fault: ValueError | None = None
    for jwk in keys:
        try:
            key = parse_jwk(jwk)
            usable[key.kid] = key
        except ValueError as error:
            fault = error
    if not usable:
        raise fault or ValueError("the set is empty")
    return usable
