"""A FastAPI service that accepts Tessera's tokens. Start it with `examples/run fastapi`."""

from typing import Annotated

from fastapi import Depends, FastAPI, Response
from tessera_verify.fastapi import AuthJWT, Claims, Tessera

tessera = Tessera.from_env()
app = FastAPI(lifespan=tessera.lifespan)


@app.get("/protected")
def protected(jwt: Annotated[Claims, Depends(tessera.jwt_required)]) -> dict[str, str]:
    return {"user": jwt.sub}


@app.get("/partially-protected")
def partially_protected(jwt: Annotated[Claims | None, Depends(tessera.jwt_optional)]) -> dict[str, str | None]:
    return {"user": jwt.sub if jwt else None}


@app.get("/protected-fresh")
def protected_fresh(jwt: Annotated[Claims, Depends(tessera.fresh_jwt_required)]) -> dict[str, str]:
    return {"user": jwt.sub}


@app.get("/reports")
def reports(jwt: Annotated[Claims, Depends(tessera.scope("reports"))]) -> dict[str, str]:
    return {"user": jwt.sub}


@app.get("/get-jti")
def get_jti(Authorize: Annotated[AuthJWT, Depends()]) -> dict[str, str | None]:
    Authorize.jwt_required()
    return {"access_jti": Authorize.get_jti()}


@app.get("/metrics")
def metrics() -> Response:
    return Response(tessera.metrics(), media_type="text/plain")
