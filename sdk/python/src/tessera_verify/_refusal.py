"""The reasons why a token is refused, and the answers of a guard."""

from __future__ import annotations

from enum import Enum


class Refusal(str, Enum):
    """The reason why a token is refused. The value is stable: the server and the crate `tessera-verify` use it too."""

    sentence: str

    def __new__(cls, reason: str, sentence: str) -> Refusal:
        member = str.__new__(cls, reason)
        member._value_ = reason
        member.sentence = sentence
        return member

    TOO_LONG = ("token_too_long", "the token is longer than 8192 bytes")
    MALFORMED = (
        "token_malformed",
        "the token is not a JWT, which has three parts in canonical base64url, separated by dots",
    )
    HEADER_INVALID = ("header_invalid", "the header is not a JSON object with typ, alg and kid")
    HEADER_UNSUPPORTED = ("header_unsupported", "the header has a member that is not supported")
    KEY_UNKNOWN = ("key_unknown", "the token names a key that is not in use")
    ALGORITHM_MISMATCH = ("algorithm_mismatch", "the algorithm in the header is not that of the key")
    SIGNATURE_INVALID = ("signature_invalid", "the signature does not match")
    CLAIMS_INVALID = ("claims_invalid", "a claim is missing, appears twice or has the wrong type")
    ISSUER_MISMATCH = ("issuer_mismatch", "the token is from another issuer")
    AUDIENCE_MISMATCH = ("audience_mismatch", "the token is for another audience")
    EXPIRED = ("token_expired", "the token has expired")
    NOT_YET_VALID = ("token_not_yet_valid", "the token is not valid yet")
    LIFETIME_TOO_LONG = ("lifetime_too_long", "the lifetime of the token is longer than allowed")
    TYPE_MISMATCH = ("type_mismatch", "this kind of token is not accepted here")
    REVOKED = ("token_revoked", "the token was revoked")

    @property
    def reason(self) -> str:
        """The stable name of the reason, in snake case."""
        return str(self.value)

    def __str__(self) -> str:
        return self.sentence


class Denied(Exception):
    """A guard refuses the request. Answer with `status`, `headers` and `{"detail": detail}`."""

    status: int = 401
    detail: str = "Unauthorized"

    @property
    def challenge(self) -> str | None:
        """The value of `WWW-Authenticate`, if another token could be accepted."""
        return "Bearer"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, except the type of its content."""
        challenge = self.challenge
        return {} if challenge is None else {"WWW-Authenticate": challenge}

    @property
    def reason(self) -> str:
        """The name under which metrics count this answer."""
        return "no_token"


class NoToken(Denied):
    """The request has no token."""

    def __str__(self) -> str:
        return "the request has no token"


class Refused(Denied):
    """The token is refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal

    @property
    def challenge(self) -> str | None:
        return (
            f'Bearer error="invalid_token", error_description="{self.refusal.sentence}", '
            f'reason="{self.refusal.reason}"'
        )

    @property
    def reason(self) -> str:
        return self.refusal.reason

    def __str__(self) -> str:
        return self.refusal.sentence


class NotFresh(Denied):
    """The token was not issued for a password, or the password was given too long ago."""

    detail = "FRESH_TOKEN_REQUIRED"

    def __init__(self, max_age: int) -> None:
        super().__init__(max_age)
        self.max_age = max_age

    @property
    def challenge(self) -> str | None:
        return (
            f'Bearer error="insufficient_user_authentication", error_description="{self}", max_age="{self.max_age}"'
        )

    @property
    def reason(self) -> str:
        return "not_fresh"

    def __str__(self) -> str:
        return "the password was given too long ago"


class MissingScope(Denied):
    """The token does not have the scope."""

    status = 403
    detail = "INSUFFICIENT_SCOPE"

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope

    @property
    def challenge(self) -> str | None:
        return f'Bearer error="insufficient_scope", scope="{self.scope}"'

    @property
    def reason(self) -> str:
        return "scope"

    def __str__(self) -> str:
        return f"the token does not have the scope {self.scope}"


class Unavailable(Denied):
    """The service cannot tell now whether the token was revoked."""

    status = 503
    detail = "SERVICE_UNAVAILABLE"

    @property
    def challenge(self) -> str | None:
        return None

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}

    @property
    def reason(self) -> str:
        return "unavailable"

    def __str__(self) -> str:
        return "the service cannot tell now whether the token was revoked"


class RefreshAtTessera(Denied):
    """A guard for refresh tokens was called. Only Tessera knows whether a refresh token was already used."""

    detail = "REFRESH_AT_TESSERA"

    def __init__(self, issuer: str) -> None:
        super().__init__(issuer)
        self.issuer = issuer

    @property
    def reason(self) -> str:
        return "refresh"

    def __str__(self) -> str:
        return f"send refresh tokens to {self.issuer}/auth/jwt/refresh: only Tessera can tell whether they were used"
