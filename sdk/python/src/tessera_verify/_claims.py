"""The claims of a token (RFC 7519, section 4)."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any, cast

from ._json import parse_object

_UUID = re.compile(
    r"(?:[0-9a-f]{32}|{U}|\{{U}\}|urn:uuid:{U})\Z".replace(
        "{U}", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    ),
    re.IGNORECASE | re.ASCII,
)
_NAMES = frozenset(
    "iss sub aud iat nbf exp jti sid type fresh auth_time scope gen".split(),
)


@dataclass(frozen=True)
class Claims:
    """The claims of an access token. Times are in seconds since the epoch."""

    iss: str
    #: The id of the user, or the name of another party.
    sub: str
    #: The services that the token is for.
    aud: tuple[str, ...]
    iat: int
    nbf: int
    exp: int
    jti: uuid.UUID
    #: The session of the token, if it belongs to one.
    sid: uuid.UUID | None
    #: `access`, or `refresh` for a token that no guard accepts.
    type: str
    #: True if the token was issued for a password, and not for a refresh token.
    fresh: bool
    #: The time when the user last gave a password.
    auth_time: int
    #: The scopes of the token, separated by spaces.
    scope: str
    #: All other claims.
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    #: True if the token was accepted although the feed is stale (`when_stale="open"`).
    stale: bool = False
    #: The claims as the token contains them.
    raw: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of the token, one by one."""
        return tuple(self.scope.split(" ")) if self.scope else ()

    def has_scope(self, scope: str) -> bool:
        """True if the token has the scope."""
        return scope in self.scope.split(" ")

    def is_fresh(self, max_age: int, now: int) -> bool:
        """True if the user gave a password at most `max_age` seconds before `now`."""
        return self.type == "access" and self.fresh and max(now - self.auth_time, 0) <= max_age

    @property
    def issued_at_millis(self) -> int:
        """The time of issue in milliseconds, which orders the tokens of a user: that in a version 7 `jti`."""
        if self.jti.bytes[6] >> 4 == 7:
            return self.jti.int >> 80
        return self.iat * 1000


def _text(members: dict[str, Any], name: str) -> str:
    value = members[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    return value


def _time(members: dict[str, Any], name: str) -> int:
    value = members[name]
    if type(value) is not int or not 0 <= value < 2**64:
        raise ValueError(f"{name} is not a time")
    return value


def _id(members: dict[str, Any], name: str) -> uuid.UUID:
    return parse_uuid(_text(members, name))


def parse_uuid(text: str) -> uuid.UUID:
    """Parses the forms of a UUID that Tessera accepts."""
    if not _UUID.match(text):
        raise ValueError("not a UUID")
    return uuid.UUID(text.lower())


def subject(text: str) -> str:
    """The one spelling of a subject: a UUID in its usual form is the same in upper and lower case."""
    return text.lower() if len(text) == 36 and _UUID.match(text) else text


def _audiences(value: Any) -> tuple[str, ...]:
    audiences = [value] if isinstance(value, str) else value
    if not isinstance(audiences, list) or not audiences:
        raise ValueError("aud is neither a text nor a list")
    listed = cast("list[object]", audiences)
    texts = tuple(audience for audience in listed if isinstance(audience, str))
    if len(texts) != len(listed):
        raise ValueError("an audience is not a text")
    return texts


def _check_types(members: dict[str, Any]) -> None:
    """Checks the claims that a token of this kind need not have, but that have the wrong type if it has them."""
    for name, check in (("sid", _id), ("auth_time", _time), ("scope", _text), ("gen", _time)):
        if name in members:
            check(members, name)
    if type(members.get("fresh", False)) is not bool:
        raise ValueError("fresh is not a truth value")


def parse_claims(payload: bytes) -> Claims:
    """Parses the payload of a token whose signature was checked. Raises `ValueError` if it has another form."""
    members = parse_object(payload)
    _check_types(members)
    kind = _text(members, "type") if "type" in members else ""
    required = {"access": ("fresh", "auth_time", "scope"), "refresh": ("gen",)}.get(kind)
    if required is None or any(name not in members for name in required):
        raise ValueError("a claim of this kind of token is missing")
    try:
        sub = _text(members, "sub")
        if not sub:
            raise ValueError("sub is empty")
        return Claims(
            iss=_text(members, "iss"),
            sub=subject(sub),
            aud=_audiences(members["aud"]),
            iat=_time(members, "iat"),
            nbf=_time(members, "nbf"),
            exp=_time(members, "exp"),
            jti=_id(members, "jti"),
            sid=_id(members, "sid") if "sid" in members else None,
            type=kind,
            fresh=members.get("fresh", False),
            auth_time=members.get("auth_time", 0),
            scope=members.get("scope", ""),
            extra={name: value for name, value in members.items() if name not in _NAMES},
            raw=members,
        )
    except KeyError:
        raise ValueError("a claim is missing") from None
