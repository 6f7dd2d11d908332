"""A strict parser for JSON objects: a member that appears twice is an error, at every depth.

All readers of a token must see the same claims. If a member appears twice, some parsers keep the first value and
others keep the last.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any, cast

# Serde, which Tessera uses, stops at this depth.
MAX_DEPTH = 127

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _integer(text: str) -> int | float:
    value = int(text)
    if text.startswith("-0") or not -(2**63) <= value < 2**64:
        return _number(text)
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


def _check(value: object, depth: int) -> None:
    """Refuses halves of surrogate pairs in texts, and values that are nested too deeply."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise ValueError("the value is nested too deeply")
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            for name, member in members.items():
                name.encode()
                _check(member, depth + 1)
        else:
            for element in cast("list[object]", value):
                _check(element, depth + 1)


def parse_object(data: bytes) -> dict[str, Any]:
    """Parses an object. Raises `ValueError` if the bytes are something else."""
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        _check(value, 1)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return cast("dict[str, Any]", value)


def base64url(text: str) -> bytes:
    """Decodes canonical base64url without padding. Raises `ValueError` for each other spelling."""
    if not _BASE64URL.match(text) or len(text) % 4 == 1:
        raise ValueError("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
    # The unused bits of the last character must be zero, so that each token has one spelling.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("not canonical base64url")
    return data
