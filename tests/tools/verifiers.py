"""Verifies a token with third-party libraries, with the configuration that the guide has for each:
`python verifiers.py TOKEN ALGORITHM SECRET` or `python verifiers.py TOKEN ALGORITHM PEM JWKS_URL`. Prints the result of
each as JSON: "accepted", or the reason of the refusal. A library that cannot use the kind of key is left out.
"""

import json
import sys
import urllib.request
import warnings

warnings.filterwarnings("ignore")

token, algorithm, key = sys.argv[1:4]
jwks_url = sys.argv[4] if len(sys.argv) > 4 else None
issuer, audience = "http://localhost:8000", "tessera"
jwks = json.load(urllib.request.urlopen(jwks_url)) if jwks_url else None
results = {}


def ask(name, verify):
    try:
        claims = verify()
        if claims["type"] != "access":
            raise ValueError("not an access token")
        results[name] = "accepted"
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}"


def pyjwt():
    import jwt

    used = jwt.PyJWKClient(jwks_url, lifespan=300).get_signing_key_from_jwt(token) if jwks_url else key
    return jwt.decode(
        token, used, algorithms=[algorithm], audience=audience, issuer=issuer, leeway=2, options={"require": ["exp"]}
    )


def python_jose():
    from jose import jwt

    return jwt.decode(
        token, jwks or key, algorithms=[algorithm], audience=audience, issuer=issuer, options={"require_exp": True, "leeway": 2}
    )


def authlib():
    from authlib.jose import JsonWebKey, JsonWebToken

    options = {
        "iss": {"essential": True, "value": issuer},
        "aud": {"essential": True, "value": audience},
        "exp": {"essential": True},
    }
    used = JsonWebKey.import_key_set(jwks) if jwks else key
    claims = JsonWebToken([algorithm]).decode(token, used, claims_options=options)
    claims.validate(leeway=2)
    return claims


def joserfc():
    from joserfc import jwt
    from joserfc.jwk import KeySet, OctKey

    used = KeySet.import_key_set(jwks) if jwks else OctKey.import_key(key)
    claims = jwt.decode(token, used, algorithms=[algorithm]).claims
    jwt.JWTClaimsRegistry(
        leeway=2,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    ).validate(claims)
    return claims


def flask_jwt_extended():
    from flask import Flask
    from flask_jwt_extended import JWTManager, get_jwt, verify_jwt_in_request

    app = Flask("service")
    app.config.update(
        JWT_ALGORITHM=algorithm,
        JWT_DECODE_AUDIENCE=audience,
        JWT_DECODE_ISSUER=issuer,
        JWT_DECODE_LEEWAY=2,
        **{"JWT_PUBLIC_KEY" if jwks_url else "JWT_SECRET_KEY": key},
    )
    JWTManager(app)
    with app.test_request_context(headers={"Authorization": f"Bearer {token}"}):
        verify_jwt_in_request()
        return get_jwt()


def simple_jwt():
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of Django, which this does not use",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        SIMPLE_JWT={
            "ALGORITHM": algorithm,
            "AUDIENCE": audience,
            "ISSUER": issuer,
            "LEEWAY": 2,
            "TOKEN_TYPE_CLAIM": "type",
            "USER_ID_CLAIM": "sub",
            **({"JWK_URL": jwks_url} if jwks_url else {"SIGNING_KEY": key}),
        },
    )
    import django

    django.setup()
    from rest_framework_simplejwt.tokens import AccessToken

    return AccessToken(token).payload


def fastapi_users():
    from fastapi_users.jwt import decode_jwt

    claims = decode_jwt(token, key, [audience], [algorithm])
    if claims["iss"] != issuer:
        raise ValueError("the library does not check the issuer, but a service can")
    return claims


ask("PyJWT", pyjwt)
if algorithm != "EdDSA":
    ask("python-jose", python_jose)
ask("Authlib", authlib)
ask("joserfc", joserfc)
ask("Flask-JWT-Extended", flask_jwt_extended)
ask("Simple JWT", simple_jwt)
ask("FastAPI Users", fastapi_users)
print(json.dumps(results))
