"""Verifies a token with third-party libraries, as their documentation says, with the secret, the issuer and the audience:
`python libraries.py TOKEN SECRET [LEEWAY]`. Prints the result of each as JSON: "accepted", or the reason of the refusal.
"""

import asyncio
import json
import sys
import uuid

import jwt
from authlib.jose import JsonWebToken
from fastapi_users.authentication import JWTStrategy
from fastapi_users.jwt import decode_jwt

token, secret = sys.argv[1:3]
leeway = int(sys.argv[3]) if len(sys.argv) > 3 else 0
issuer, audience = "http://localhost:8000", "tessera"
results = {}


def ask(name, verify):
    try:
        verify()
        results[name] = "accepted"
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}"


def authlib():
    options = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": audience}}
    JsonWebToken(["HS256"]).decode(token, secret, claims_options=options).validate(leeway=leeway)


class Users:
    """The part of a UserManager that a strategy uses. It knows every user."""

    def parse_id(self, value):
        return uuid.UUID(value)

    async def get(self, user):
        return user


def fastapi_users():
    strategy = JWTStrategy(secret, lifetime_seconds=900, token_audience=[audience])
    if asyncio.run(strategy.read_token(token, Users())) is None:
        # The strategy gives no reason. The function that it calls does.
        decode_jwt(token, secret, [audience])
        raise ValueError("no user")


ask("PyJWT", lambda: jwt.decode(token, secret, algorithms=["HS256"], audience=audience, issuer=issuer, leeway=leeway))
ask("Authlib", authlib)
ask("FastAPI Users", fastapi_users)
print(json.dumps(results))
