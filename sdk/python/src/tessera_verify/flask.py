"""Guards for Flask.

    tessera = Tessera.from_env()

    @app.get("/reports")
    @tessera.jwt_required
    def reports():
        return {"user": tessera.jwt.sub}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import current_app, g, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from . import _tessera
from ._bearer import bearer
from ._claims import Claims
from ._refusal import Denied

__all__ = ["Claims", "Refused", "Tessera"]

P = ParamSpec("P")
R = TypeVar("R")


class Refused(HTTPException):
    """The answer to a request that a guard refuses. Flask answers with it by itself."""

    def __init__(self, denied: Denied) -> None:
        self.code = denied.status
        self.denied = denied
        response = make_response(jsonify(detail=denied.detail), denied.status, denied.headers)
        super().__init__(str(denied), response)


class Tessera(_tessera.Tessera):
    """A verifier whose guards are decorators of views."""

    @property
    def jwt(self) -> Claims:
        """The claims of the request's token, in a view with a guard that requires one."""
        claims = self.jwt_or_none
        if claims is None:
            raise RuntimeError("the request has no verified token: the view needs a guard that requires one")
        return claims

    @property
    def jwt_or_none(self) -> Claims | None:
        """The claims of the request's token, or `None`."""
        claims: Claims | None = g.get("tessera_jwt")
        return claims

    def _guarded(self, view: Callable[P, R], check: Callable[[str | None], Claims | None]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                g.tessera_jwt = check(bearer(request.headers.getlist("Authorization")))
            except Denied as denied:
                raise Refused(denied) from denied
            run: Any = current_app.ensure_sync(view)
            result: R = run(*args, **kwargs)
            return result

        return guarded

    def jwt_required(self, view: Callable[P, R]) -> Callable[P, R]:
        """Requires a valid access token."""
        return self._guarded(view, self.verify)

    def jwt_optional(self, view: Callable[P, R]) -> Callable[P, R]:
        """Accepts a valid access token, or no token."""
        return self._guarded(view, lambda token: None if token is None else self.verify(token))

    def fresh_jwt_required(self, view: Callable[P, R]) -> Callable[P, R]:
        """Requires a valid access token whose user gave a password a short time ago."""
        return self._guarded(view, lambda token: self.require_fresh(self.verify(token)))

    def scope(self, scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Requires a valid access token with a scope: `@tessera.scope("reports")`."""
        return lambda view: self._guarded(view, lambda token: self.require_scope(self.verify(token), scope))
