"""Guards for FastAPI and Starlette.

    tessera = Tessera.from_env()
    app = FastAPI(lifespan=tessera.lifespan)

    @app.get("/reports")
    def reports(jwt: Annotated[Claims, Depends(tessera.jwt_required)]):
        return {"user": jwt.sub}
"""

# FastAPI reads the annotations of the guards, so they are no texts here.
import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Optional

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from . import _tessera
from ._bearer import bearer
from ._claims import Claims
from ._refusal import Denied, RefreshAtTessera
from ._verifier import split

__all__ = ["AuthJWT", "Claims", "Refused", "Tessera"]


class Refused(HTTPException):
    """The answer to a request that a guard refuses. FastAPI answers with it by itself."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.status, denied.detail, denied.headers)
        self.denied = denied


def _documented() -> Any:
    """A dependency that checks nothing: FastAPI documents the guards with it. Starlette needs none."""
    try:
        from fastapi import Security
        from fastapi.security import HTTPBearer
    except ImportError:
        return None

    class Documented(HTTPBearer):
        async def __call__(self, connection: HTTPConnection) -> None: 
            return None

    return Security(Documented(bearerFormat="JWT", scheme_name="Tessera", auto_error=False))


_DOCUMENTED = _documented()


async def _verified(connection: HTTPConnection) -> "Claims | Denied":
    """The outcome for the token of a request. The methods of `AuthJWT` cannot wait for the issuer in an event loop."""
    try:
        return await _tessera_of(connection).verify_async(_token(connection))
    except Denied as denied:
        return denied


def _tessera_of(connection: HTTPConnection) -> _tessera.Tessera:
    tessera = getattr(connection.app.state, "tessera", None)
    if not isinstance(tessera, _tessera.Tessera):
        raise RuntimeError("AuthJWT needs FastAPI(lifespan=tessera.lifespan)")
    return tessera


def _outcome() -> Any:
    try:
        from fastapi import Depends
    except ImportError:
        return None
    return Depends(_verified)


_OUTCOME = _outcome()


def _token(connection: HTTPConnection) -> Optional[str]:
    return bearer(connection.headers.getlist("authorization"))


async def _answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


class Tessera(_tessera.Tessera):
    """A verifier whose guards are dependencies of FastAPI. In Starlette, await them: `await
    tessera.jwt_required(request)`, and give `exception_handlers=tessera.exception_handlers` to the application.
    """

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncGenerator[None, None]:
        """Follows the feed while the application runs. Within a lifespan of your own: `async with
        tessera.lifespan(app): …`.
        """
        app.state.tessera = self
        await asyncio.get_running_loop().run_in_executor(None, self.start)
        try:
            yield
        finally:
            await asyncio.get_running_loop().run_in_executor(None, self.stop)

    @property
    def exception_handlers(self) -> Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]:
        """What Starlette needs to answer refusals as Tessera does. FastAPI needs nothing."""
        return {Refused: _answer}

    async def jwt_required(self, connection: HTTPConnection, _documented: Any = _DOCUMENTED) -> Claims:
        """Requires a valid access token."""
        try:
            return await self.verify_async(_token(connection))
        except Denied as denied:
            raise Refused(denied) from denied

    async def jwt_optional(self, connection: HTTPConnection, _documented: Any = _DOCUMENTED) -> Optional[Claims]:
        """Accepts a valid access token, or no token."""
        if not connection.headers.getlist("authorization"):
            return None
        return await self.jwt_required(connection)

    async def fresh_jwt_required(self, connection: HTTPConnection, _documented: Any = _DOCUMENTED) -> Claims:
        """Requires a valid access token whose user gave a password a short time ago."""
        claims = await self.jwt_required(connection)
        try:
            return self.require_fresh(claims)
        except Denied as denied:
            raise Refused(denied) from denied

    def scope(self, scope: str) -> Callable[..., Awaitable[Claims]]:
        """Requires a valid access token with a scope: `Depends(tessera.scope("reports"))`."""

        async def with_scope(connection: HTTPConnection, _documented: Any = _DOCUMENTED) -> Claims:
            claims = await self.jwt_required(connection)
            try:
                return self.require_scope(claims, scope)
            except Denied as denied:
                raise Refused(denied) from denied

        return with_scope


class AuthJWT:
    """The method names of fastapi-jwt-auth: `Authorize: AuthJWT = Depends()`. The application needs
    `lifespan=tessera.lifespan`.
    """

    def __init__(
        self, connection: HTTPConnection, _outcome: Any = _OUTCOME, _documented: Any = _DOCUMENTED
    ) -> None:
        self._tessera = _tessera_of(connection)
        self._connection = connection
        self._outcome: Any = _outcome
        self._claims: Optional[Claims] = None

    def jwt_required(self) -> None:
        """Requires a valid access token."""
        if isinstance(self._outcome, Denied):
            raise Refused(self._outcome) from self._outcome
        self._claims = self._outcome

    def jwt_optional(self) -> None:
        """Accepts a valid access token, or no token."""
        if self._connection.headers.getlist("authorization"):
            self.jwt_required()

    def fresh_jwt_required(self) -> None:
        """Requires a valid access token whose user gave a password a short time ago."""
        self.jwt_required()
        assert self._claims is not None
        try:
            self._tessera.require_fresh(self._claims)
        except Denied as denied:
            raise Refused(denied) from denied

    def jwt_refresh_token_required(self) -> None:
        """Refuses every request: only Tessera knows whether a refresh token was already used."""
        raise Refused(RefreshAtTessera(self._tessera.settings.issuer))

    def _of(self, encoded_token: Optional[str]) -> Optional[Claims]:
        if encoded_token is None:
            return self._claims
        try:
            return self._tessera.verify(encoded_token, wait=False)
        except Denied as denied:
            raise Refused(denied) from denied

    def get_raw_jwt(self, encoded_token: Optional[str] = None) -> Optional[dict[str, Any]]:
        """The claims of the token, as it contains them."""
        claims = self._of(encoded_token)
        return None if claims is None else dict(claims.raw)

    def get_jti(self, encoded_token: Optional[str] = None) -> Optional[str]:
        """The id of the token."""
        claims = self._of(encoded_token)
        return None if claims is None else str(claims.jti)

    def get_jwt_subject(self) -> Optional[str]:
        """The id of the user."""
        return None if self._claims is None else self._claims.sub

    def get_unverified_jwt_headers(self, encoded_token: Optional[str] = None) -> dict[str, str]:
        """The members of the header that are used. Nothing proves them."""
        try:
            parts = split(encoded_token or _token(self._connection) or "")
        except Denied as denied:
            raise Refused(denied) from denied
        return {"typ": parts.typ, "alg": parts.algorithm, "kid": parts.kid}
