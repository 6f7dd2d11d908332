"""The guards of FastAPI, Starlette and Flask answer as the server does."""

from typing import Annotated, Any

import flask
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import tessera_verify.fastapi as fast
import tessera_verify.flask as flasks
from tessera_verify.testing import FakeIssuer


def fastapi_app(issuer: FakeIssuer) -> Any:
    tessera = issuer.tessera(fast.Tessera)
    app = FastAPI(lifespan=tessera.lifespan)

    @app.get("/required")
    def required(jwt: Annotated[fast.Claims, Depends(tessera.jwt_required)]) -> Any:
        return {"user": jwt.sub}

    @app.get("/optional")
    def optional(jwt: Annotated[fast.Claims | None, Depends(tessera.jwt_optional)]) -> Any:
        return {"user": jwt and jwt.sub}

    @app.get("/fresh")
    async def fresh(jwt: Annotated[fast.Claims, Depends(tessera.fresh_jwt_required)]) -> Any:
        return {"user": jwt.sub}

    @app.get("/scope", dependencies=[Depends(tessera.scope("reports"))])
    async def scope() -> Any:
        return {}

    @app.websocket("/socket")
    async def socket(socket: WebSocket, jwt: Annotated[fast.Claims, Depends(tessera.jwt_required)]) -> None:
        await socket.accept()
        await socket.send_text(jwt.sub)
        await socket.close()

    return app


def auth_jwt_app(issuer: FakeIssuer) -> Any:
    app = FastAPI(lifespan=issuer.tessera(fast.Tessera).lifespan)

    @app.get("/required")
    def required(Authorize: fast.AuthJWT = Depends()) -> Any:
        Authorize.jwt_required()
        assert Authorize.get_jti() == Authorize.get_raw_jwt()["jti"]
        assert Authorize.get_unverified_jwt_headers()["typ"] == "jwt"
        return {"user": Authorize.get_jwt_subject()}

    @app.get("/optional")
    def optional(Authorize: fast.AuthJWT = Depends()) -> Any:
        Authorize.jwt_optional()
        return {"user": Authorize.get_jwt_subject()}

    @app.get("/fresh")
    def fresh(Authorize: fast.AuthJWT = Depends()) -> Any:
        Authorize.fresh_jwt_required()
        return {"user": Authorize.get_jwt_subject()}

    @app.get("/refresh")
    def refresh(Authorize: fast.AuthJWT = Depends()) -> Any:
        Authorize.jwt_refresh_token_required()

    return app


def starlette_app(issuer: FakeIssuer) -> Any:
    tessera = issuer.tessera(fast.Tessera)

    async def required(request: Any) -> Any:
        return JSONResponse({"user": (await tessera.jwt_required(request)).sub})

    async def optional(request: Any) -> Any:
        jwt = await tessera.jwt_optional(request)
        return JSONResponse({"user": jwt and jwt.sub})

    async def fresh(request: Any) -> Any:
        return JSONResponse({"user": (await tessera.fresh_jwt_required(request)).sub})

    async def scope(request: Any) -> Any:
        await tessera.scope("reports")(request)
        return JSONResponse({})

    routes = [Route(f"/{view.__name__}", view) for view in (required, optional, fresh, scope)]
    return Starlette(routes=routes, lifespan=tessera.lifespan, exception_handlers=tessera.exception_handlers)


class FlaskClient:
    """The client of Flask, with the names of the other."""

    def __init__(self, app: flask.Flask) -> None:
        self._client = app.test_client()

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        answer = self._client.get(path, headers=headers)
        answer.json_ = answer.get_json()
        return answer


def flask_app(issuer: FakeIssuer) -> flask.Flask:
    tessera = issuer.tessera(flasks.Tessera)
    app = flask.Flask("service")

    @app.get("/required")
    @tessera.jwt_required
    def required() -> Any:
        return {"user": tessera.jwt.sub}

    @app.get("/optional")
    @tessera.jwt_optional
    def optional() -> Any:
        return {"user": tessera.jwt_or_none and tessera.jwt.sub}

    @app.get("/fresh")
    @tessera.fresh_jwt_required
    def fresh() -> Any:
        return {"user": tessera.jwt.sub}

    @app.get("/scope")
    @tessera.scope("reports")
    def scope() -> Any:
        return {}

    return app


@pytest.fixture(params=["fastapi", "AuthJWT", "starlette", "flask"])
def client(request: pytest.FixtureRequest, tessera_issuer: FakeIssuer) -> Any:
    if request.param == "flask":
        yield FlaskClient(flask_app(tessera_issuer))
        return
    make = {"fastapi": fastapi_app, "AuthJWT": auth_jwt_app, "starlette": starlette_app}[request.param]
    with TestClient(make(tessera_issuer)) as client:
        yield client


def ask(client: Any, path: str, token: str | None) -> tuple[int, Any, str | None]:
    answer = client.get(path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    body = answer.json_ if isinstance(client, FlaskClient) else answer.json()
    assert answer.headers.get("Retry-After") == ("1" if answer.status_code == 503 else None)
    return answer.status_code, body, answer.headers.get("WWW-Authenticate")


UNAUTHORIZED = {"detail": "Unauthorized"}


def test_the_answers_are_those_of_the_server(client: Any, tessera_issuer: FakeIssuer) -> None:
    token = tessera_issuer.token("somebody")
    user = {"user": "somebody"}
    assert ask(client, "/required", token) == (200, user, None)
    assert ask(client, "/optional", token) == (200, user, None)
    assert ask(client, "/optional", None) == (200, {"user": None}, None)
    assert ask(client, "/required", None) == (401, UNAUTHORIZED, "Bearer")
    status, body, challenge = ask(client, "/fresh", tessera_issuer.token(fresh=False))
    assert (status, body) == (401, {"detail": "FRESH_TOKEN_REQUIRED"})
    assert challenge is not None and 'error="insufficient_user_authentication"' in challenge
    assert 'max_age="900"' in challenge
    assert ask(client, "/fresh", tessera_issuer.token("somebody"))[:2] == (200, user)
    tessera_issuer.revoke(token)
    for path in ("/required", "/optional"):
        status, body, challenge = ask(client, path, token)
        assert (status, body) == (401, UNAUTHORIZED)
        assert challenge is not None and challenge.endswith('reason="token_revoked"')
        for wrong in ("x", tessera_issuer.token(expires_in=-1), FakeIssuer().token()):
            assert ask(client, path, wrong)[:2] == (401, UNAUTHORIZED)
    tessera_issuer.make_stale()
    assert ask(client, "/required", tessera_issuer.token()) == (503, {"detail": "SERVICE_UNAVAILABLE"}, None)
    assert ask(client, "/required", token)[0] == 401
    tessera_issuer.make_fresh()
    old = tessera_issuer.token("somebody")
    assert ask(client, "/required", old) == (200, user, None)
    tessera_issuer.rotate()
    assert ask(client, "/required", old)[0] == 401
    assert ask(client, "/required", tessera_issuer.token("somebody")) == (200, user, None)


def test_a_scope_is_required(client: Any, tessera_issuer: FakeIssuer) -> None:
    if ask(client, "/scope", None)[0] == 404:
        return  # fastapi-jwt-auth knows no scopes.
    expected = (403, {"detail": "INSUFFICIENT_SCOPE"}, 'Bearer error="insufficient_scope", scope="reports"')
    assert ask(client, "/scope", tessera_issuer.token(scope="reports2 xreports")) == expected
    assert ask(client, "/scope", tessera_issuer.token(scope="a reports"))[0] == 200


@pytest.mark.parametrize("header", ["Basic eA==", "Bearer", "Bearer ", "bearer"])
def test_a_header_without_a_token_is_refused_even_if_none_is_required(client: Any, header: str) -> None:
    assert client.get("/optional", headers={"Authorization": header}).status_code == 401


def test_the_refresh_guard_says_where_to_refresh(tessera_issuer: FakeIssuer) -> None:
    with TestClient(auth_jwt_app(tessera_issuer)) as client:
        assert ask(client, "/refresh", tessera_issuer.token())[:2] == (401, {"detail": "REFRESH_AT_TESSERA"})


def test_a_web_socket_has_the_same_guards_and_the_documents_have_them(tessera_issuer: FakeIssuer) -> None:
    token = tessera_issuer.token("somebody")
    with TestClient(fastapi_app(tessera_issuer)) as client:
        with client.websocket_connect("/socket", headers={"Authorization": f"Bearer {token}"}) as socket:
            assert socket.receive_text() == "somebody"
        schema = client.get("/openapi.json").json()
        assert schema["paths"]["/required"]["get"]["security"] == [{"Tessera": []}]
        assert "parameters" not in schema["paths"]["/required"]["get"]


def test_an_async_view_of_flask_has_the_same_guards(tessera_issuer: FakeIssuer) -> None:
    pytest.importorskip("asgiref")
    tessera = tessera_issuer.tessera(flasks.Tessera)
    app = flask.Flask("service")

    @app.get("/")
    @tessera.jwt_required
    async def view() -> Any:
        return {"user": tessera.jwt.sub}

    headers = {"Authorization": f"Bearer {tessera_issuer.token('somebody')}"}
    assert app.test_client().get("/", headers=headers).get_json() == {"user": "somebody"}
