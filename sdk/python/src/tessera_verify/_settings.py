"""The settings of a service, from its environment. Errors name the variable, and never its value."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

MIN_SECRET = 32


class SettingsError(Exception):
    """A setting is missing or wrong. The text names the variable."""


def is_loopback(issuer: str) -> bool:
    """True if the issuer is on this machine."""
    host = urlsplit(issuer).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def normalize_issuer(issuer: str) -> str:
    """The issuer as tokens write it: scheme and host in lower case, no default port, no slash at the end."""
    try:
        url = urlsplit(issuer.strip())
        host, port = url.hostname, url.port
    except ValueError:
        host, port, url = None, None, urlsplit("")
    if url.scheme not in ("http", "https") or not host or url.query or url.fragment or url.username is not None:
        raise SettingsError(
            "TESSERA_ISSUER must be the URL of Tessera (its PUBLIC_URL), such as https://id.example.com"
        )
    host = f"[{host}]" if ":" in host else host
    if url.scheme == "http" and not is_loopback(f"http://{host}"):
        raise SettingsError(
            "TESSERA_ISSUER begins with http, so anybody on the network path could hide revocations and send false keys: "
            "set it to a URL with https"
        )
    is_default = port in (None, 443 if url.scheme == "https" else 80)
    return f"{url.scheme}://{host}{'' if is_default else f':{port}'}{url.path.rstrip('/')}"


@dataclass(frozen=True)
class Settings:
    """The settings of a service."""

    issuer: str
    audiences: tuple[str, ...]
    secret: bytes | None = None
    feed_token: str | None = None
    feed: bool = True
    max_age: float = 5.0
    when_stale: Literal["closed", "open"] = "closed"
    open_for: float = 900.0
    fresh_for: int = 900
    leeway: int = 2
    mode: Literal["stream", "pull"] = "stream"

    def __repr__(self) -> str:
        return f"Settings(issuer={self.issuer!r}, audiences={self.audiences!r}, feed={self.feed!r}, mode={self.mode!r})"


def _file(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{name} names a file that cannot be read ({type(error).__name__})") from None


def _value(environment: Mapping[str, str], name: str) -> str | None:
    """A variable, or the content of the file that the variable with `_FILE` names, which takes precedence."""
    file = environment.get(f"{name}_FILE", "")
    text = _file(f"{name}_FILE", file) if file.strip() else environment.get(name, "")
    return text if text.strip() else None


def _audiences(text: str | None) -> tuple[str, ...]:
    audiences = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if not audiences:
        raise SettingsError(
            "TESSERA_AUDIENCE is missing: set it to the audience of the tokens, which is JWT_AUDIENCE of Tessera"
        )
    return audiences


def check_secret(secret: str) -> bytes:
    """The bytes of a secret."""
    data = secret.encode()
    if len(data) < MIN_SECRET:
        raise SettingsError(
            f"TESSERA_SECRET has fewer than {MIN_SECRET} bytes: set it to the secret that `tessera keys derive` prints"
        )
    return data


def check_token(token: str) -> str:
    """The API token for the feed. It must be a text that fits into a header."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError("TESSERA_FEED_TOKEN must be an API token of Tessera, which begins with tsr_")
    return token


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings from the environment."""
    environment = os.environ if environment is None else environment
    issuer = _value(environment, "TESSERA_ISSUER")
    if issuer is None:
        raise SettingsError("TESSERA_ISSUER is missing: set it to the URL of Tessera, such as https://id.example.com")
    issuer = normalize_issuer(issuer)
    secret = _value(environment, "TESSERA_SECRET")
    feed_token = _value(environment, "TESSERA_FEED_TOKEN")
    feed = _value(environment, "TESSERA_FEED")
    if feed not in (None, "on", "pull", "off"):
        raise SettingsError("TESSERA_FEED must be on, pull or off")
    return Settings(
        issuer=issuer,
        audiences=_audiences(_value(environment, "TESSERA_AUDIENCE")),
        secret=None if secret is None else check_secret(secret),
        feed_token=None if feed_token is None or feed == "off" else check_token(feed_token),
        feed=feed != "off",
        mode="pull" if feed == "pull" else "stream",
    )


def audiences_of(audience: str | Sequence[str]) -> tuple[str, ...]:
    """One audience or several, as a tuple."""
    audiences = (audience,) if isinstance(audience, str) else tuple(audience)
    if not audiences or not all(audiences):
        raise SettingsError("at least one audience is required")
    return audiences
