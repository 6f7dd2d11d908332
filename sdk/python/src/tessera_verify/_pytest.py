"""The fixture of pytest. An entry point of the package names this module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import FakeIssuer


@pytest.fixture
def tessera_issuer() -> Iterator[FakeIssuer]:
    """An issuer for tests: see `tessera_verify.testing.FakeIssuer`."""
    from .testing import FakeIssuer

    issuer = FakeIssuer()
    yield issuer
    issuer.close()
