"""Verifies access tokens of Tessera in a Python service, which learns of a logout within a second.

The modules `tessera_verify.fastapi` (also for Starlette) and `tessera_verify.flask` have guards for frameworks, and
`tessera_verify.testing` has an issuer for tests. In another framework, call `Tessera.verify`.
"""

from ._bearer import bearer
from ._claims import Claims
from ._feed import State
from ._refusal import Denied, MissingScope, NotFresh, NoToken, RefreshAtTessera, Refusal, Refused, Unavailable
from ._settings import SettingsError
from ._tessera import Tessera
from ._verifier import MAX_TOKEN_LENGTH

__all__ = [
    "MAX_TOKEN_LENGTH",
    "Claims",
    "Denied",
    "MissingScope",
    "NoToken",
    "NotFresh",
    "RefreshAtTessera",
    "Refusal",
    "Refused",
    "SettingsError",
    "State",
    "Tessera",
    "Unavailable",
    "bearer",
]
