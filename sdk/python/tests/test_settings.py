"""The environment of a service. Errors name the variable, and never its value."""

from __future__ import annotations

import json
import pprint
from pathlib import Path
from typing import Any

import pytest

from tessera_verify import SettingsError, State, Tessera

GOOD = {"TESSERA_ISSUER": "https://id.example.com", "TESSERA_AUDIENCE": "tessera", "TESSERA_FEED_TOKEN": "tsr_abc"}


def test_the_environment_has_all_settings(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of at least thirty-two bytes\n")
    settings = Tessera.from_env(
        {**GOOD, "TESSERA_ISSUER": "HTTPS://ID.example.com:443/", "TESSERA_AUDIENCE": "a, b", "TESSERA_SECRET_FILE": str(secret)},
        when_stale="open",
    ).settings  # fmt: skip
    assert settings.issuer == "https://id.example.com"
    assert settings.audiences == ("a", "b")
    assert settings.secret == b"a secret of at least thirty-two bytes"
    assert settings.when_stale == "open"
    assert "thirty-two" not in repr(settings) and "tsr_" not in repr(settings)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"TESSERA_ISSUER": ""}, "TESSERA_ISSUER"),
        ({"TESSERA_ISSUER": "id.example.com"}, "TESSERA_ISSUER"),
        ({"TESSERA_ISSUER": "https://user:topsecret@id.example.com"}, "TESSERA_ISSUER"),
        ({"TESSERA_ISSUER": "https://id.example.com:topsecret"}, "TESSERA_ISSUER"),
        ({"TESSERA_FEED_TOKEN": ""}, "TESSERA_FEED_TOKEN"),
        ({"TESSERA_FEED_TOKEN": "tsr_topsecret\nX: y"}, "TESSERA_FEED_TOKEN"),
        ({"TESSERA_ISSUER": "http://id.example.com"}, "TESSERA_ISSUER"),
        ({"TESSERA_ISSUER": "ftp://localhost"}, "TESSERA_ISSUER"),
        ({"TESSERA_FEED_TOKEN": "", "TESSERA_FEED_TOKEN_FILE": "/nonexistent/topsecret"}, "TESSERA_FEED_TOKEN_FILE"),
        ({"TESSERA_FEED": "topsecret"}, "TESSERA_FEED"),
        ({"TESSERA_SECRET": "topsecret"}, "TESSERA_SECRET"),
        ({"TESSERA_AUDIENCE": ""}, "TESSERA_AUDIENCE"),
        ({"TESSERA_AUDIENCE": " , "}, "TESSERA_AUDIENCE"),
    ],
)
def test_an_error_names_the_variable_and_not_its_value(changed: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as error:
        Tessera.from_env({**GOOD, **changed})
    assert named in str(error.value)
    assert "topsecret" not in str(error.value)


def test_on_the_same_machine_a_feed_is_optional_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    tessera = Tessera.from_env({"TESSERA_ISSUER": "http://localhost:8000", "TESSERA_AUDIENCE": "tessera"})
    assert tessera.state is State.OFF
    assert "TESSERA_FEED_TOKEN is missing" in caplog.text


def test_the_feed_can_be_off() -> None:
    off = {**GOOD, "TESSERA_FEED": "off"}
    assert Tessera.from_env(off).state is State.OFF
    with pytest.raises(TypeError):
        Tessera.from_env(off, issuer="https://elsewhere.example")


VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "settings.json").read_text())


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: json.dumps(case["environment"]))
def test_the_settings_that_follow_in_every_language(case: dict[str, Any]) -> None:
    try:
        settings = Tessera.from_env(case["environment"]).settings
    except SettingsError as error:
        assert case["outcome"].get("fault", "no fault") in str(error)
        assert "topsecret" not in str(error)
        return
    assert case["outcome"] == {
        "issuer": settings.issuer,
        "audiences": list(settings.audiences),
        "feed": settings.mode if settings.feed else "off",
        "has_secret": settings.secret is not None,
    }


def test_no_text_of_a_verifier_has_a_secret() -> None:
    secret = "a secret of at least thirty-two bytes"
    tessera = Tessera.from_env({**GOOD, "TESSERA_SECRET": secret})
    tessera._own_client()
    held = [tessera, *vars(tessera).values()]
    texts = [repr(held), str(held), repr(vars(tessera)), pprint.pformat(vars(tessera)), repr(tessera._keys._fixed)]
    for text in texts:
        assert "thirty-two" not in text and "tsr_abc" not in text
