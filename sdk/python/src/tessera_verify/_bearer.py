"""The token in the header `Authorization`."""

from __future__ import annotations

from collections.abc import Sequence

from ._refusal import Refusal, Refused


def bearer(values: Sequence[str]) -> str | None:
    """The token in the headers `Authorization` (RFC 6750, section 2.1), or `None` if there is no such header. A header
    without a token is refused, and so are two headers.
    """
    if not values:
        return None
    scheme, space, token = values[0].partition(" ")
    token = token.strip(" \t")
    is_text = values[0].isascii() and values[0].replace("\t", "").isprintable()
    if len(values) > 1 or not is_text or not space or scheme.lower() != "bearer" or not token:
        raise Refused(Refusal.MALFORMED)
    return token
