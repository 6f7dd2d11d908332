"""A Flask service that accepts Tessera's tokens. Start it with `examples/run flask`."""

from flask import Flask, Response
from tessera_verify.flask import Tessera

tessera = Tessera.from_env()
app = Flask(__name__)


@app.get("/protected")
@tessera.jwt_required
def protected() -> dict[str, str]:
    return {"user": tessera.jwt.sub}


@app.get("/partially-protected")
@tessera.jwt_optional
def partially_protected() -> dict[str, str | None]:
    return {"user": tessera.jwt_or_none.sub if tessera.jwt_or_none else None}


@app.get("/protected-fresh")
@tessera.fresh_jwt_required
def protected_fresh() -> dict[str, str]:
    return {"user": tessera.jwt.sub}


@app.get("/reports")
@tessera.scope("reports")
def reports() -> dict[str, str]:
    return {"user": tessera.jwt.sub}


@app.get("/metrics")
def metrics() -> Response:
    return Response(tessera.metrics(), mimetype="text/plain")
